"""docs/pipeline.md says of every stage which settings it reads and what it writes, as dvc.yaml does."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "pipeline.md").read_text()
PIPELINE: dict[str, Any] = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]


def outputs(stage: dict[str, Any]) -> set[str]:
    entries = [*stage.get("outs", []), *stage.get("metrics", []), *stage.get("plots", [])]
    return {entry if isinstance(entry, str) else next(iter(entry)) for entry in entries}


def stated(page: str, name: str) -> tuple[set[str], set[str]]:
    """The sections and the files that a stage's chapter names in its first paragraph."""
    first = page.split(f"## {name}\n\n")[1].split("\n\n")[0]
    settings, written = first.split("Writes:")
    return set(re.findall(r"`([^`]+)`", settings)), set(re.findall(r"`([^`]+)`", written))


@pytest.mark.parametrize("name", sorted(PIPELINE))
def test_a_stage_s_settings_and_files_are_those_of_dvc_yaml(name: str) -> None:
    assert stated(PAGE, name) == (set(PIPELINE[name]["params"]), outputs(PIPELINE[name]))


def test_a_planted_difference_is_noticed() -> None:
    page = PAGE.replace("Settings: `dataset`, `train`.", "Settings: `train`.")
    assert stated(page, "train") != (set(PIPELINE["train"]["params"]), outputs(PIPELINE["train"]))


def test_the_stages_stand_in_their_order() -> None:
    titles = re.findall(r"^## (\w+)$", PAGE, re.MULTILINE)
    assert [title for title in titles if title in PIPELINE] == list(PIPELINE)


def test_the_page_is_short() -> None:
    assert len(PAGE.splitlines()) <= 160
