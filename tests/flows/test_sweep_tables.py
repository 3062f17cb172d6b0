"""What a sweep writes: its rows say what was drawn and decided, its curve where the training overfits."""

from pathlib import Path

import numpy as np
import pytest
from planted_sweeps import make_cells, make_score, make_sweep, plant

from stages.contracts.scorecard import Settings
from stages.flows.sweep_tables import (
    figures,
    list_pictures,
    make_choice,
    read_holdout_losses,
    summarise,
    trace_checkpoints,
)
from stages.runtime.errors import UserError


@pytest.fixture(autouse=True)
def _somewhere(tmp_path, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.chdir(tmp_path)


def truth(cell: Settings) -> float:
    return {100: 0.4, 200: 0.7, 300: 0.7}[cell.checkpoint] - 0.03 * cell.guidance


def losses(turn: int) -> dict[int, float]:
    """Falls until step ``turn``, then rises until 300."""
    return {step: 0.04 + 0.0001 * abs(step - turn) for step in range(0, 301, 20)}


def test_a_lost_face_counts_as_zero_in_every_figure() -> None:
    found = figures([make_score(0.8), make_score(0.7), make_score(0.0)], face_pass=0.75)
    assert found["similarity_mean"] == pytest.approx(0.5)
    assert (found["pass_rate"], found["detection_rate"]) == (pytest.approx(1 / 3), pytest.approx(2 / 3))
    assert found["similarity_mean_low"] < 0.5 < found["similarity_mean_high"]
    assert figures([], 0.6)["similarity_mean"] is None


def test_a_row_per_cell_says_what_was_drawn_and_what_was_decided() -> None:
    sheet, outcome, _ = plant(truth)
    rows = summarise(sheet, outcome, 0.6)
    assert [row["cell"] for row in rows] == list(range(6))
    assert [row["cell"] for row in rows if row["chosen"]] == [outcome.chosen]
    assert {row["cell"] for row in rows if row["tied"]} == set(outcome.tied)
    assert [row["cell"] for row in rows if row["cheapest"]] == [outcome.tied[0]]
    assert sorted(row["rank"] for row in rows) == [1, 2, 3, 4, 5, 6]
    for row in rows:
        again = row["leader"] or row["cell"] in outcome.curve.values()
        assert row["confirm_images"] == (16 if again else 0)
        assert (row["confirm_similarity_mean"] is None) == (not again)
        assert (row["p_worse"] is None) == (not row["leader"])


def test_the_choice_gives_the_fresh_figures_and_keeps_the_flattered_apart() -> None:
    sheet, outcome, studio = plant(truth)
    rows = summarise(sheet, outcome, 0.6)
    choice = make_choice(rows, sheet, outcome, make_sweep(), overfits_from=200)
    chosen = rows[outcome.chosen]
    assert choice.best.similarity_mean == chosen["confirm_similarity_mean"]
    assert choice.best.images == 16
    assert choice.images == len(studio.drawn)
    assert choice.overfits_from == 200
    assert choice.confirmation is not None
    assert choice.confirmation.naive.similarity_mean == rows[outcome.ranked[0]]["similarity_mean"]
    assert choice.confirmation.naive_again.similarity_mean == rows[outcome.ranked[0]]["confirm_similarity_mean"]
    assert [tied.cell for tied in choice.tied] == list(outcome.tied)
    assert choice.confirmed == outcome.leaders


def test_one_cell_has_nothing_to_confirm() -> None:
    sheet, outcome, _ = plant(truth, cells=make_cells([200], guidance=(2.0,)))
    choice = make_choice(summarise(sheet, outcome, 0.6), sheet, outcome, make_sweep(), None)
    assert choice.confirmation is None
    assert choice.tied == choice.confirmed == ()
    assert choice.best == choice.worst


def test_the_curve_marks_the_recommended_checkpoint_and_what_overfits() -> None:
    sheet, outcome, _ = plant(truth)
    nearest = {100: 0.5, 200: 0.6, 300: 0.9}
    rows, overfits_from = trace_checkpoints(sheet, outcome, losses(140), nearest, 0.6)
    assert [row["checkpoint"] for row in rows] == [100, 200, 300]
    assert overfits_from == 200
    assert [row["overfits"] for row in rows] == [0, 0, 1]
    used = sheet.cells[outcome.chosen].checkpoint
    assert [row["checkpoint"] for row in rows if row["recommended"]] == [used]
    assert [row["nearest_photo_mean"] for row in rows] == [0.5, 0.6, 0.9]
    assert rows[1]["holdout_loss"] == pytest.approx(losses(140)[200])
    assert all(row["images"] == 16 for row in rows)


def test_a_loss_that_still_falls_does_not_overfit() -> None:
    sheet, outcome, _ = plant(truth)
    rows, overfits_from = trace_checkpoints(sheet, outcome, losses(300), dict.fromkeys((100, 200, 300), 0.5), 0.6)
    assert overfits_from is None
    assert not any(row["overfits"] for row in rows)


def test_without_holdout_losses_the_curve_has_none() -> None:
    sheet, outcome, _ = plant(truth)
    rows, overfits_from = trace_checkpoints(sheet, outcome, {}, dict.fromkeys((100, 200, 300), 0.5), 0.6)
    assert overfits_from is None
    assert [row["holdout_loss"] for row in rows] == [None] * 3


def test_every_picture_that_was_drawn_has_a_row() -> None:
    sheet, _, studio = plant(truth, folder=Path("data/sweep"), strategy="race")
    rows = list_pictures(sheet)
    assert len(rows) == len(studio.drawn)
    assert {row["file"] for row in rows} == {shot.path.relative_to("data/sweep").as_posix() for shot in studio.drawn}
    assert {row["seeds"] for row in rows if row["seed"] < 10} == {"first"}
    assert {row["seeds"] for row in rows if row["seed"] > 10} == {"fresh"}
    mean = np.mean([row["similarity"] for row in rows if row["cell"] == 2 and row["seeds"] == "fresh"])
    assert mean == pytest.approx(sheet.measured([2], sheet.fresh).mean())


def test_holdout_losses_are_read_where_they_were_measured(tmp_path: Path) -> None:
    table = tmp_path / "loss.csv"
    table.write_text("step,loss,holdout_loss\n0,,0.06\n10,0.05,\n20,0.04,0.05\n")
    assert read_holdout_losses(table) == {0: 0.06, 20: 0.05}
    with pytest.raises(UserError, match="dvc repro train"):
        read_holdout_losses(tmp_path / "none.csv")
