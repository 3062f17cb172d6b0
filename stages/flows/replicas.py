"""Train a version's recipe again with other seeds: how much of a difference is only the luck of one training?

The real stages run in a copy of the workspace in the state folder: train, sweep, eval.  Nothing in the workspace
changes but the version's folder, which gets the scores.  A killed run continues: finished stages are noted, and the
stages themselves continue as they always do.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from stages.contracts.paths import (
    EVAL_IMAGES,
    LORA,
    MANIFEST,
    PARAMS,
    PER_IMAGE,
    REPLICAS,
    SCORECARD,
    SWEEP_IMAGES,
    VERSIONS,
)
from stages.contracts.scorecard import Scorecard, read_scorecard
from stages.contracts.settings import Section, Train, read_machine, read_params, read_yaml
from stages.flows.versions import list_versions
from stages.runtime.errors import UserError
from stages.runtime.files import replacing_folder, write_text
from stages.runtime.provenance import describe_code, hash_file, hash_json
from stages.runtime.state import cache_folder, work_folder

STAGES = ("train", "sweep", "eval")
OWN = frozenset({PARAMS, Path("metrics"), Path("logs"), LORA, SWEEP_IMAGES, EVAL_IMAGES})  # not shared with the copy
OPENED = frozenset({Path("data"), Path("models")})  # folders that hold some of them


class _Recipe(Section):
    train: Train


def replicate(name: str, seeds: int, workspace: Path = Path()) -> Iterator[tuple[Path, bool]]:
    """Make sure that version ``name`` has ``seeds`` replicas: every folder of scores, and whether it was there before.

    Args:
        name: a promoted version of this workspace.
        seeds: how many trainings beside the version's own; their seeds follow on its seed.
        workspace: the folder that holds the version's run: params.yaml, photos, manifest and base.

    Raises:
        UserError: when there is no such version, ``workspace`` does not hold its run, or a stage fails.
    """
    if name not in list_versions():
        known = ", ".join(list_versions()) or "none yet"
        raise UserError("replicate", f"no version {name!r} (there is: {known})", "`pistachio promote` makes one")
    card = read_scorecard(VERSIONS / name / SCORECARD.name)
    if card.comes_from_elsewhere:
        raise UserError("replicate", f"{name} was not trained on these photos", "there is no recipe to train again")
    check_recipe(name, card, workspace)
    first = read_params(_Recipe, workspace / PARAMS).train.seed
    for seed in range(first + 1, first + 1 + seeds):
        folder = VERSIONS / name / REPLICAS / f"seed-{seed}"
        was_there = (folder / SCORECARD.name).is_file()
        if not was_there:
            _train_again(workspace.resolve(), card, seed, folder.resolve())
        yield folder, was_there


def check_recipe(name: str, card: Scorecard, workspace: Path) -> None:
    """Refuse a workspace that holds another run than the version's, or whose settings were changed since.

    Raises:
        UserError: saying what differs and how to get the right one.
    """
    todo = f"git worktree add ../{name} lora/{name}, `dvc checkout` there, and give --workspace ../{name}"
    here = read_scorecard(workspace / SCORECARD)
    if here.run_id != card.run_id:
        raise UserError(workspace.resolve(), f"holds run {here.run_id}, {name} is run {card.run_id}", todo)
    if hash_file(workspace / MANIFEST) != card.dataset_manifest_sha256:
        raise UserError(workspace / MANIFEST, f"is not the one that {name} was trained on", todo)
    changed = _changed_since_repro(workspace)
    if changed:
        what = f"{', '.join(changed)}: not what the last `dvc repro` ran with"
        raise UserError(workspace / PARAMS, what, "restore it, or run `dvc repro` and promote that")


def _changed_since_repro(workspace: Path) -> list[str]:
    """The sections of params.yaml that are not those of dvc.lock; none where nothing was locked."""
    lock = workspace / "dvc.lock"
    if not lock.is_file():
        return []
    params, stages = read_yaml(workspace / PARAMS), read_yaml(lock).get("stages") or {}
    ran: dict[str, Any] = {}
    for stage in STAGES:
        ran |= ((stages.get(stage) or {}).get("params") or {}).get(PARAMS.name) or {}
    return sorted(section for section, values in ran.items() if params.get(section) != values)


def _train_again(workspace: Path, card: Scorecard, seed: int, result: Path) -> None:
    """Train, sweep and eval in a copy; the scores go to ``result``."""
    state = cache_folder(read_machine(workspace / PARAMS).state_dir)
    state = state if state.is_absolute() else workspace / state
    # Work that other code began is not continued.
    with work_folder(state, "replicate", hash_json([card.run_id, seed, describe_code()])) as work:
        copy = work / "workspace"
        link_workspace(workspace, copy, _with_seed(read_yaml(workspace / PARAMS), seed, work / "state"))
        for stage in STAGES:
            done = work / f"{stage}.done"
            if not done.exists():
                _run_stage(stage, copy, f"{card.lora_version}, training seed {seed}")
                write_text(done, "")
        with replacing_folder(result) as beside:
            for path in (SCORECARD, PER_IMAGE):
                shutil.copyfile(copy / path, beside / path.name)


def _with_seed(params: dict[str, Any], seed: int, state: Path) -> dict[str, Any]:
    machine = (params.get("machine") or {}) | {"state_dir": str(state)}
    return params | {"train": params["train"] | {"seed": seed}, "machine": machine}


def link_workspace(workspace: Path, copy: Path, params: dict[str, Any]) -> None:
    """Make ``copy`` like ``workspace``, with settings and results of its own; what is there already stays."""
    sources = [path for path in workspace.iterdir() if not path.name.startswith(".")]
    sources += [path for folder in OPENED for path in (workspace / folder).glob("*")]
    for source in sorted(sources):
        inside = source.relative_to(workspace)
        place = copy / inside
        if inside in OPENED:
            place.mkdir(parents=True, exist_ok=True)
        elif inside not in OWN and not place.is_symlink():
            place.parent.mkdir(parents=True, exist_ok=True)
            place.symlink_to(source)
    write_text(copy / PARAMS, yaml.safe_dump(params))


def _run_stage(stage: str, folder: Path, whose: str) -> None:
    """Run a stage, whose progress is seen.

    Raises:
        UserError: when it fails; it has said why.
    """
    print(f"{whose}: {stage}", file=sys.stderr, flush=True)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, "-m", f"stages.{stage}"]
    code = subprocess.run(command, cwd=folder, env=environment, check=False).returncode
    if code:
        raise UserError(f"stages.{stage}", f"exit code {code}", "mend it and give the same command: it continues")
