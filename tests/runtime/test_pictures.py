"""Pictures are read as they are seen and written as the same bytes."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from stages.runtime.errors import UserError
from stages.runtime.pictures import list_pictures, read_picture, write_png


@pytest.fixture
def pixels() -> np.ndarray:
    rows, columns = np.mgrid[0:40, 0:60]
    return np.stack([rows * 6, columns * 4, rows + columns], axis=2).astype(np.uint8)


def test_a_png_round_trips_and_the_same_pixels_are_the_same_bytes(tmp_path: Path, pixels: np.ndarray) -> None:
    write_png(tmp_path / "a.png", pixels, {"prompt": "a wömän", "seed": "1"})
    write_png(tmp_path / "b.png", pixels, {"seed": "1", "prompt": "a wömän"})
    assert np.array_equal(read_picture(tmp_path / "a.png"), pixels)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    assert Image.open(tmp_path / "a.png").text == {"prompt": "a wömän", "seed": "1"}


def test_a_photo_that_was_taken_sideways_is_read_upright(tmp_path: Path, pixels: np.ndarray) -> None:
    exif = Image.Exif()
    exif[274] = 6
    Image.fromarray(np.ascontiguousarray(np.rot90(pixels, 1))).save(tmp_path / "a.png", exif=exif)
    assert np.array_equal(read_picture(tmp_path / "a.png"), pixels)


def test_transparency_is_laid_on_white(tmp_path: Path) -> None:
    Image.new("RGBA", (4, 4), (255, 0, 0, 0)).save(tmp_path / "a.png")
    assert (read_picture(tmp_path / "a.png") == 255).all()


def test_grey_and_palette_pictures_become_rgb(tmp_path: Path, pixels: np.ndarray) -> None:
    Image.fromarray(pixels).convert("L").save(tmp_path / "a.png")
    Image.fromarray(pixels).convert("P").save(tmp_path / "b.png")
    assert read_picture(tmp_path / "a.png").shape == read_picture(tmp_path / "b.png").shape == (40, 60, 3)


@pytest.mark.parametrize("content", [b"", b"not a picture", b"\x89PNG\r\n\x1a\n"])
def test_a_file_that_is_no_picture_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a b.png").write_bytes(content)
    with pytest.raises(UserError, match="not a readable picture"):
        read_picture(tmp_path / "a b.png")


def test_a_truncated_photo_is_named(tmp_path: Path, pixels: np.ndarray) -> None:
    Image.fromarray(pixels).save(tmp_path / "a.jpg")
    (tmp_path / "b.jpg").write_bytes((tmp_path / "a.jpg").read_bytes()[:-200])
    with pytest.raises(UserError, match="b.jpg"):
        read_picture(tmp_path / "b.jpg")


def test_pictures_are_listed_recursively_sorted_and_without_hidden_files(tmp_path: Path, pixels: np.ndarray) -> None:
    for name in ("b.png", "a/z.JPG", "a/.hidden.png", "notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.fromarray(pixels).save(tmp_path / name, format="PNG")
    assert [p.relative_to(tmp_path).as_posix() for p in list_pictures(tmp_path)] == ["a/z.JPG", "b.png"]


def test_an_empty_or_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds no pictures"):
        list_pictures(tmp_path)
    with pytest.raises(UserError, match="no such folder"):
        list_pictures(tmp_path / "nowhere")
