"""Sharpness falls with blur, is measured where the face is, and does not depend on the camera's resolution."""

import cv2
import numpy as np
import pytest

from miniature.render import render, sample_identity, sample_scene
from stages.measures.sharpness import sharpness


def blur(pixels: np.ndarray, sigma: float) -> np.ndarray:
    return cv2.GaussianBlur(pixels, (0, 0), sigma)


def test_a_flat_picture_has_none() -> None:
    assert sharpness(np.full((40, 60, 3), 128, np.uint8), 64) == 0


def test_the_value_is_the_variance_of_the_laplacian() -> None:
    dot = np.zeros((9, 9, 3), np.uint8)
    dot[4, 4] = 100
    responses = np.zeros(81)
    responses[:5] = (-400, 100, 100, 100, 100)
    assert sharpness(dot, 9) == pytest.approx(responses.var())


def test_blur_lowers_it_step_by_step(faces: list[np.ndarray]) -> None:
    for face in faces[:6]:
        values = [sharpness(face, 64), *(sharpness(blur(face, sigma), 64) for sigma in (0.75, 1.0, 1.5, 2.0))]
        assert values == sorted(values, reverse=True)
        assert values[2] < 0.15 * values[0]


def test_only_what_lies_in_the_box_counts(faces: list[np.ndarray]) -> None:
    picture = np.concatenate([faces[0], blur(faces[1], 2)], axis=1)
    left, right = np.array([0, 0, 64, 64.0]), np.array([64, 0, 128, 64.0])
    assert sharpness(picture, 64, right) < 0.1 * sharpness(picture, 64, left)
    assert sharpness(picture, 64, np.array([-20, -20, 64, 90.0])) == sharpness(picture, 64, left)
    assert sharpness(picture, 64, np.array([200, 0, 220, 9.0])) == sharpness(picture, 64)  # outside: the whole picture


def test_blur_that_is_gone_at_the_training_resolution_does_no_harm() -> None:
    person, scene = sample_identity(2_000_007), sample_scene(3)
    small, large = render(person, scene, 64).image, render(person, scene, 512).image
    sharp = sharpness(large, 64)
    assert sharp == pytest.approx(sharpness(small, 64), rel=0.5)
    assert sharpness(blur(large, 2), 64) > 0.6 * sharp
    assert sharpness(blur(large, 16), 64) < 0.1 * sharp


def test_a_picture_that_is_smaller_is_not_enlarged(faces: list[np.ndarray]) -> None:
    assert sharpness(faces[0], 1024) == sharpness(faces[0], 64)
    assert sharpness(np.zeros((1, 1, 3), np.uint8), 64) == 0


def test_a_box_is_told_in_pixels_of_the_photo_before_it_is_shrunk(faces: list[np.ndarray]) -> None:
    """An oblong photo of 384 x 256 px, shrunk to 96 x 64 by its shorter side: sharp in its right third alone."""
    large = np.full((256, 384, 3), 128, np.uint8)
    large[:, 256:] = cv2.resize(faces[0], (128, 256))
    right, left = np.array([256, 0, 384, 256.0]), np.array([0, 0, 240, 256.0])
    assert sharpness(large, 64, left) == 0
    assert sharpness(large, 64, right) > 2 * sharpness(large, 64)
    shrunk = cv2.resize(large, (96, 64), interpolation=cv2.INTER_AREA)
    assert sharpness(large, 64) == sharpness(shrunk, 64)
    assert sharpness(large, 64, right) == sharpness(shrunk, 64, right / 4)
