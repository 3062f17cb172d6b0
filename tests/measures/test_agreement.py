"""Two judges: rank correlation, its interval, and when they disagree."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from stages.measures.agreement import judges_disagree, rank_correlation

PROMPTS = np.repeat(np.arange(12), 2)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000))
def test_the_correlation_is_spearman_s_and_lies_in_its_interval(seed: int) -> None:
    rng = np.random.default_rng(seed)
    first = rng.integers(0, 8, 24).astype(float)
    second = first + rng.normal(0, 2, 24).round(1)
    found = rank_correlation(first, second, PROMPTS, resamples=60, seed=0)
    assert found is not None
    value, (low, high) = found
    assert value == pytest.approx(stats.spearmanr(first, second).statistic)
    assert -1 <= low <= high <= 1
    assert low - 0.15 <= value <= high + 0.15


def test_a_judge_on_another_scale_agrees_perfectly() -> None:
    first = np.random.default_rng(0).uniform(0, 1, 24)
    found = rank_correlation(first, np.tanh(5 * first), PROMPTS, resamples=200, seed=0)
    assert found == (pytest.approx(1), (pytest.approx(1), pytest.approx(1)))


def test_judges_who_have_nothing_to_do_with_each_other_have_an_interval_around_0() -> None:
    rng = np.random.default_rng(1)
    found = rank_correlation(rng.random(48), rng.random(48), np.repeat(np.arange(24), 2), resamples=500, seed=0)
    assert found is not None
    assert found[1][0] < 0 < found[1][1]


def test_where_there_is_nothing_to_rank_there_is_no_correlation() -> None:
    some = np.arange(24.0)
    assert rank_correlation(some, np.ones(24), PROMPTS, resamples=50, seed=0) is None
    assert rank_correlation(some, some, np.zeros(24), resamples=50, seed=0) is None
    assert rank_correlation(some[:2], some[:2], PROMPTS[:2], resamples=50, seed=0) is None


@pytest.mark.parametrize(
    ("difference", "interval", "disagree"),
    [(20, (10, 30), True), (-20, (-30, -10), True), (20, (-1, 41), False), (10, (8, 12), False), (15, (9, 21), False)],
)
def test_judges_disagree_where_the_difference_is_large_and_no_chance(
    difference: float, interval: tuple[float, float], disagree: bool
) -> None:
    assert judges_disagree(difference, interval, 15) is disagree
