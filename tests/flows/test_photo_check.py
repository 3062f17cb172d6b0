"""Everything that would stop a stage on the photos is named before it starts: one line per file, all at once."""

import shutil
import struct
import time
import unicodedata
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from stages import caption
from stages.contracts.paths import CAPTIONS
from stages.contracts.settings import Dataset
from stages.flows.dataset import build_manifest
from stages.flows.photo_check import list_photo_problems
from stages.runtime.errors import UserError
from stages.runtime.provenance import hash_path

PHOTOS = Path("data/photos")
DATASET = Dataset(name="x", photos=PHOTOS, trigger="amiranoor", class_word="woman", holdout_min=3)


@pytest.fixture(autouse=True)
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, faces: list[np.ndarray]) -> None:
    """Twelve good photos, captioned."""
    monkeypatch.chdir(tmp_path)
    PHOTOS.mkdir(parents=True)
    for number, face in enumerate(faces[:12]):
        Image.fromarray(face).save(PHOTOS / f"photo {number}.{'jpg' if number % 2 else 'png'}", quality=95)
    sections = {"dataset": DATASET.model_dump(mode="json"), "caption": {"backend": "template"}}
    Path("params.yaml").write_text(yaml.safe_dump(sections), encoding="utf-8")
    caption.main()


def check() -> list[str]:
    return list_photo_problems(DATASET, workers=2)


def header_of_a_bomb() -> bytes:
    ihdr = struct.pack(">IIBBBBB", 20_000, 20_000, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", ihdr), (b"IDAT", zlib.compress(b"\0" * 1_000_000)), (b"IEND", b""))
    body = b"".join(struct.pack(">I", len(d)) + n + d + struct.pack(">I", zlib.crc32(n + d)) for n, d in chunks)
    return b"\x89PNG\r\n\x1a\n" + body


def cut(share: float) -> bytes:
    data = (PHOTOS / "photo 1.jpg").read_bytes()
    return data[: int(share * len(data))]


def animate(kind: str) -> Callable[[Path], object]:
    frames = [Image.new("RGB", (64, 64), (40 * number, 0, 0)) for number in range(3)]
    return lambda path: frames[0].save(path, kind, save_all=True, append_images=frames[1:])


def leave(path: Path) -> None:
    shutil.copyfile(PHOTOS / "photo 1.jpg", "elsewhere.jpg")
    path.symlink_to(Path("elsewhere.jpg").absolute())


HURTS: dict[str, tuple[str, Callable[[Path], object], str]] = {
    "a file of no bytes": ("bad.png", lambda p: p.write_bytes(b""), "not a readable picture (the file is empty)"),
    "a text named .png": ("bad.png", lambda p: p.write_text("my notes"), "no JPEG, PNG, WebP, BMP or TIFF"),
    "a photo that was cut off": ("bad.jpg", lambda p: p.write_bytes(cut(0.6)), "not a readable picture"),
    "the first bytes of a photo": ("bad.jpg", lambda p: p.write_bytes(cut(0.05)), "not a readable picture"),
    "a decompression bomb": ("bad.png", lambda p: p.write_bytes(header_of_a_bomb()), "more than 120 megapixels"),
    "an animated WebP": ("bad.webp", animate("WEBP"), "an animation or a stack of 3 pictures"),
    "an animated GIF": ("bad.gif", animate("GIF"), "pictures of type .gif are not read; convert it"),
    "a phone's HEIC": ("IMG 1.HEIC", lambda p: p.write_bytes(b"\0\0\0\x18ftypheic"), "type .HEIC are not read"),
    "a HEIC named .jpg": ("bad.jpg", lambda p: p.write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0"), "a HEIC or AVIF picture"),
    "a link that leaves the folder": ("bad.jpg", leave, "a link that leaves the folder (to "),
    "a link to nothing": ("bad.jpg", lambda p: p.symlink_to("nothing.jpg"), "a link that leads nowhere"),
    "a link to itself": ("bad.jpg", lambda p: p.symlink_to("bad.jpg"), "a link that leads nowhere"),
    "a linked folder": ("more", lambda p: p.symlink_to(Path.cwd()), "a link to a folder, which is not followed"),
    "a name that is not UTF-8": ("gr\udcf6sse.png", lambda p: p.write_bytes(b""), "the file name is not UTF-8"),
    "a folder named as a caption": ("photo 1.txt", lambda p: p.mkdir(), "a folder with the name of a caption file"),
    "a float picture": ("bad.tif", lambda p: Image.new("F", (9, 9)).save(p), "a picture of mode F"),
}  # fmt: skip


def test_a_good_folder_has_no_problems() -> None:
    assert check() == []


@pytest.mark.parametrize("name", HURTS)
def test_what_hurts_is_one_line_in_check_and_every_stage_refuses_it_and_loses_nothing(name: str) -> None:
    file, hurt, what = HURTS[name]
    hurt(PHOTOS / file)
    (line,) = check()
    assert line.startswith(f"{(PHOTOS / file).as_posix()}: ")
    assert what in line
    before = hash_path(CAPTIONS), sorted(PHOTOS.iterdir())
    for stage in (caption.main, lambda: build_manifest(PHOTOS, CAPTIONS, DATASET)):
        with pytest.raises(UserError) as caught:
            stage()
        assert what in str(caught.value)
        assert "\n" not in caught.value.line
    assert (hash_path(CAPTIONS), sorted(PHOTOS.iterdir())) == before
    assert [path.name for path in Path("data").iterdir() if path.name.startswith(".")] == []


def test_everything_that_hurts_is_named_at_once_sorted_by_file() -> None:
    for number, (file, hurt, _) in enumerate(HURTS.values()):
        (PHOTOS / f"sub{number:02d}").mkdir()
        hurt(PHOTOS / f"sub{number:02d}" / file)
    lines = check()
    assert len(lines) == len(HURTS)
    assert lines == sorted(lines)
    assert [f"sub{number:02d}/" in line for number, line in enumerate(lines)] == [True] * len(HURTS)


@pytest.mark.parametrize(
    "name", ["with blanks.png", 'it\'s "one".png', "größe.png", unicodedata.normalize("NFD", "größe.png"), "a\nb.png"]
)
def test_a_name_may_be_odd_as_long_as_it_is_text(name: str) -> None:
    shutil.copyfile(PHOTOS / "photo 2.png", PHOTOS / name)
    assert check() == []
    caption.main()
    found = build_manifest(PHOTOS, CAPTIONS, DATASET)
    (photo,) = [p for p in found.images if p.filename == name]
    assert photo.caption_text == "amiranoor, a photo of a woman"


def test_a_folder_named_like_a_picture_is_a_folder() -> None:
    (PHOTOS / "x.png").mkdir()
    shutil.move(PHOTOS / "photo 1.jpg", PHOTOS / "x.png" / "photo 1.jpg")
    assert check() == []
    caption.main()
    assert "x.png/photo 1.jpg" in [p.filename for p in build_manifest(PHOTOS, CAPTIONS, DATASET).images]


def test_a_caption_of_no_photo_and_one_that_is_no_text_are_named() -> None:
    (PHOTOS / "photo 1.txt").write_text("smiling")
    (PHOTOS / "photo 2.png.txt").write_text("frowning")
    assert check() == []
    (PHOTOS / "photo 1.txt").rename(PHOTOS / "foto 1.txt")
    (PHOTOS / "photo 3.txt").write_bytes(b"gr\xf6\xdfe")
    (PHOTOS / "notes.md").write_text("not a caption")
    orphan, odd = check()
    assert orphan == "data/photos/foto 1.txt: a caption of no photo; rename it after its photo, or take it out " + (
        "(notes may be .md)"
    )
    assert odd == "data/photos/photo 3.txt: not UTF-8 text; save it as UTF-8"


def test_the_caption_of_a_photo_that_hurts_is_not_blamed_too() -> None:
    (PHOTOS / "IMG 1.heic").write_bytes(b"")
    (PHOTOS / "IMG 1.txt").write_text("smiling")
    assert len(check()) == 1


@pytest.mark.parametrize("count", [0, 1, 4])
def test_too_few_photos_for_the_split_are_said_to_be_too_few(count: int) -> None:
    for path in sorted(PHOTOS.iterdir())[count:]:
        path.unlink()
    (line,) = check()
    assert ("holds no pictures" if count == 0 else f"{count} photos, of which the holdout takes 3") in line


def test_copies_of_one_photo_leave_nothing_to_train_on() -> None:
    for path in sorted(PHOTOS.iterdir())[1:]:
        shutil.copyfile(PHOTOS / "photo 0.png", path)
    (line,) = check()
    assert "12 photos, of which the holdout takes 12: at least 2 must remain for training" in line


def test_a_missing_folder_is_one_line() -> None:
    shutil.rmtree(PHOTOS)
    assert check() == ["data/photos: no such folder; put the photos there, or set dataset.photos"]


def test_large_photos_take_a_fraction_of_a_second_each(faces: list[np.ndarray]) -> None:
    large = Image.fromarray(faces[12]).resize((4000, 3000))
    large.save(PHOTOS / "large 0.jpg", quality=90)
    for number in range(1, 6):
        shutil.copyfile(PHOTOS / "large 0.jpg", PHOTOS / f"large {number}.jpg")
    before = time.process_time()
    assert check() == []
    assert time.process_time() - before < 8
