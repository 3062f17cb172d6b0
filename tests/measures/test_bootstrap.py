"""Intervals over clusters."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.measures.bootstrap import cluster_interval


def clustered(rng: np.random.Generator, clusters: int = 20, each: int = 4) -> tuple[np.ndarray, list[int]]:
    """Pictures of one prompt share most of their deviation."""
    shared = np.repeat(rng.normal(0, 1, clusters), each)
    return shared + rng.normal(0, 0.3, clusters * each), list(np.repeat(np.arange(clusters), each))


def test_the_same_seed_gives_the_same_interval_and_another_seed_nearly() -> None:
    values, prompts = clustered(np.random.default_rng(0))
    first = cluster_interval(values, prompts, resamples=2000, seed=5)
    assert first == cluster_interval(values, prompts, resamples=2000, seed=5)
    other = cluster_interval(values, prompts, resamples=2000, seed=6)
    assert first != other
    np.testing.assert_allclose(first, other, atol=0.08)


def test_golden_interval() -> None:
    values = np.array([0.1, 0.2, 0.4, 0.5, 0.9, 0.8])
    low, high = cluster_interval(values, ["a", "a", "b", "b", "c", "c"], resamples=5000, seed=0)
    assert (low, high) == pytest.approx((0.15, 0.85))  # the mean of three clusters is least all-a and most all-c


def test_clusters_give_a_wider_interval_than_loose_pictures() -> None:
    values, prompts = clustered(np.random.default_rng(1))
    low, high = cluster_interval(values, prompts, resamples=2000, seed=0)
    loose_low, loose_high = cluster_interval(values, range(len(values)), resamples=2000, seed=0)
    assert high - low > 1.5 * (loose_high - loose_low)


def test_95_percent_intervals_cover_the_truth_about_95_percent_of_the_time() -> None:
    rng = np.random.default_rng(2)
    hits = 0
    for seed in range(200):
        low, high = cluster_interval(*clustered(rng, clusters=24, each=2), resamples=300, seed=seed)
        hits += low <= 0.0 <= high
    assert 178 <= hits <= 199


def test_more_confidence_is_a_wider_interval() -> None:
    values, prompts = clustered(np.random.default_rng(3))
    narrow = cluster_interval(values, prompts, resamples=1000, seed=0, confidence=0.8)
    wide = cluster_interval(values, prompts, resamples=1000, seed=0, confidence=0.99)
    assert wide[0] < narrow[0] < narrow[1] < wide[1]


@settings(max_examples=25, deadline=None)
@given(st.lists(st.floats(-1, 1, allow_nan=False), min_size=1, max_size=12), st.integers(1, 4))
def test_the_interval_lies_within_the_values_and_has_an_order(values: list[float], clusters: int) -> None:
    prompts = [i % clusters for i in range(len(values))]
    low, high = cluster_interval(np.array(values), prompts, resamples=50, seed=0)
    assert min(values) - 1e-12 <= low <= high <= max(values) + 1e-12


def test_a_single_prompt_resamples_its_pictures_and_a_single_picture_is_its_own_interval() -> None:
    low, high = cluster_interval(np.array([0.1, 0.5, 0.9, 0.3]), [7, 7, 7, 7], resamples=500, seed=0)
    assert low < 0.45 < high
    assert cluster_interval(np.array([0.4]), [0], resamples=100, seed=0) == (0.4, 0.4)


def test_the_ends_are_in_order_whatever_the_rounding() -> None:
    low, high = cluster_interval(np.full(3, -3.810076816809545e-212), [0, 0, 0], resamples=50, seed=0)
    assert low <= high


def test_values_that_are_all_equal_have_no_width() -> None:
    low, high = cluster_interval(np.full(6, 0.7), [0, 0, 1, 1, 2, 2], resamples=100, seed=0)
    assert (low, high) == pytest.approx((0.7, 0.7))
