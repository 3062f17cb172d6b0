"""Pictures are listed, read as they are seen and written as the same bytes."""

import os
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from stages.runtime.errors import UserError
from stages.runtime.pictures import list_pictures, read_picture, read_pictures, survey, write_png
from stages.runtime.provenance import hash_file


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


def test_a_truncated_photo_is_named(tmp_path: Path, pixels: np.ndarray) -> None:
    Image.fromarray(pixels).save(tmp_path / "a.jpg")
    (tmp_path / "b.jpg").write_bytes((tmp_path / "a.jpg").read_bytes()[:-200])
    with pytest.raises(UserError, match="b.jpg"):
        read_picture(tmp_path / "b.jpg")


def test_pictures_are_listed_recursively_sorted_and_without_hidden_files(tmp_path: Path, pixels: np.ndarray) -> None:
    for name in ("b.png", "a/z.JPG", "a/.hidden.png", "notes.md", ".thumbnails/c.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.fromarray(pixels).save(tmp_path / name, format="PNG")
    assert [p.relative_to(tmp_path).as_posix() for p in list_pictures(tmp_path)] == ["a/z.JPG", "b.png"]


def test_an_empty_or_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds no pictures"):
        list_pictures(tmp_path)
    with pytest.raises(UserError, match="no such folder"):
        list_pictures(tmp_path / "nowhere")


def test_a_photo_is_read_only_when_it_is_the_one_that_is_meant(tmp_path: Path, pixels: np.ndarray) -> None:
    path = tmp_path / "a.png"
    write_png(path, pixels)
    meant = hash_file(path)
    assert np.array_equal(read_picture(path, meant), pixels)
    write_png(path, pixels[::-1])
    with pytest.raises(UserError, match=r"a\.png: changed since the manifest was written"):
        read_picture(path, meant)


NAMES = (
    "mit Leerzeichen.png", "it's \"quoted\".png", "größe.png", unicodedata.normalize("NFD", "höhe.png"),
    "two\nlines.png", "日本語 😀.png", "-rf.png", "$(x).png", "a;b&c|d.png", "tab\there.png", "x" * 251 + ".png",
    "UPPER.PNG", "%20.png",
    "folder.png/inside.png",
)  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_a_name_may_hold_any_text(tmp_path: Path, pixels: np.ndarray, name: str) -> None:
    write_png(tmp_path / name, pixels)
    (path,) = list_pictures(tmp_path)
    assert path.relative_to(tmp_path).as_posix() == name
    assert np.array_equal(read_picture(path), pixels)


def test_everything_that_would_be_lost_or_would_hurt_is_named_at_once(tmp_path: Path, pixels: np.ndarray) -> None:
    folder = tmp_path / "photos"
    write_png(folder / "good.png", pixels)
    write_png(tmp_path / "outside.png", pixels)
    for name, target in (
        ("away", "../outside.png"),
        ("gone", "nowhere.png"),
        ("loop", "loop.png"),
        ("fine", "good.png"),
    ):
        (folder / f"{name}.png").symlink_to(target)
    (folder / "album").symlink_to(folder)
    (folder / "good.txt").symlink_to(tmp_path / "secret.txt")
    (folder / "IMG_1.HEIC").write_bytes(b"")
    (folder / "turn.gif").write_bytes(b"")
    (folder / "a.txt").mkdir()
    os.mkfifo(folder / "pipe.png")
    (folder / "movie.mov").write_bytes(b"")  # nobody expects a film to be a photo
    (folder / "gr\udcf6sse.png").write_bytes(b"")
    for form in ("NFC", "NFD"):
        write_png(folder / f"{unicodedata.normalize(form, 'ü')}.png", pixels)
    found = survey(folder)
    assert [path.name for path in found.pictures][:2] == ["fine.png", "good.png"]
    said = {Path(problem.where).name: problem.line for problem in found.problems}
    assert list(said) == sorted(said)
    for name, what in {
        "away.png": "a link that leaves the folder", "gone.png": "a link that leads nowhere",
        "loop.png": "a link that leads nowhere", "album": "a link to a folder", "good.txt": "a link that leads nowhere",
        "IMG_1.HEIC": "type .HEIC are not read; convert it", "turn.gif": "pictures of type .gif are not read",
        "a.txt": "a folder with the name of a caption", "pipe.png": "neither a file nor a folder",
        "gr\udcf6sse.png": "not UTF-8; rename", unicodedata.normalize("NFC", "ü.png"): "other Unicode characters",
    }.items():  # fmt: skip
        assert what in said.pop(name)
    assert said == {}
    with pytest.raises(UserError, match="11 problems: .*; and 1 more"):
        list_pictures(folder)


def test_one_problem_alone_is_said_alone(tmp_path: Path, pixels: np.ndarray) -> None:
    write_png(tmp_path / "a.png", pixels)
    (tmp_path / "b.avif").write_bytes(b"")
    with pytest.raises(UserError) as caught:
        list_pictures(tmp_path)
    assert caught.value.line.endswith(
        "b.avif: pictures of type .avif are not read; convert it to JPEG or PNG, or take it out"
    )


def test_the_photo_folder_itself_may_be_a_link(tmp_path: Path, pixels: np.ndarray) -> None:
    write_png(tmp_path / "disk" / "a.png", pixels)
    (tmp_path / "photos").symlink_to("disk")
    assert [path.name for path in list_pictures(tmp_path / "photos")] == ["a.png"]


def test_pictures_are_read_in_order_and_only_so_many_ahead(tmp_path: Path, pixels: np.ndarray) -> None:
    paths = [tmp_path / f"{number}.png" for number in range(9)]
    for number, path in enumerate(paths):
        write_png(path, pixels + np.uint8(number))
    asked: list[int] = []
    pictures = read_pictures((asked.append(n) or path for n, path in enumerate(paths)), workers=3, ahead=2)
    first = next(pictures)
    assert asked == [0, 1, 2]
    assert [int(picture[0, 0, 0]) for picture in (first, *pictures)] == list(range(9))


def test_a_picture_that_cannot_be_read_stops_the_reading_of_those_behind_it(tmp_path: Path, pixels: np.ndarray) -> None:
    write_png(tmp_path / "good.png", pixels)
    (tmp_path / "bad.png").write_bytes(b"no picture")
    pictures = read_pictures([tmp_path / "good.png", tmp_path / "bad.png", tmp_path / "good.png"], workers=2)
    assert np.array_equal(next(pictures), pixels)
    with pytest.raises(UserError, match=r"bad\.png"):
        next(pictures)
