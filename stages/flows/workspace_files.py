"""The texts of a new workspace."""

import json
from pathlib import Path
from typing import Any

from stages.contracts.paths import BATCHES, CODE_LOCK, SUBJECT, VERSIONS
from stages.flows.code import CODE

DVC_CONFIG = """\
[core]
    analytics = false
    autostage = false
[hydra]
    enabled = true
    config_dir = conf
    config_name = config
[cache]
    type = "reflink,copy"
"""
GIT_IGNORE = """\
.venv/
__pycache__/
/logs/
.*.part*
/dvc_plots/
/outputs/
/multirun/
"""
DVC_IGNORE = """\
__pycache__/
*.pyc
.venv/
logs/
"""
GIT_ATTRIBUTES = """\
*.safetensors binary
*.onnx binary
*.png binary
*.jpg binary
* text=auto eol=lf
"""
MODELS_IGNORE = """\
# Fetched weights; `dvc add models/base/NAME` tracks one.
/base/*
/judges/*
!/*/*.dvc
!/*/.gitignore
"""
SUBJECT_CARD = """\
# Who the photos show, and what is allowed with them.  Nothing is trained or drawn until this is filled in
# (docs/publishing.md, The subject); `pistachio subject check` says what is missing.
kind: null  # synthetic: nobody is behind it; consenting: a person who agreed
name: null  # a pseudonym is enough
dataset: {name}
adult: null  # true; nothing else is drawn
scope: []  # what was agreed to: [non-commercial], [commercial] or both; promotion.use must be among them
made_with: null  # synthetic: how the persona was made
evidence: null  # the signed document, where this machine has it
evidence_sha256: null  # of that document: sha256sum FILE
date: null  # when it was agreed, YYYY-MM-DD
expires: null
revoked: null  # `pistachio subject revoke --reason TEXT`
"""
NO_VERSION = "The sentinel for `compare.baseline: none`: there is no yardstick yet.\n"
README = """\
# {name}

A private workspace of Pistachio for one person: photos, settings, results.  The code lies elsewhere: `requirements.txt`
names its commit, `code.lock` what each stage was made of.

```bash
python3.11 -m venv .venv && . .venv/bin/activate && pip install -r requirements.txt
{steps}
pistachio check && dvc repro && pistachio where
pistachio promote v3    # worth keeping?  Then `dvc exp run -S compare.baseline=v3 ...` measures the next one against it
```

* `data/photos/` holds 20 to 40 photos of one adult who consented, a `.txt` caption beside a photo wins.  DVC keeps them
  (`dvc add data/photos`), never git; `pistachio remote add` and `dvc push` bring them to another machine.
* `conf/` is yours: `conf/dataset/{name}.yaml` names the person, a question that lasts is a file in `conf/experiment/`,
  `dvc exp run -S train.rank=8` asks one.  `dvc exp run` composes `conf/` into `params.yaml`, `dvc repro` does not.
* Other code: install it, `pistachio upgrade`, look at `git diff`.  Only the stages whose code changed run again.
"""


def texts(code: dict[str, Any], name: str, profile: str, photos: bool) -> dict[Path, str]:
    """Every file of a new workspace that is a text of ours; ``photos``: they are there already."""
    return {
        Path("README.md"): _readme(name, profile, photos),
        Path(".gitignore"): GIT_IGNORE,
        Path(".gitattributes"): GIT_ATTRIBUTES,
        Path(".dvcignore"): DVC_IGNORE,
        VERSIONS / "none" / "README.md": NO_VERSION,
        SUBJECT: SUBJECT_CARD.format(name=json.dumps(name)),
    } | _ignored(code)


def _readme(name: str, profile: str, photos: bool) -> str:
    steps = ["$EDITOR data/subject.yaml && pistachio subject check    # who it is, and what was agreed to"]
    steps += [f"pistachio models get --profile {profile}    # weights that the profile names and that are not here yet"]
    if not photos:
        steps.append("cp ~/my/photos/* data/photos/ && dvc add data/photos && git add data && git commit -m Photos")
    return README.format(name=name, steps="\n".join(steps))


def _ignored(code: dict[str, Any]) -> dict[Path, str]:
    """The .gitignore of every folder that stages write to, so that no out is ever committed by mistake."""
    made = (Path(out) for stage in code["stages"].values() for out in stage.get("outs", []))
    outs = [Path("data/photos"), BATCHES, *made]
    folders = dict.fromkeys((out.parent for out in outs), "") | {Path("models"): ""}
    for out in outs:
        folders[out.parent] += f"/{out.name}\n"
    folders[Path("models")] += MODELS_IGNORE
    return {folder / ".gitignore": text for folder, text in folders.items()}


def pipeline(code: dict[str, Any]) -> dict[str, Any]:
    """The workspace's dvc.yaml: the code's, with the stage's line of code.lock instead of the code's files."""
    stages = {
        name: stage
        | {
            "deps": [dep for dep in stage["deps"] if not dep.startswith(CODE)],
            "params": [*stage["params"], {CODE_LOCK.as_posix(): [f"stages.{name}"]}],
        }
        for name, stage in code["stages"].items()
    }
    return code | {"stages": stages}
