"""Generated folders that no one would want: check, caption and manifest either work or refuse in one line.

Whatever lies there, nothing but a UserError comes out, no photo changes, every artifact is the earlier one or a new
whole one, and what check finds nothing wrong with, the stages take.
"""

import io
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from miniature.places import WEIGHTS
from miniature.render import render, sample_identity, sample_scene
from stages import caption
from stages.contracts.manifest import read_manifest, write_manifest
from stages.contracts.paths import CAPTIONS, MANIFEST
from stages.contracts.settings import Dataset, FacePack, Judge, Judges, Machine, TextImage
from stages.flows.dataset import build_manifest, verify_manifest
from stages.flows.photo_check import list_photo_problems
from stages.flows.photo_facts import Viewers, open_viewers
from stages.runtime.errors import UserError

PHOTOS = Path("data/photos")
DATASET = Dataset(
    name="x", photos=PHOTOS, trigger="amiranoor", class_word="woman", holdout_min=2, moment_similarity=None
)
QUIET = settings(max_examples=220, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
ORPHAN = "a caption of no photo"  # the stages pass over it, for it can do no harm but the loss that check speaks of


def photo(scene: int, width: int = 48, height: int = 48) -> np.ndarray:
    return render(sample_identity(2_000_007), sample_scene(scene), width, height).image


def encode(image: Image.Image, kind: str, frames: int = 1, **options: Any) -> bytes:
    stream = io.BytesIO()
    more = [Image.fromarray(photo(number)) for number in range(2, frames + 1)]  # a picture remembers how it was saved
    image.copy().save(stream, kind, **options, **({"save_all": True, "append_images": more} if more else {}))
    return stream.getvalue()


def real_files() -> list[bytes]:
    """Pictures as they are: every type that is read, and the ways in which cameras and programs write them."""
    face = Image.fromarray(photo(0))
    exif = Image.Exif()
    exif[274], exif[271] = 6, "a camera"
    deep = (photo(1).astype(np.uint16) * 257)[..., ::-1]
    return [
        encode(face, "JPEG", exif=exif), encode(face, "JPEG", progressive=True, icc_profile=b"\0" * 200),
        encode(face.convert("CMYK"), "JPEG"), encode(face.convert("L"), "JPEG"), encode(face, "MPO", frames=2),
        encode(face, "PNG", exif=exif), encode(face.convert("P"), "PNG", transparency=3),
        encode(face.convert("LA"), "PNG"), encode(face.convert("1"), "PNG"), cv2.imencode(".png", deep)[1].tobytes(),
        cv2.imencode(".png", deep[..., 0])[1].tobytes(), encode(face, "PNG", frames=2), encode(face, "WEBP"),
        encode(face, "WEBP", frames=2), encode(face, "BMP"), encode(face, "TIFF", compression="tiff_lzw"),
        cv2.imencode(".tiff", deep)[1].tobytes(), encode(face.convert("F"), "TIFF"), encode(face, "GIF"),
        encode(Image.new("RGB", (1, 1)), "PNG"), encode(Image.new("RGB", (1, 700)), "PNG"),
        encode(face, "TIFF", frames=2),
    ]  # fmt: skip


REAL = real_files()
GOOD = [encode(Image.fromarray(photo(number)), "JPEG", quality=95) for number in range(10, 16)]


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """The bytes of a real picture after something went wrong with them."""
    data = bytearray(draw(st.sampled_from(REAL)))
    place = st.integers(0, len(data) - 1)
    match draw(
        st.sampled_from(["whole", "whole", "cut", "bits", "zeros", "taken", "given", "header", "other", "random"])
    ):
        case "cut":
            del data[draw(place) :]
        case "bits":
            for where in draw(st.lists(place, min_size=1, max_size=12)):
                data[where] ^= 1 << draw(st.integers(0, 7))
        case "zeros":
            start, length = draw(place), draw(st.integers(1, 300))
            data[start : start + length] = bytes(len(data[start : start + length]))
        case "taken":
            start = draw(place)
            del data[start : start + draw(st.integers(1, 300))]
        case "given":
            start = draw(place)
            data[start:start] = draw(st.binary(max_size=200))
        case "header":  # the sizes and counts of all these formats stand in the first bytes
            for where in draw(st.lists(st.integers(0, min(60, len(data) - 1)), min_size=1, max_size=6)):
                data[where] = draw(st.sampled_from([0, 1, 127, 128, 255]))
        case "other":
            data[draw(place) :] = draw(st.sampled_from(REAL))
        case "random":
            data = bytearray(draw(st.binary(max_size=300)))
    return bytes(data)


SUFFIXES = st.sampled_from(
    [".jpg", ".JPG", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".txt", ".heic", ".gif", ".md", ""]
)
LETTERS = st.characters(exclude_characters="/\0", exclude_categories=("Cs",)) | st.characters(
    min_codepoint=0xDC80, max_codepoint=0xDCFF, categories=("Cs",)
)
STEMS = st.sampled_from(
    [
        "a",
        "b",
        "a.png",
        "größe",
        "gro\u0308ße",
        "with blank",
        "it's",
        '"x"',
        "two\nlines",
        "\udcff",
        " ",
        ".hidden",
        "-rf",
    ]
) | st.text(LETTERS, min_size=1, max_size=12)
FOLDERS = st.sampled_from(["", "", "", "sub", "sub/deep", "x.png", "a.txt", ".git", "ünï"])
TARGETS = st.sampled_from(["good 0.jpg", "../secret.jpg", "/etc/hostname", "nowhere.jpg", ".", "..", "a.jpg", "sub"])
CAPTIONS_BY_HAND = st.sampled_from(
    [b"", b"smiling", b"gr\xf6\xdfe", b"\xff\xfe\x00", b"\xef\xbb\xbfa hat", b"a\0b", b"{x}"]
)
ENTRIES = st.tuples(
    FOLDERS,
    STEMS,
    SUFFIXES,
    st.one_of(
        st.tuples(st.just("picture"), mutated()),
        st.tuples(st.just("picture"), mutated()),
        st.tuples(st.just("caption"), CAPTIONS_BY_HAND),
        st.tuples(st.just("link"), TARGETS),
        st.tuples(st.just("folder"), st.none()),
        st.tuples(st.just("pipe"), st.none()),
    ),
)


def lay_out(good: int, entries: list[Any]) -> None:
    """Write what was drawn into the photo folder; what the file system itself refuses is not there."""
    for number in range(good):
        (PHOTOS / f"good {number}.jpg").write_bytes(GOOD[number])
    for folder, stem, suffix, (kind, content) in entries:
        path = PHOTOS / folder / f"{stem}{'.txt' if kind == 'caption' else suffix}"
        with suppress(OSError):  # a name that is taken, too long or itself a folder
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.is_symlink() or path.exists():
                continue
            match kind:
                case "link":
                    path.symlink_to(content)
                case "folder":
                    path.mkdir()
                case "pipe":
                    os.mkfifo(path)
                case _:
                    path.write_bytes(content)


@contextmanager
def workspace() -> Iterator[None]:
    """An empty photo folder with a secret beside it, and the artifacts of an earlier run."""
    here = Path.cwd()
    with tempfile.TemporaryDirectory() as name:
        os.chdir(name)
        try:
            PHOTOS.mkdir(parents=True)
            CAPTIONS.mkdir()
            Path("data/secret.jpg").write_bytes(GOOD[0])
            (CAPTIONS / "earlier.txt").write_text("amiranoor, earlier")
            MANIFEST.write_text("earlier")
            sections = {"dataset": DATASET.model_dump(mode="json"), "caption": {"backend": "template"}}
            Path("params.yaml").write_text(yaml.safe_dump(sections))
            yield
        finally:
            os.chdir(here)


def contents(folder: Path) -> dict[str, Any]:
    """Everything under a folder: bytes of files, targets of links, kinds of the rest."""
    found: dict[str, Any] = {}
    for parent, folders, files in os.walk(folder):
        for path in (Path(parent, name) for name in [*folders, *files]):
            link, regular = path.is_symlink(), path.is_file()
            found[str(path)] = path.readlink() if link else path.read_bytes() if regular else path.lstat().st_mode
    return found


def refused(stage: Any) -> bool:
    """Whether a stage refuses, which must be in one line that a terminal can show."""
    said = ""
    try:
        stage()
    except UserError as error:
        said = error.line
    assert said.isprintable()
    return bool(said)


def run_everything(viewers: Viewers | None) -> None:
    """Check, caption and manifest on what lies there, and what must hold whatever that is."""
    photos, captions, manifest = contents(PHOTOS), contents(CAPTIONS), MANIFEST.read_bytes()
    problems = list_photo_problems(DATASET, workers=2)
    no_captions = refused(caption.main)
    if no_captions:
        assert contents(CAPTIONS) == captions
    no_manifest = refused(lambda: write_manifest(build_manifest(PHOTOS, CAPTIONS, DATASET, 2, viewers)))
    if no_manifest:
        assert MANIFEST.read_bytes() == manifest
    else:
        written = read_manifest()
        assert no_captions or all(image.caption_text.startswith("amiranoor") for image in written.images)
        assert no_captions or verify_manifest(written) == []
    assert contents(PHOTOS) == photos
    assert sorted(path.name for path in Path("data").iterdir()) == ["captions", "manifest.json", "photos", "secret.jpg"]
    serious = [line for line in problems if ORPHAN not in line]
    assert bool(serious) == (no_captions or no_manifest), problems


@QUIET
@given(good=st.sampled_from([0, 1, 4, 6, 6]), entries=st.lists(ENTRIES, max_size=5))
def test_a_hostile_folder_is_taken_or_refused_in_one_line_and_nothing_is_lost(good: int, entries: list[Any]) -> None:
    with workspace():
        lay_out(good, entries)
        run_everything(None)


@pytest.fixture(scope="module")
def viewers(judges: None) -> Viewers:
    pack = FacePack(path=WEIGHTS / "faces/models/miniature", licence="test", detection_size=128)
    second, clip = Judge(path=WEIGHTS / "judge", licence="test"), TextImage(path=WEIGHTS / "clip", licence="test")
    return open_viewers(Judges(faces=pack, second=second, text_image=clip), Machine(threads=1))


@settings(QUIET, max_examples=40)
@given(pictures=st.lists(mutated(), min_size=1, max_size=3))
def test_the_judges_take_whatever_picture_can_be_read(viewers: Viewers, pictures: list[bytes]) -> None:
    with workspace():
        lay_out(6, [("", f"p{number}", ".png", ("picture", data)) for number, data in enumerate(pictures)])
        run_everything(viewers)


@pytest.mark.parametrize("number", range(len(REAL)))
def test_every_real_file_is_taken_whole_or_refused_for_what_it_is(number: int) -> None:
    with workspace():
        lay_out(6, [("", "p", ".png", ("picture", REAL[number]))])
        run_everything(None)


@pytest.mark.slow
@settings(QUIET, max_examples=5000, derandomize=False)
@given(data=mutated())
def test_no_bytes_break_the_reader(data: bytes) -> None:
    with workspace():
        lay_out(4, [("", "p", ".png", ("picture", data))])
        run_everything(None)
