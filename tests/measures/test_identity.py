"""Similarities and the likeness ruler."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.measures.identity import pass_rate, ruler, similarities
from stages.runtime.errors import UserError

COSINES = st.floats(-1, 1, allow_nan=False)


def units(count: int, seed: int = 0) -> np.ndarray:
    vectors = np.random.default_rng(seed).standard_normal((count, 16)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def test_similarity_is_the_mean_of_the_cosines_to_the_references() -> None:
    pictures, references = units(5), units(7, seed=1)
    expected = (pictures.astype(float) @ references.astype(float).T).mean(axis=1)
    np.testing.assert_allclose(similarities(list(pictures), references), expected, atol=1e-12)


def test_golden_similarities() -> None:
    references = np.array([[1.0, 0.0], [0.6, 0.8]])
    found = similarities([np.array([1.0, 0.0]), np.array([0.0, 1.0]), np.array([-1.0, 0.0])], references)
    np.testing.assert_allclose(found, [0.8, 0.4, -0.8])


def test_a_face_that_is_not_found_counts_as_zero_and_is_not_dropped() -> None:
    references = units(3)
    found = similarities([references[0], None], references)
    assert found.shape == (2,)
    assert found[1] == 0.0
    assert found.mean() == found[0] / 2


def test_without_references_there_is_no_similarity() -> None:
    with pytest.raises(ValueError, match="no references"):
        similarities([units(1)[0]], np.zeros((0, 16)))


@given(base=st.floats(-0.5, 0.5), length=st.floats(0.06, 1.0), similarity=COSINES)
def test_the_ruler_is_linear_with_its_ends_at_0_and_100(base: float, length: float, similarity: float) -> None:
    real = base + length
    ends = ruler(np.array([base, real]), base, real)
    np.testing.assert_allclose(ends, [0, 100], atol=1e-9)
    back = base + float(ruler(np.array(similarity), base, real)) / 100 * (real - base)
    assert back == pytest.approx(similarity, abs=1e-9)


@given(a=COSINES, b=COSINES)
def test_the_ruler_keeps_the_order_of_pictures(a: float, b: float) -> None:
    first, second = ruler(np.array([a, b]), 0.1, 0.8)
    assert (first <= second) == (a <= b) or a == pytest.approx(b, abs=1e-12)


def test_a_mean_on_the_ruler_is_the_ruler_of_the_mean() -> None:
    values = np.random.default_rng(3).uniform(-0.2, 0.9, 40)
    assert ruler(values, 0.07, 0.83).mean() == pytest.approx(float(ruler(values.mean(), 0.07, 0.83)))


def test_copying_goes_beyond_100_and_is_not_clipped() -> None:
    assert float(ruler(np.array(0.9), 0.1, 0.8)) == pytest.approx(114.2857, abs=1e-3)


@pytest.mark.parametrize("real", [0.3, 0.2, 0.34])
def test_a_judge_that_does_not_know_the_person_has_no_ruler(real: float) -> None:
    with pytest.raises(UserError, match="no ruler"):
        ruler(np.array([0.5]), 0.3, real)


def test_the_pass_rate_counts_what_reaches_the_threshold() -> None:
    assert pass_rate(np.array([0.59, 0.60, 0.61, 0.0]), 0.60) == 0.5
