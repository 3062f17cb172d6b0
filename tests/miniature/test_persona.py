"""The persona's photo folder is as awkward as a real one."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from miniature.persona import PHOTOS, photo_files, write_photos
from stages.runtime.pictures import list_pictures, read_picture


@pytest.fixture(scope="module")
def files() -> dict[str, bytes]:
    return photo_files()


def test_there_are_36_photos_of_several_types_and_sizes(files: dict[str, bytes]) -> None:
    sizes = {Image.open(io.BytesIO(content)).size for content in files.values()}
    assert len(files) == PHOTOS
    assert {Path(name).suffix for name in files} == {".jpg", ".png"}
    assert len(sizes) >= 6


def test_one_photo_is_an_exact_copy_and_one_is_encoded_again(files: dict[str, bytes]) -> None:
    assert len(set(files.values())) == PHOTOS - 1
    first, again = (np.asarray(Image.open(io.BytesIO(files[n])), float) for n in ("photo_02.jpg", "photo_36.jpg"))
    assert 0 < np.abs(first - again).mean() < 8


def test_the_rotated_photo_is_upright_when_read(tmp_path: Path) -> None:
    write_photos(tmp_path / "photos")
    assert len(list_pictures(tmp_path / "photos")) == PHOTOS
    raw = Image.open(tmp_path / "photos" / "photo_34.jpg")
    seen = read_picture(tmp_path / "photos" / "photo_34.jpg")
    assert raw.getexif()[274] == 6
    assert seen.shape[:2] == raw.size


def test_the_same_seed_gives_the_same_bytes(files: dict[str, bytes]) -> None:
    assert photo_files() == files
    assert photo_files(2_000_000)["photo_01.jpg"] != files["photo_01.jpg"]
