"""What a threshold does to one person's photos and to other people's, and how sure that is."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from stages.measures.calibration import false_accept, false_reject, measure_rate, strict_threshold

SCORES = st.lists(st.floats(-1, 1), min_size=1, max_size=80)


def test_golden_clopper_pearson_intervals() -> None:
    """Against Newcombe (1998), table I: 81 of 263 and 0 of 20."""
    some, none = measure_rate(81, 263), measure_rate(0, 20)
    assert (some.low, some.high) == (pytest.approx(0.2527, abs=1e-4), pytest.approx(0.3676, abs=1e-4))
    assert (none.low, none.high) == (0.0, pytest.approx(0.1684, abs=1e-4))


@settings(deadline=None, max_examples=25)
@given(trials=st.integers(1, 25), rate=st.floats(0.01, 0.99))
def test_the_interval_covers_a_true_rate_at_least_as_often_as_it_says(trials: int, rate: float) -> None:
    found = [measure_rate(count, trials) for count in range(trials + 1)]
    covering = [count for count, interval in enumerate(found) if interval.low <= rate <= interval.high]
    assert sum(stats.binom.pmf(covering, trials, rate)) >= 0.95 - 1e-9


def test_without_trials_nothing_is_known() -> None:
    found = measure_rate(0, 0)
    assert (found.rate, found.low, found.high) == (None, 0.0, 1.0)


@settings(deadline=None)
@given(scores=SCORES, threshold=st.floats(-1, 1))
def test_every_score_is_either_accepted_or_rejected(scores: list[float], threshold: float) -> None:
    values = np.array(scores)
    assert false_accept(values, threshold).count + false_reject(values, threshold).count == len(scores)


@settings(deadline=None)
@given(scores=st.lists(st.floats(-1, 1), min_size=10, max_size=300), far=st.sampled_from([0.01, 0.05, 0.1]))
def test_few_enough_others_exceed_the_strict_threshold_and_no_smaller_score_would_do(
    scores: list[float], far: float
) -> None:
    values = np.array(scores)
    found = strict_threshold(values, values, far)
    if len(scores) * far < 1:
        assert found.value is None
        return
    assert found.value in scores
    assert (values > found.value).mean() <= far + 1e-12
    smaller = values[values < found.value]
    if smaller.size:
        assert (values > smaller.max()).mean() > far


def test_an_interval_at_both_ends_takes_as_many_others_as_it_says() -> None:
    needed = math.ceil(math.log(0.025) / math.log(0.99))
    for count, known in ((needed - 1, False), (needed, True)):
        values = np.random.default_rng(0).normal(0, 0.1, count)
        found = strict_threshold(values + 0.5, values, 0.01)
        assert found.needed == needed
        assert (found.high is not None) is known
        assert found.low is not None
        assert found.value is not None
        assert found.low <= found.value


def test_the_interval_of_the_threshold_covers_the_true_one() -> None:
    truth, hits = stats.norm.ppf(0.95), 0
    for number in range(200):
        values = np.random.default_rng(number).normal(0, 1, 200)
        found = strict_threshold(values, values, 0.05)
        assert found.low is not None
        assert found.high is not None
        hits += found.low <= truth <= found.high
    assert hits >= 184  # of 200 at 95%: fewer has a chance of one in a hundred


def test_real_photos_that_the_strict_threshold_refuses_are_counted() -> None:
    found = strict_threshold(np.array([0.1, 0.5, 0.9]), np.linspace(-0.5, 0.3, 200), 0.01)
    assert (found.frr.count, found.frr.trials) == (1, 3)
