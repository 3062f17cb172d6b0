"""The race: who is drawn further, who leaves, and that leaving early costs little."""

import numpy as np
import pytest

from stages.measures.racing import FEWEST, LAST_LEVEL, drop_level, order_instances, race


class Table:
    """Scores that are handed out as they are asked for, and counted."""

    def __init__(self, scores_CN: np.ndarray) -> None:
        self.scores, self.asked = scores_CN, [0] * len(scores_CN)

    def draw(self, cells: list[int], instances: list[int]) -> np.ndarray:
        for cell in cells:
            self.asked[cell] += len(instances)
        return self.scores[np.ix_(cells, instances)]


def scores(means: list[float], instances: int = 48, noise: float = 0.05, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.array(means)[:, None] + rng.normal(0, 0.1, instances) + rng.normal(0, noise, (len(means), instances))


def test_every_prompt_has_its_turn_before_one_comes_again() -> None:
    order = order_instances(4, [101, 102, 103], seed=0)
    assert len(set(order)) == 12
    for turn in range(3):
        assert {prompt for prompt, _ in order[4 * turn : 4 * turn + 4]} == {0, 1, 2, 3}
    assert order != order_instances(4, [101, 102, 103], seed=1)
    assert order == order_instances(4, [101, 102, 103], seed=0)


def test_it_gets_easier_to_leave_the_further_the_race_has_gone() -> None:
    levels = [drop_level(drawn, 48) for drawn in (4, 8, 16, 32, 48)]
    assert levels == sorted(levels)
    assert levels[0] < 0.01
    assert levels[-1] == pytest.approx(LAST_LEVEL)


def test_who_is_far_behind_is_drawn_no_further() -> None:
    table = Table(scores([0.8, 0.79, *[0.3] * 10]))
    found = race(table.draw, 12, 48, block=4)
    assert 0 in found.left
    assert not set(range(2, 12)) & set(found.left)
    assert max(table.asked[2:]) <= 16
    assert [int((~np.isnan(row)).sum()) for row in found.scores_CN] == table.asked


def test_equal_cells_often_stay_beside_each_other() -> None:
    kept = [len(race(Table(scores([0.6] * 4, seed=s)).draw, 4, 48, block=4).left) for s in range(50)]
    assert np.mean(np.array(kept) > 1) > 0.3


def test_nobody_leaves_before_there_are_pairs_enough_to_tell() -> None:
    table = Table(scores([0.8, 0.1]))
    race(table.draw, 2, 48, block=1)
    assert min(table.asked) >= FEWEST


def test_it_ends_when_one_is_left() -> None:
    table = Table(scores([0.9, 0.1], noise=0.01))
    assert race(table.draw, 2, 48, block=4).left == (0,)
    assert table.asked == [4, 4]


def test_one_cell_needs_no_race_beyond_its_first_pictures() -> None:
    table = Table(scores([0.9]))
    assert race(table.draw, 1, 48, block=4).left == (0,)
    assert table.asked == [4]


def test_a_last_round_may_be_shorter() -> None:
    table = Table(np.tile(scores([0.5], 10), (2, 1)))
    assert race(table.draw, 2, 10, block=4).left == (0, 1)
    assert table.asked == [10, 10]


def test_the_best_is_rarely_lost_and_most_pictures_are_saved() -> None:
    """100 races of 45 cells .02 apart: the winner stays in at least 95, with a quarter of the pictures or less."""
    kept, share = [], []
    for seed in range(100):
        table = Table(scores([0.8 - 0.02 * cell for cell in range(45)], noise=0.06, seed=seed))
        kept.append(0 in race(table.draw, 45, 48, block=4).left)
        share.append(sum(table.asked) / (45 * 48))
    assert np.mean(kept) >= 0.95
    assert np.mean(share) <= 0.25
