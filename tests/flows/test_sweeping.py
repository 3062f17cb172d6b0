"""How a sweep is drawn: who is drawn again, what and what a race saves."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from planted_sweeps import Planted, make_cells, make_sweep, plant

from stages.contracts.scorecard import Settings
from stages.contracts.settings import Dataset
from stages.flows.scoring import Score, Shot
from stages.flows.sweeping import Sheet, cell_name, run_sweep

FIRST, FRESH = 2 * 6, 2 * 8  # pictures of a cell: prompts and seeds


@pytest.fixture(autouse=True)
def _somewhere(tmp_path, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.chdir(tmp_path)  # the heartbeat's place


def by_step(cell: Settings) -> float:
    """200 is best, guidance costs a little."""
    return {100: 0.4, 200: 0.7, 300: 0.6}[cell.checkpoint] - 0.03 * cell.guidance


def test_the_truly_best_cell_is_found_and_confirmed_on_fresh_seeds() -> None:
    sheet, outcome, studio = plant(by_step)
    assert outcome.chosen == 2
    assert outcome.ranked[0] == 2
    again = {shot.request.seed for shot in studio.drawn[6 * FIRST :]}
    assert again == set(range(11, 19))
    assert np.isnan(sheet.measured([1], sheet.fresh)).all()  # clearly worse and not its checkpoint's best


def test_every_checkpoint_s_best_cell_is_drawn_again_for_the_curve() -> None:
    sheet, outcome, _ = plant(by_step)
    assert outcome.curve == {100: 0, 200: 2, 300: 4}
    assert not np.isnan(sheet.measured([0, 2, 4], sheet.fresh)).any()
    assert len(outcome.leaders) < len(outcome.curve)  # but they do not decide


def test_no_picture_is_drawn_twice() -> None:
    for strategy in ("grid", "race"):
        _, _, studio = plant(by_step, strategy=strategy)
        assert len({(shot.path, shot.request.seed) for shot in studio.drawn}) == len(studio.drawn)


def test_a_race_chooses_what_the_grid_chooses_with_fewer_pictures() -> None:
    cells = make_cells([100, 200, 300, 400, 500], guidance=(1.5, 2.0, 3.0, 4.0))

    def truth(cell: Settings) -> float:
        return 0.001 * min(cell.checkpoint, 400) - 0.05 * cell.guidance

    _, grid, everything = plant(truth, cells=cells)
    sheet, raced, studio = plant(truth, cells=cells, strategy="race")
    assert raced.chosen in {grid.chosen, *grid.tied}
    assert len(studio.drawn) < 0.6 * len(everything.drawn)
    assert len(everything.drawn) == 20 * FIRST + len({*grid.leaders, *grid.curve.values()}) * FRESH
    dropped = [
        cell for cell in range(20) if cell != raced.chosen and np.isnan(sheet.measured([cell], sheet.first)).any()
    ]
    assert dropped
    assert all(raced.ranked.index(cell) > raced.ranked.index(raced.chosen) for cell in dropped)


class Unsteady(Planted):
    """A strength of 0.5 swings from picture to picture, so that little can be said against it."""

    def score(self, shots: Sequence[Shot]) -> Iterator[Score]:
        for shot in shots:
            self.noise = 0.3 if shot.request.strength == 0.5 else 0.0001
            yield from super().score([shot])


def test_what_a_race_dropped_ranks_behind_all_that_it_left_however_good_it_looked() -> None:
    strengths = {1.0: 0.7, 0.8: 0.69, 0.5: 0.55}  # the second is a little worse for sure, the third perhaps far worse
    cells = [cell.model_copy(update={"strength": s}) for cell in make_cells([100], guidance=(2.0,)) for s in strengths]
    dataset = Dataset(name="persona", photos=Path("photos"), trigger="amira", class_word="woman")
    sweep = make_sweep(strategy="race", seeds=range(1, 3), block=2)
    sheet = Sheet(cells, sweep, dataset, Path())
    outcome = run_sweep(sheet, Unsteady(lambda cell: strengths[cell.strength]), sweep)  # type: ignore[arg-type]
    assert outcome.means[1] > outcome.means[2]
    assert outcome.leaders == (0, 2)
    assert outcome.ranked == (0, 2, 1)


def test_a_race_s_order_is_its_seed_s() -> None:
    orders = [[s.request.seed for s in plant(by_step, strategy="race", order_seed=n)[2].drawn[:24]] for n in (0, 0, 1)]
    assert orders[0] == orders[1] != orders[2]


def test_equal_cells_are_tied_and_the_cheapest_of_them_is_named() -> None:
    sheet, outcome, _ = plant(lambda cell: 0.6)
    assert len(outcome.tied) >= 3
    assert sheet.cells[outcome.tied[0]].checkpoint == min(sheet.cells[cell].checkpoint for cell in outcome.tied)
    assert outcome.chosen in outcome.tied


def test_no_more_than_leaders_are_drawn_again_and_the_rest_is_counted() -> None:
    _, outcome, _ = plant(lambda cell: 0.6, leaders=2)
    assert len(outcome.leaders) == 2
    assert outcome.left_out >= 1


def test_one_cell_is_drawn_once() -> None:
    _, outcome, studio = plant(by_step, cells=make_cells([200], guidance=(2.0,)))
    assert outcome.decision is None
    assert (outcome.chosen, outcome.tied) == (0, (0,))
    assert len(studio.drawn) == FIRST


def test_a_cell_s_folder_says_its_settings() -> None:
    assert cell_name(1, make_cells([100])[1]) == "c001_base_lora_step00000100_ddim_g3_x1"
