"""Paired differences against the same worked out with other means: scipy's own tests, and by hand."""

import math

import numpy as np
import pytest
from scipy import stats

from stages.measures.difference import cluster_means, measure_difference, measure_differences, standard_errors
from stages.measures.verdict import detectable_effect, more_pictures

HOLM = 0.05 / 11  # what Holm's correction asks of the smallest of eleven p-values


def measured(difference_K: list[float], seeds: int = 1, **changes: object):
    values = {"confidence": 0.95, "resamples": 2000, "seed": 1, "family": 11} | changes
    prompts = np.repeat(np.arange(len(difference_K)), seeds)
    return measure_difference(np.full(len(prompts), 0.25), 0.25 + np.repeat(difference_K, seeds), prompts, **values)


def test_clusters_of_different_sizes_have_their_own_means() -> None:
    values = np.array([[1.0, 2.0, 3.0, 10.0], [0.0, 1.0, 5.0, 8.0]])
    np.testing.assert_allclose(cluster_means(values, np.array([0, 1, 0, 1])), [[2.0, 6.0], [2.5, 4.5]])


def test_few_prompts_are_judged_by_student_s_t() -> None:
    some = [0.1, 0.3, 0.15, 0.05]
    found = measured(some)
    expected = stats.ttest_1samp(some, 0)
    assert found.method == "student"
    assert found.p_value == pytest.approx(expected.pvalue)
    assert found.interval == pytest.approx(tuple(expected.confidence_interval(0.95)))
    assert found.standard_error == pytest.approx(stats.sem(some))
    assert found.corrected == pytest.approx(stats.t.ppf(1 - HOLM / 2, 3))
    assert found.critical == pytest.approx(stats.t.ppf(0.975, 3))
    assert (found.baseline, found.candidate) == (pytest.approx(0.25), pytest.approx(0.25 + np.mean(some)))
    assert (found.pairs, found.clusters, found.unit) == (4, 4, None)


def test_an_event_gets_one_more_prompt_in_favour_of_either_version() -> None:
    some = [0.5, 0.0, 0.0, 0.5, -0.5, 0.0, 0.5, 0.0]
    found = measured(some, seeds=2, events=True)
    with_both = [*some, 0.5, -0.5]
    expected = stats.ttest_1samp(with_both, 0)
    assert found.method == "pseudo-prompts"
    assert found.p_value == pytest.approx(expected.pvalue)
    assert found.interval == pytest.approx(tuple(expected.confidence_interval(0.95)))
    assert (found.delta, found.unit) == (pytest.approx(0.125), 0.5)
    assert (found.pairs, found.clusters) == (16, 8)


def test_where_no_event_was_seen_one_picture_of_a_prompt_is_the_unit() -> None:
    found = measured([0.0] * 6, seeds=4, events=True)
    error = stats.sem([0.0] * 6 + [0.25, -0.25])
    assert found.interval is not None
    assert found.interval[1] == pytest.approx(stats.t.ppf(0.975, 7) * error)
    assert found.unit == pytest.approx((1 + 0.25) / 2)
    assert found.p_value == 1.0


def test_the_studentized_interval_is_near_student_s_where_differences_are_normal() -> None:
    some = np.random.default_rng(3).normal(0.1, 0.2, 40).tolist()
    found, expected = measured(some, resamples=20_000), stats.ttest_1samp(some, 0)
    assert found.method == "studentized"
    assert found.interval == pytest.approx(tuple(expected.confidence_interval(0.95)), rel=0.1, abs=0.005)
    assert found.p_value == pytest.approx(expected.pvalue, rel=0.4, abs=5e-4)
    assert found.critical < found.corrected
    assert found.interval[0] + found.interval[1] == pytest.approx(2 * found.delta)


def test_metrics_of_one_table_keep_their_rows() -> None:
    rng = np.random.default_rng(0)
    baseline, prompts = rng.random((3, 20)), np.repeat(np.arange(10), 2)
    candidate = baseline + np.array([[0.1], [0.0], [-0.2]]) + rng.normal(0, 0.05, (3, 20))
    candidate[1] = baseline[1]
    kept = {"confidence": 0.95, "resamples": 300, "seed": 1, "family": 3}
    together = measure_differences(baseline, candidate, prompts, events=[False, True, False], **kept)
    for row, (found, event) in enumerate(zip(together, (False, True, False), strict=True)):
        alone = measure_difference(baseline[row], candidate[row], prompts, events=event, **kept)
        assert found.method == alone.method
        for name in ("baseline", "candidate", "delta", "standard_error", "interval", "p_value", "critical"):
            assert getattr(found, name) == pytest.approx(getattr(alone, name)), name
    assert [found.method for found in together] == ["studentized", "pseudo-prompts", "studentized"]


def test_a_spread_that_is_rounding_is_none() -> None:
    rows = np.array([[0.1, 0.1 + 1e-17, 0.1], [0.1, 0.2, 0.3]])
    assert standard_errors(rows) == pytest.approx([0.0, 0.1 / math.sqrt(3)])


def test_the_detectable_effect_and_the_pictures_that_are_asked_for_follow_their_formulas() -> None:
    """Four prompts of three seeds: Student's t, whose critical values and unsteadiness are known."""
    found = measured([0.10, 0.02, 0.06, -0.02], seeds=3)
    error, corrected, likely = found.standard_error, stats.t.ppf(1 - HOLM / 2, 3), stats.t.ppf(0.8, 3)
    unsteady = 1 / (2 * 3)
    steps = corrected + likely * math.sqrt(1 + 2 * (corrected**2 + (corrected + likely) ** 2) * unsteady)
    assert detectable_effect(found) == pytest.approx(steps * error)
    beyond = (0.5 - stats.t.ppf(0.975, 3) * error) + (steps - corrected) * error
    assert detectable_effect(found, margin=0.5) == pytest.approx(max(steps * error, beyond))
    assert detectable_effect(found, margin=50.0) == pytest.approx(
        50.0 - stats.t.ppf(0.975, 3) * error + (steps - corrected) * error
    )
    for margin in (0.0, 0.09):
        goal = max(found.delta, margin)
        prompts = math.ceil((steps / goal) ** 2 * 4 * error**2 - 4)
        assert more_pictures(found, margin=margin) == 3 * prompts
    assert more_pictures(measured([0.1, 0.1, 0.1, 0.1]), margin=0.1) is None
