"""Pictures inside the page: small, within the budget, the same every time."""

import base64
import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from stages.reports.page.thumbnails import SIDES, choose_side, fill_budget, make_thumbnail
from stages.runtime.errors import UserError
from stages.runtime.pictures import write_png

RNG = np.random.default_rng(0)


def opened(uri: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(uri.removeprefix("data:image/webp;base64,"))))


def test_a_thumbnail_is_webp_of_the_picture_s_shape_and_never_larger_than_it() -> None:
    wide = RNG.integers(0, 255, (100, 400, 3), np.uint8)
    assert opened(make_thumbnail(wide, 200)).size == (200, 50)
    assert opened(make_thumbnail(wide[:, :100], 200)).size == (100, 100)
    assert opened(make_thumbnail(wide, 64)).format == "WEBP"


def test_the_same_pixels_are_the_same_text(faces: list[np.ndarray]) -> None:
    assert make_thumbnail(faces[0], 64) == make_thumbnail(faces[0].copy(), 64)
    assert np.abs(np.asarray(opened(make_thumbnail(faces[0], 64))).astype(int) - faces[0]).mean() < 8


def test_many_pictures_are_smaller_than_few() -> None:
    sides = [choose_side(count, 3_000_000) for count in (0, 100, 400, 1000, 100_000)]
    assert sides == sorted(sides, reverse=True)
    assert (sides[0], sides[-1]) == (SIDES[0], SIDES[-1])


def test_the_budget_holds_whatever_the_pictures_are_and_the_first_ones_are_kept(tmp_path: Path) -> None:
    places = [tmp_path / f"{number:02d}.png" for number in range(30)]
    for place in places:
        write_png(place, RNG.integers(0, 255, (96, 96, 3), np.uint8))  # the worst case for WebP
    made = list(fill_budget(places, 60_000))
    assert 0 < len(made) < 30
    assert [place for place, _ in made] == places[: len(made)]
    assert sum(len(uri) for _, uri in made) <= 60_000
    assert list(fill_budget([], 0)) == []


def test_a_file_that_is_no_picture_is_named(tmp_path: Path) -> None:
    (tmp_path / "x.png").write_text("no picture")
    with pytest.raises(UserError, match=r"x\.png"):
        list(fill_budget([tmp_path / "x.png"], 1_000_000))
