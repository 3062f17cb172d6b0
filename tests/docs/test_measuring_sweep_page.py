"""docs/measuring_sweep.md: its tables are those that were measured, and what it promises holds in them."""

import json
import re
from pathlib import Path
from typing import Any

import yaml

from miniature import sweep_study
from miniature.sweep_study import CURSE, RACE, render_curse, render_race

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "measuring_sweep.md").read_text()


def between(name: str) -> str:
    """What stands between the markers ``<!-- name -->`` and ``<!-- /name -->``."""
    (text,) = re.findall(rf"<!-- {name} -->\n(.*?)\n?<!-- /{name} -->", PAGE, re.DOTALL)
    return str(text)


def curse() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(CURSE.read_text())
    return found


def test_the_table_of_the_curse_is_what_was_measured() -> None:
    assert between("curse") == render_curse(curse())


def test_the_table_of_the_race_is_what_was_measured() -> None:
    assert between("race") == render_race(json.loads(RACE.read_text()))


def test_of_equal_cells_the_confirmed_figure_is_right_where_the_naive_one_is_not() -> None:
    found = curse()
    equal = found["worlds"]["24 equal cells"]
    assert found["sweeps"] >= 500
    assert equal["naive_bias"][1] >= 0.05
    low, high = equal["confirmed_bias"][1:]
    assert low <= 0 <= high
    assert max(-low, high) <= 0.01


def test_wherever_cells_differ_the_confirmed_figure_is_off_by_less_than_a_hundredth() -> None:
    for figures in curse()["worlds"].values():
        assert max(map(abs, figures["confirmed_bias"])) <= 0.01


def test_the_race_chooses_as_the_grid_does_with_a_quarter_of_the_images() -> None:
    found = json.loads(RACE.read_text())
    worlds = list(found["worlds"].values())
    assert found["orders"] * len(worlds) >= 40
    assert sum(world["race_tied"] for world in worlds) / len(worlds) >= 0.95
    mean = sum(world["race_images"] for world in worlds) / len(worlds)
    assert mean <= 0.25
    assert f"all {found['orders'] * len(worlds)} orders, with {mean:.1%} of the images" in PAGE


def test_the_study_sweeps_as_the_settings_do() -> None:
    sweep = yaml.safe_load((ROOT / "params.yaml").read_text())["sweep"]
    assert (sweep["leaders"], sweep["block"]) == (sweep_study.LEADERS, sweep_study.BLOCK)
    assert (len(sweep["prompts"]), len(sweep["seeds"])) == (sweep_study.PROMPTS, sweep_study.SMALL_SEEDS)
