"""Copies of training photos are told from new pictures, by the person's own photos alone."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.measures.memorisation import Views, find_closest, hash_picture, make_yardstick


def views(seed: int, count: int) -> Views:
    """Pictures that have nothing to do with each other."""
    rng = np.random.default_rng(seed)
    shows = rng.standard_normal((count, 24)).astype(np.float32)
    shows /= np.linalg.norm(shows, axis=1, keepdims=True)
    return Views(shows, rng.integers(0, 2**63, (count, 2)).astype(np.uint64))


def copies(photos: Views, rows: np.ndarray, seed: int = 0) -> Views:
    """The same pictures, a little noisy: two bits and a few degrees away."""
    rng = np.random.default_rng(seed)
    shows = photos.shows_ND[rows] + rng.normal(0, 0.03, (len(rows), photos.shows_ND.shape[1]))
    shows /= np.linalg.norm(shows, axis=1, keepdims=True)
    flips = np.uint64(1) << rng.integers(0, 64, (len(rows), 1)).astype(np.uint64)
    return Views(shows.astype(np.float32), photos.hashes_N2[rows] ^ flips)


def test_the_hash_of_a_mirrored_picture_is_the_other_hash() -> None:
    image = np.random.default_rng(0).integers(0, 255, (8, 8, 3)).astype(np.uint8).repeat(8, 0).repeat(8, 1)
    plain, mirrored = hash_picture(image)
    assert hash_picture(np.ascontiguousarray(image[:, ::-1])) == (mirrored, plain)
    assert plain != mirrored


def test_of_a_photo_that_is_not_square_the_middle_is_hashed() -> None:
    image = np.random.default_rng(1).integers(0, 255, (8, 8, 3)).astype(np.uint8).repeat(8, 0).repeat(8, 1)
    tall = np.concatenate([np.zeros((20, 64, 3), np.uint8), image, np.full((20, 64, 3), 255, np.uint8)])
    assert hash_picture(tall) == hash_picture(image)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 999), train=st.integers(12, 30), held=st.integers(1, 12))
def test_copies_are_found_with_the_photo_that_they_repeat_and_new_pictures_are_not(
    seed: int, train: int, held: int
) -> None:
    photos, holdout = views(seed, train), views(seed + 5000, held)
    yardstick = make_yardstick(photos, np.arange(train), holdout, 100 + np.arange(held), 0.99)
    assert yardstick.photos == train + held
    rows = np.arange(train)
    found = find_closest(copies(photos, rows, seed), photos, yardstick)
    assert found.photo_N.tolist() == rows.tolist()
    assert (found.closeness_N > yardstick.limit).all()
    assert (found.bits_N <= 2).all()
    fresh = find_closest(views(seed + 9000, 50), photos, yardstick)
    assert (fresh.closeness_N > yardstick.limit).mean() <= 0.5


def test_new_pictures_of_the_same_kind_as_real_photos_rarely_pass_for_copies() -> None:
    shares = []
    for seed in range(30):
        photos, holdout = views(seed, 26), views(seed + 500, 10)
        yardstick = make_yardstick(photos, np.arange(26), holdout, 100 + np.arange(10), 0.99)
        fresh = find_closest(views(seed + 900, 48), photos, yardstick)
        shares.append((fresh.closeness_N > yardstick.limit).mean())
    assert np.mean(shares) < 0.05


def test_a_mirrored_copy_is_a_copy() -> None:
    photos = views(3, 12)
    mirrored = Views(photos.shows_ND, photos.hashes_N2[:, ::-1].copy())
    yardstick = make_yardstick(photos, np.arange(12), views(4, 5), 50 + np.arange(5), 0.99)
    found = find_closest(mirrored, photos, yardstick)
    assert (found.bits_N == 0).all()
    assert (found.closeness_N > yardstick.limit).all()


def test_shots_of_one_moment_do_not_loosen_what_counts_as_close() -> None:
    photos, holdout = views(5, 12), views(6, 5)
    strict = make_yardstick(photos, np.arange(12), holdout, 50 + np.arange(5), 0.99)
    twice = Views(np.tile(photos.shows_ND, (2, 1)), np.tile(photos.hashes_N2, (2, 1)))
    doubled = make_yardstick(twice, np.tile(np.arange(12), 2), holdout, 50 + np.arange(5), 0.99)
    assert doubled.limit == pytest.approx(strict.limit, rel=0.1)
    as_if_different = make_yardstick(twice, np.arange(24), holdout, 50 + np.arange(5), 0.99)
    assert as_if_different.limit > strict.limit + 2


def test_photos_of_one_moment_alone_are_no_yardstick() -> None:
    photos = views(7, 4)
    with pytest.raises(ValueError, match="one moment"):
        make_yardstick(photos, np.zeros(4), views(8, 2), np.zeros(2), 0.99)
