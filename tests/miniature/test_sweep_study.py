"""The studies of the sweep, on scores that are made here."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from miniature.sweep_study import (
    WORLDS,
    read_recorded,
    render_race,
    replay_sweep,
    study_curse,
    study_race,
)
from stages.measures.selection import Cost


def write_scores(path: Path, cells: int = 24, seeds: int = 16) -> None:
    """A world in which later checkpoints are better, and one without any difference."""
    rng = np.random.default_rng(0)
    easy, rows = rng.normal(0, 0.1, 4 * seeds), []
    for world, slope in (("slope", 0.02), ("flat", 0.0)):
        for cell in range(cells):
            values = 0.3 + slope * cell + easy + rng.normal(0, 0.05, 4 * seeds)
            named = {f"p{n // seeds}_s{101 + n % seeds}": round(float(v), 4) for n, v in enumerate(values)}
            rows.append({"world": world, "checkpoint": 100 * (1 + cell), "guidance": 2.0, "strength": 1.0} | named)
    pd.DataFrame(rows).to_csv(path, index=False)


def test_a_grid_of_equal_cells_is_flattered_and_confirmed_rightly() -> None:
    found = study_curse(WORLDS["24 equal cells"], sweeps=60)
    assert found["naive_bias"][0] > 0.05
    assert abs(found["confirmed_bias"][0]) < 0.01
    assert found["lost"] == [0.0, 0.0, 0.0]


def test_a_sweep_of_unequal_cells_loses_little() -> None:
    found = study_curse(WORLDS["8 equal, 16 worse by .2"], sweeps=60)
    assert found["lost"][0] < 0.01
    assert found["cheapest_lost"][0] < 0.05


def test_images_are_counted_as_they_would_be_drawn() -> None:
    rng = np.random.default_rng(0)
    costs = [Cost(100, 1.0, 2.0, cell) for cell in range(6)]
    table = np.linspace(0.2, 0.9, 6)[:, None] + rng.normal(0, 0.02, (6, 24))
    grid = replay_sweep(table, table[:, :8], costs, "grid")
    raced = replay_sweep(table, table[:, :8], costs, "race")
    assert grid.images == 6 * 24 + 8 * len(grid.leaders)
    assert raced.images < grid.images / 2
    assert grid.chosen == raced.chosen == 5


def test_recorded_worlds_are_read_by_prompt_and_seed(tmp_path: Path) -> None:
    write_scores(path := tmp_path / "scores.csv")
    scores, costs = read_recorded(path)["slope"]
    assert scores.shape == (24, 4, 16)
    assert [cost.checkpoint for cost in costs] == list(range(100, 2500, 100))
    table = pd.read_csv(path)
    assert scores[3, 2, 5] == table[table["world"] == "slope"]["p2_s106"].iloc[3]


def test_the_race_is_set_beside_grids_of_all_seeds_and_of_its_own_cost(tmp_path: Path) -> None:
    write_scores(path := tmp_path / "scores.csv")
    found = study_race(read_recorded(path), orders=6)
    slope = found["worlds"]["slope"]
    assert slope["race_tied"] >= 0.8
    assert slope["race_images"] < 0.5
    assert 0 < slope["small_images"] < 0.5
    assert render_race(found).count("| race |") == 2
    assert study_race(read_recorded(path), orders=6) == found


@pytest.mark.parametrize("name", sorted(WORLDS))
def test_every_simulated_world_has_24_cells(name: str) -> None:
    assert WORLDS[name].shape == (24,)
