"""docs/measuring.md names every figure, flag and limit, and its table is the study's."""

import json
import re
from pathlib import Path

import pytest

from miniature import truth
from stages.contracts.comparison import METRICS
from stages.contracts.findings import CONDITIONED, Flag
from stages.contracts.measure_settings import FlagLimits
from stages.contracts.scorecard import PER_IMAGE_COLUMNS
from stages.measures.pose import POSES
from stages.measures.skin import FEW_REFERENCES

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "measuring.md").read_text()
PROSE = " ".join(PAGE.split())
WAITING = "| not measured yet: run `python -m miniature.truth` |"
NO_FIGURES = {"set", "prompt_index", "prompt", "seed", "file", "nearest_photo", "nearest_similarity", "nearest_bits",
              "closeness"}  # fmt: skip
CODE = re.compile(r"`([^`]+)`")


def listed(title: str) -> set[str]:
    """The names in the first column of the tables under a heading."""
    (text,) = [part for part in re.split(r"^## ", PAGE, flags=re.MULTILINE) if part.startswith(title)]
    return {name for line in text.splitlines() if line.startswith("| `") for name in CODE.findall(line.split("|")[1])}


def test_every_metric_and_every_figure_of_a_picture_is_named() -> None:
    assert listed("The figures") == set(PER_IMAGE_COLUMNS) - NO_FIGURES
    assert set(METRICS) <= listed("The figures")


def test_every_flag_is_named_with_its_limit() -> None:
    names = Flag.model_fields["name"].annotation.__args__  # type: ignore[union-attr]
    assert listed("Flags") == set(names)
    limits = FlagLimits()
    assert f"likeness above {limits.copying:g}:" in PROSE
    assert f"likeness below {limits.wrong_identity:g} |" in PROSE
    assert f"prior preservation below {limits.leaking:g}:" in PROSE
    assert limits.memorised == 0.25
    assert "more than a quarter of the pictures" in PROSE
    assert f"than {limits.closer_than:.0%} of real photos are" in PROSE


def test_poses_conditioned_modes_and_the_fewest_references_are_as_in_the_code() -> None:
    assert ", ".join(POSES) in PROSE
    assert all(f"`{mode}`" in PROSE for mode in CONDITIONED)
    assert f"need {FEW_REFERENCES} holdout photos" in PROSE


def test_the_study_s_tables_are_those_that_the_command_prints() -> None:
    (shown,) = re.findall(r"<!-- truth -->\n(.*?)\n<!-- /truth -->", PAGE, re.DOTALL)
    if truth.RESULT.exists():
        assert shown == truth.render_tables(json.loads(truth.RESULT.read_text()))
    else:
        assert shown == WAITING


@pytest.mark.parametrize("paper", ["1801.07698", "2208.12242", "2104.08718", "2004.05675"])
def test_a_paper_that_the_measures_cite_can_be_opened_from_the_page(paper: str) -> None:
    assert f"https://arxiv.org/abs/{paper}" in PAGE
    assert any(paper in path.read_text() for path in (ROOT / "stages").rglob("*.py"))
