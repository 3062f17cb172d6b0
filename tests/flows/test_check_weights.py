"""What `pistachio check` knows about weights: where they come from and under which licence."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from stages.flows.check import list_problems

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(ROOT / "conf/models", "conf/models")
    return tmp_path


def problems(**changed: dict[str, Any]) -> list[str]:
    values = yaml.safe_load((ROOT / "params.yaml").read_text())
    for name, section in changed.items():
        values[name] |= section
    Path("params.yaml").write_text(yaml.safe_dump(values))
    return list_problems()


def test_weights_that_are_not_there_are_named_with_the_command_that_fetches_them() -> None:
    base = "models/base/stable-diffusion-xl-base-1.0"
    said = f"train.base: {base} is not there; run `pistachio models get stable-diffusion-xl-base-1.0`"
    assert said in problems(train={"base": base})
    Path(base).mkdir(parents=True)
    assert not [line for line in problems(train={"base": base}) if "train.base" in line]


def test_a_judge_s_licence_other_than_its_weights_is_named() -> None:
    judges = {
        name: {"path": f"models/judges/{folder}", "licence": licence}
        for name, folder, licence in (
            ("faces", "buffalo_l", "MIT"), ("second", "auraface", "Apache-2.0"), ("text_image", "my_own", "mine"),
        )
    }  # fmt: skip
    assert [line for line in problems(judges=judges) if "licence" in line] == [
        "judges.faces.licence: 'MIT', but conf/models/buffalo_l.yaml says "
        "'InsightFace buffalo_l, non-commercial research only'"
    ]


def test_what_lies_inside_a_tracked_folder_is_dvc_s_to_bring() -> None:
    assert [line for line in problems(train={"base": "models/own/base"}) if "train.base" in line]
    Path("models").mkdir()
    Path("models/own.dvc").write_text("outs: []")
    assert not [line for line in problems(train={"base": "models/own/base"}) if "train.base" in line]
