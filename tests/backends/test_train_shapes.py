"""Crops keep faces, buckets keep shapes."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.backends.train.shapes import bucket_sizes, choose_crop, choose_size
from stages.contracts.train_settings import Buckets

SQUARE, BUCKETS = Buckets(), Buckets(enabled=True)


def striped(height: int, width: int) -> np.ndarray:
    """Red tells the row, green the column."""
    rows, columns = np.mgrid[:height, :width]
    return np.stack([rows, columns, np.zeros_like(rows)], axis=-1).astype(np.uint8)


def test_a_square_picture_is_only_resized() -> None:
    crop = choose_crop(128, 128, (64, 64))
    assert crop.apply(striped(128, 128)).shape == (64, 64, 3)
    assert crop.time_ids(128, 128) == (128, 128, 0, 0, 64, 64)


def test_a_wide_picture_loses_its_sides_equally() -> None:
    crop = choose_crop(104, 64, (64, 64))
    cut = crop.apply(striped(64, 104))
    assert (cut[0, 0, 1], cut[0, -1, 1]) == (20, 83)
    assert crop.time_ids(104, 64) == (64, 104, 0, 20, 64, 64)


def test_a_tall_picture_keeps_its_upper_part() -> None:
    crop = choose_crop(64, 104, (64, 64))
    cut = crop.apply(striped(104, 64))
    assert (cut[0, 0, 0], cut[-1, 0, 0]) == (10, 73)
    assert crop.time_ids(64, 104) == (104, 64, 10, 0, 64, 64)


def test_the_crop_is_told_in_pixels_of_the_resized_picture() -> None:
    assert choose_crop(128, 192, (64, 64)).time_ids(128, 192) == (192, 128, 8, 0, 64, 64)


def test_sdxl_s_own_buckets_are_among_those_of_1024_px() -> None:
    """Appendix I of arXiv:2307.01952."""
    sizes = bucket_sizes(1024, 64, 2.0)
    assert sizes[0] == (1024, 1024)
    assert {(896, 1152), (1152, 896), (832, 1216), (768, 1344), (704, 1472)} & set(sizes) >= {(896, 1152), (1152, 896)}


def test_without_buckets_every_photo_is_square() -> None:
    assert choose_size(4000, 3000, 1024, SQUARE) == (1024, 1024)


def test_a_photo_goes_where_its_aspect_ratio_is_nearest() -> None:
    assert choose_size(4000, 3000, 1024, BUCKETS) == (1152, 896)
    assert choose_size(3000, 4000, 1024, BUCKETS) == (896, 1152)
    assert choose_size(500, 510, 1024, BUCKETS) == (1024, 1024)


@given(st.integers(1, 9000), st.integers(1, 9000), st.sampled_from([512, 768, 1024]), st.sampled_from([32, 64]))
def test_a_bucket_is_within_its_limits_and_its_crop_within_the_picture(
    width: int, height: int, resolution: int, step: int
) -> None:
    size = choose_size(width, height, resolution, Buckets(enabled=True, step=step, max_aspect=2.0))
    assert size[0] % step == size[1] % step == 0
    assert size[0] * size[1] <= resolution**2
    assert max(size) / min(size) <= 2.0
    crop = choose_crop(width, height, size)
    assert 0 <= crop.left <= crop.left + crop.width <= max(width, 1)
    assert 0 <= crop.top <= crop.top + crop.height <= max(height, 1)
    if min(width, height) > 50:
        assert crop.width / crop.height == pytest.approx(size[0] / size[1], rel=0.05)
        assert crop.width == width or crop.height == height
