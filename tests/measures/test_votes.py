"""What votes say of the gate, of a threshold and of two versions."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from stages.measures.votes import (
    cohen_kappa,
    count_confusion,
    find_cut,
    measure_cut,
    measure_kappa,
    measure_preference,
    measure_separation,
)

PAIRS = st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=60)
SCORED = st.lists(st.tuples(st.integers(-20, 20).map(lambda n: n / 7), st.booleans()), min_size=1, max_size=40)


def columns(rows: list[tuple[float, bool]]) -> tuple[np.ndarray, np.ndarray]:
    return np.array([row[0] for row in rows], float), np.array([row[1] for row in rows], bool)


def youden(score_N: np.ndarray, person_N: np.ndarray, threshold: float) -> float:
    passed = score_N >= threshold
    return float(passed[person_N].mean() + (~passed)[~person_N].mean() - 1)


def test_golden_kappa() -> None:
    """Cohen (1960): 20 and 15 of 50 agreed on, 5 and 10 not: kappa is 0.4."""
    gate = np.array([1] * 20 + [1] * 5 + [0] * 10 + [0] * 15, bool)
    person = np.array([1] * 20 + [0] * 5 + [1] * 10 + [0] * 15, bool)
    table = count_confusion(gate, person)
    assert (table.both_approved, table.only_gate, table.only_person, table.both_rejected) == (20, 5, 10, 15)
    assert cohen_kappa(gate, person) == pytest.approx(0.4)


@given(PAIRS)
def test_kappa_is_symmetric_bounded_and_one_only_for_full_agreement(rows: list[tuple[bool, bool]]) -> None:
    gate, person = (np.array(side, bool) for side in zip(*rows, strict=True))
    table, found = count_confusion(gate, person), cohen_kappa(gate, person)
    assert table.pictures == len(rows)
    assert found == cohen_kappa(person, gate)
    if found is None:
        assert len({*gate.tolist(), *person.tolist()}) == 1
        return
    assert -1 <= found <= 1
    assert (found == pytest.approx(1)) == bool((gate == person).all())
    assert found == pytest.approx(cohen_kappa(~gate, ~person))


def test_judgements_that_have_nothing_to_do_with_each_other_have_a_kappa_around_0() -> None:
    rng = np.random.default_rng(1)
    found = measure_kappa(rng.random(200) < 0.6, rng.random(200) < 0.4, resamples=300, seed=0)
    assert found is not None
    assert found.low < 0 < found.high
    assert found == measure_kappa(*(np.random.default_rng(1).random((2, 200)).T < (0.6, 0.4)).T, resamples=300, seed=0)


def test_kappa_s_interval_holds_the_truth_as_often_as_it_says() -> None:
    """Both approve half; they agree in 80%: the true kappa is 0.6."""
    rng, held = np.random.default_rng(3), 0
    for number in range(120):
        person = rng.random(80) < 0.5
        gate = np.where(rng.random(80) < 0.8, person, ~person)
        found = measure_kappa(gate, person, resamples=150, seed=number)
        assert found is not None
        held += found.low <= 0.6 <= found.high
    assert 105 <= held <= 120


@given(SCORED)
def test_no_threshold_does_better_than_the_one_that_is_found(rows: list[tuple[float, bool]]) -> None:
    score, person = columns(rows)
    found = find_cut(score, person)
    if person.all() or not person.any():
        assert found is None
        return
    best = max(youden(score, person, threshold) for threshold in [*score, score.max() + 1])
    if found is None:
        assert best <= 1e-12
        return
    assert found.youden == pytest.approx(best)
    assert found.youden == pytest.approx(youden(score, person, found.value))
    assert found.youden == pytest.approx(found.sensitivity + found.specificity - 1)
    assert score.min() < found.value < score.max()
    assert found.value not in score.tolist()


@given(SCORED, st.floats(0.1, 10), st.floats(-5, 5))
def test_a_threshold_moves_with_the_scale_of_the_scores(
    rows: list[tuple[float, bool]], scale: float, shift: float
) -> None:
    score, person = columns(rows)
    found, moved = find_cut(score, person), find_cut(score * scale + shift, person)
    assert (found is None) == (moved is None)
    if found and moved:
        assert moved.youden == pytest.approx(found.youden)


def test_a_planted_threshold_is_found_and_lies_in_its_interval() -> None:
    rng, held = np.random.default_rng(5), 0
    for number in range(40):
        score = rng.normal(0.5, 0.15, 120)
        person = score + rng.normal(0, 0.05, 120) > 0.55
        found = measure_cut(score, person, resamples=100, seed=number)
        assert found is not None
        cut, interval = found
        assert interval.low <= cut.value <= interval.high
        held += interval.low <= 0.55 <= interval.high
    assert held >= 34


def test_scores_that_say_nothing_have_no_sharp_threshold() -> None:
    rng = np.random.default_rng(8)
    score, person = rng.random(120), rng.random(120) < 0.5
    found = measure_cut(score, person, resamples=200, seed=0)
    assert found is not None
    assert found[0].youden < 0.3
    assert found[1].high - found[1].low > 0.4
    assert find_cut(np.ones(9), np.arange(9) > 4) is None
    assert find_cut(np.arange(9), np.arange(9) < 4) is None  # the worse, the better liked


def test_scores_that_say_nothing_seldom_seem_to_separate_and_those_that_do_always() -> None:
    rng, called = np.random.default_rng(4), 0
    for _ in range(400):
        score, person = rng.random(60), rng.random(60) < 0.5
        called += measure_separation(score, person) <= 0.05
        assert measure_separation(score + 0.6 * person, person) < 0.001
    assert called <= 34  # 20 are expected; 34 or more has a chance of 2 in a thousand
    assert measure_separation(np.arange(5), np.ones(5, bool)) == 1.0


@given(st.integers(0, 40), st.integers(0, 40), st.integers(0, 9))
def test_a_preference_is_the_mirror_of_the_other_s(first: int, second: int, ties: int) -> None:
    one, other = measure_preference(first, second, ties), measure_preference(second, first, ties)
    assert one.p == pytest.approx(other.p)
    assert one.share.trials == first + second
    assert one.share.low == pytest.approx(1 - other.share.high)
    if first + second:
        assert one.share.low <= first / (first + second) <= one.share.high


def test_golden_sign_test() -> None:
    """Nine of ten is 22 in 1024 by a coin; without a decided pair nothing is known."""
    assert measure_preference(9, 1, 5).p == pytest.approx(22 / 1024)
    nothing = measure_preference(0, 0, 3)
    assert (nothing.p, nothing.share.rate, nothing.share.low, nothing.share.high) == (1.0, None, 0.0, 1.0)


def test_the_sign_test_calls_a_coin_loaded_no_more_often_than_it_says() -> None:
    wins = np.arange(41)
    called = [measure_preference(int(n), 40 - int(n), 0).p <= 0.05 for n in wins]
    assert stats.binom.pmf(wins[called], 40, 0.5).sum() <= 0.05
