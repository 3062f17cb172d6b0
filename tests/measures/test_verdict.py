"""The verdict errs rarely, sees what is there, and does not care which version is called the baseline."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.measures.difference import Difference, measure_difference
from stages.measures.verdict import adjust_holm, decide_verdict, detectable_effect, more_pictures

PROMPTS, SEEDS = 24, 2
CLUSTERS = np.repeat(np.arange(PROMPTS), SEEDS)


def measure(baseline: np.ndarray, candidate: np.ndarray, **changed: Any) -> Difference:
    kept = {"confidence": 0.95, "resamples": 400, "seed": 3, "cluster_N": CLUSTERS[: len(baseline)]} | changed
    return measure_difference(baseline, candidate, **kept)


def verdict(difference: Difference, margin: float = 0.0) -> str:
    return decide_verdict(difference.interval, difference.p_value, margin=margin, confidence=0.95)


def two_versions(seed: int, effect: float) -> tuple[np.ndarray, np.ndarray]:
    """Prompts differ by 0.1, react to a version by 0.05, and a picture differs from its neighbour by 0.03."""
    rng = np.random.default_rng(seed)
    easy = np.repeat(rng.normal(0.5, 0.1, PROMPTS), SEEDS)
    reacts = np.repeat(rng.normal(effect, 0.05, PROMPTS), SEEDS)
    return easy + rng.normal(0, 0.03, len(easy)), easy + reacts + rng.normal(0, 0.03, len(easy))


def test_where_nothing_differs_a_difference_is_called_in_about_one_of_twenty_cases() -> None:
    called = [verdict(measure(*two_versions(seed, 0.0))) in ("IMPROVED", "REGRESSED") for seed in range(600)]
    assert 0.02 <= np.mean(called) <= 0.08


def test_resampling_pictures_instead_of_prompts_would_call_far_more() -> None:
    loose = [measure(*two_versions(seed, 0.0), cluster_N=np.arange(PROMPTS * SEEDS)) for seed in range(300)]
    assert np.mean([difference.p_value < 0.05 for difference in loose]) > 0.10


def test_the_interval_holds_the_truth_nineteen_times_of_twenty() -> None:
    intervals = [measure(*two_versions(seed, 0.03)).interval for seed in range(600)]
    assert 0.92 <= np.mean([low <= 0.03 <= high for low, high in intervals]) <= 0.98  # type: ignore[misc]


def test_a_clear_difference_is_always_called() -> None:
    verdicts = {verdict(measure(*two_versions(seed, 0.1))) for seed in range(100)}
    assert verdicts == {"IMPROVED"}
    assert {verdict(measure(*two_versions(seed, -0.1))) for seed in range(100)} == {"REGRESSED"}


def test_the_detectable_effect_is_seen_about_eight_times_of_ten() -> None:
    effects = [detectable_effect(measure(*two_versions(seed, 0.0))) for seed in range(200)]
    effect = float(np.mean(effects))  # type: ignore[arg-type]
    seen = [verdict(measure(*two_versions(seed, effect))) == "IMPROVED" for seed in range(1000, 1400)]
    assert 0.72 <= np.mean(seen) <= 0.86


def test_the_pictures_that_are_asked_for_settle_the_question_about_eight_times_of_ten() -> None:
    asked = []
    for seed in range(200):
        baseline, candidate = two_versions(seed, 0.0)
        candidate += 0.02 - np.mean(candidate - baseline)  # the difference that is seen is the true one
        asked.append(more_pictures(measure(baseline, candidate), margin=0.02))
    prompts = (PROMPTS * SEEDS + int(np.median([n for n in asked if n is not None]))) // SEEDS
    rng, seen = np.random.default_rng(5), []
    clusters = np.repeat(np.arange(prompts), SEEDS)
    for _ in range(200):
        change = np.repeat(rng.normal(0.02, 0.05, prompts), SEEDS) + rng.normal(0, 0.03 * 2**0.5, prompts * SEEDS)
        seen.append(verdict(measure(np.zeros(len(change)), change, cluster_N=clusters)) == "IMPROVED")
    assert 0.72 <= np.mean(seen) <= 0.9


def test_an_interval_within_the_margin_is_equivalent_even_when_it_leaves_out_zero() -> None:
    rng = np.random.default_rng(1)
    baseline = rng.normal(0.5, 0.1, PROMPTS * SEEDS)
    difference = measure(baseline, baseline + 0.01 + rng.normal(0, 0.002, len(baseline)))
    assert verdict(difference, margin=0.03) == "EQUIVALENT"
    assert verdict(difference, margin=0.0) == "IMPROVED"


def test_too_few_pictures_are_inconclusive_not_equivalent() -> None:
    baseline, candidate = two_versions(1, 0.01)
    difference = measure(baseline[:10], candidate[:10])
    assert difference.clusters == 5
    assert verdict(difference, margin=0.01) == "INCONCLUSIVE"


def test_the_same_pictures_are_equivalent_without_any_margin() -> None:
    baseline, _ = two_versions(2, 0.0)
    difference = measure(baseline, baseline)
    assert (difference.interval, difference.p_value, verdict(difference)) == ((0.0, 0.0), 1.0, "EQUIVALENT")
    assert detectable_effect(difference) is None


def test_one_prompt_says_nothing_about_others() -> None:
    difference = measure(np.zeros(2), np.ones(2))
    assert (difference.interval, difference.p_value, difference.method) == (None, 1.0, "none")
    assert verdict(difference, margin=5.0) == "INCONCLUSIVE"


@pytest.mark.parametrize("prompts", [2, 3])
def test_so_few_prompts_are_never_enough_even_when_all_agree(prompts: int) -> None:
    difference = measure(np.zeros(2 * prompts), np.ones(2 * prompts))
    assert difference.p_value > 0.05
    assert verdict(difference) == "INCONCLUSIVE"


@pytest.mark.parametrize("differing", [1, 2, 3])
def test_a_rare_event_is_not_taken_for_a_difference(differing: int) -> None:
    candidate = np.ones(PROMPTS * SEEDS)
    candidate[: differing * SEEDS : SEEDS] = 0.0
    difference = measure(np.ones(PROMPTS * SEEDS), candidate, resamples=2000)
    assert difference.interval is not None
    assert np.isfinite(difference.interval).all()
    assert difference.interval[1] >= 0
    assert verdict(difference) == "INCONCLUSIVE"


values = st.lists(st.floats(-1, 1, width=32), min_size=2 * SEEDS, max_size=PROMPTS * SEEDS).map(
    lambda drawn: np.array(drawn[: len(drawn) // SEEDS * SEEDS])
)


@settings(max_examples=60, deadline=None)
@given(baseline=values, data=st.data())
def test_exchanging_the_versions_turns_every_sign_and_nothing_else(baseline: np.ndarray, data: st.DataObject) -> None:
    drawn = st.lists(st.floats(-1, 1, width=32), min_size=len(baseline), max_size=len(baseline))
    candidate = np.array(data.draw(drawn))
    there, back = measure(baseline, candidate), measure(candidate, baseline)
    opposite = {"IMPROVED": "REGRESSED", "REGRESSED": "IMPROVED"}
    assert there.delta == pytest.approx(-back.delta)
    assert there.p_value == back.p_value
    assert there.method == back.method
    assert there.interval is not None
    assert back.interval is not None
    assert there.interval == pytest.approx((-back.interval[1], -back.interval[0]), abs=1e-9)
    for margin in (0.0, 0.2):
        said = verdict(there, margin)
        assert verdict(back, margin) == opposite.get(said, said)


@settings(max_examples=60, deadline=None)
@given(baseline=values, shift=st.floats(-1, 1), data=st.data())
def test_the_interval_moves_with_the_candidate_and_holds_the_difference(
    baseline: np.ndarray, shift: float, data: st.DataObject
) -> None:
    drawn = st.lists(st.floats(-1, 1, width=32), min_size=len(baseline), max_size=len(baseline))
    candidate = np.array(data.draw(drawn))
    plain, moved = measure(baseline, candidate), measure(baseline, candidate + shift)
    assert plain.interval is not None
    assert moved.interval is not None
    assert plain.interval[0] - 1e-9 <= plain.delta <= plain.interval[1] + 1e-9
    assert moved.delta == pytest.approx(plain.delta + shift, abs=1e-9)
    assert 0 < moved.p_value <= 1


def test_the_same_seed_gives_the_same_numbers_and_another_gives_others() -> None:
    pair = two_versions(4, 0.02)
    assert measure(*pair) == measure(*pair)
    assert measure(*pair, seed=4).interval != measure(*pair).interval


def test_the_order_of_rows_does_not_matter() -> None:
    pair, order = two_versions(4, 0.02), np.random.default_rng(0).permutation(PROMPTS * SEEDS)
    shuffled = measure(*(side[order] for side in pair), cluster_N=CLUSTERS[order])
    assert shuffled.interval == pytest.approx(measure(*pair).interval)


def test_every_prompt_weighs_the_same_however_many_seeds_it_has() -> None:
    difference = measure(np.zeros(4), np.array([1.0, 1.0, 1.0, 0.0]), cluster_N=np.array([0, 0, 0, 1]))
    assert difference.delta == difference.candidate == pytest.approx(0.5)


def test_unpaired_values_are_refused() -> None:
    with pytest.raises(ValueError, match="unpaired"):
        measure(np.zeros(4), np.zeros(3))


def test_holm_s_golden_numbers() -> None:
    # R: p.adjust(c(0.01, 0.04, 0.03, 0.005), "holm") -> 0.03 0.06 0.06 0.02
    assert adjust_holm(np.array([0.01, 0.04, 0.03, 0.005])) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert adjust_holm(np.array([0.9, 0.8])) == pytest.approx([1.0, 1.0])
    assert adjust_holm(np.array([0.02])) == pytest.approx([0.02])
    assert adjust_holm(np.array([])).shape == (0,)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_lies_between_nothing_and_bonferroni_and_keeps_the_order(p_values: list[float]) -> None:
    p = np.array(p_values)
    adjusted = adjust_holm(p)
    assert (adjusted >= p).all()
    assert (adjusted <= np.minimum(1, p * len(p)) + 1e-12).all()
    assert (np.diff(adjusted[np.argsort(p, kind="stable")]) >= 0).all()
