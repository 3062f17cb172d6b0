"""How much pictures differ: distances of what they show, of faces' shapes, and their means."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from miniature.render import render, sample_identity, sample_scene
from stages.measures.diversity import cosine_distances, mean_of_pairs, mean_to_others, shape_distances

POINTS = st.lists(st.floats(-50, 50), min_size=10, max_size=10).map(lambda values: np.array(values).reshape(5, 2))


def test_golden_distances() -> None:
    vectors = np.array([[1, 0], [0.6, 0.8], [-1, 0]], dtype=np.float32)
    np.testing.assert_allclose(cosine_distances(vectors), [[0, 0.4, 2], [0.4, 0, 1.6], [2, 1.6, 0]], atol=1e-6)


@settings(deadline=None)
@given(points=POINTS, turn=st.floats(-180, 180), scale=st.floats(0.1, 20), x=st.floats(-99, 99), y=st.floats(-99, 99))
def test_no_shift_turn_or_scale_of_a_face_changes_its_shape(
    points: np.ndarray, turn: float, scale: float, x: float, y: float
) -> None:
    if np.linalg.norm(points - points.mean(axis=0)) < 1e-3:
        return
    z = (points[:, 0] + 1j * points[:, 1]) * scale * np.exp(1j * np.radians(turn)) + complex(x, y)
    distance = shape_distances([points, np.stack([z.real, z.imag], axis=1)])
    assert distance[0, 1] == pytest.approx(0, abs=1e-4)
    np.testing.assert_allclose(distance, distance.T, atol=1e-7)


@settings(deadline=None)
@given(st.lists(POINTS, min_size=3, max_size=3))
def test_shape_distances_lie_between_0_and_1(shapes: list[np.ndarray]) -> None:
    distance = shape_distances(shapes)
    assert ((distance >= 0) & (distance <= 1)).all()


def test_a_head_that_turns_further_or_smiles_has_another_shape_and_a_mirrored_one_too() -> None:
    who, scene = sample_identity(2_000_011), sample_scene(3, yaw=0.0, pitch=0.0, roll=0.0, expression="neutral")
    scenes = [scene, *(dataclasses.replace(scene, yaw=yaw) for yaw in (10.0, 30.0, -30.0))]
    scenes.append(dataclasses.replace(scene, expression="smiling"))
    distance = shape_distances([render(who, each, 96).landmarks for each in scenes])
    assert distance[0, 1] < distance[0, 2]
    assert distance[2, 3] > distance[0, 2] > 0.05
    assert distance[0, 4] > 0.02


def test_a_face_that_is_not_found_is_compared_with_nothing() -> None:
    points = np.array([[0, 0], [4, 0], [2, 2], [1, 4], [3, 4.0]])
    distance = shape_distances([points, None, points * (1, 2)])
    assert np.isnan(distance[1]).all()
    np.testing.assert_array_equal(np.isnan(mean_to_others(distance, [0, 0, 0])), [False, True, False])
    assert mean_of_pairs(distance) == pytest.approx(distance[0, 2])


@settings(deadline=None)
@given(st.lists(st.integers(0, 3), min_size=1, max_size=12), st.integers(0, 999))
def test_the_mean_to_others_is_the_mean_of_the_pairs_of_a_group(groups: list[int], seed: int) -> None:
    distance = np.random.default_rng(seed).random((len(groups), len(groups)))
    found = mean_to_others(distance, groups)
    for i, own in enumerate(groups):
        others = [distance[i, j] for j, group in enumerate(groups) if group == own and j != i]
        assert found[i] == pytest.approx(np.mean(others)) if others else np.isnan(found[i])


def test_pairs_of_one_group_can_be_left_out_and_where_none_are_left_there_is_no_mean() -> None:
    distance = np.array([[0, 0.1, 0.5], [0.1, 0, 0.7], [0.5, 0.7, 0]])
    assert mean_of_pairs(distance) == pytest.approx((0.1 + 0.5 + 0.7) / 3)
    assert mean_of_pairs(distance, ["a", "a", "b"]) == pytest.approx(0.6)
    assert mean_of_pairs(distance, ["a", "a", "a"]) is None
    assert mean_of_pairs(distance[:1, :1]) is None
