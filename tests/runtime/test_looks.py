"""A photo's look in 64 bits: imagehash's, or within two bits of it where a JPEG's decoder is spared the whole."""

import io
from pathlib import Path
from typing import Any

import cv2
import imagehash
import numpy as np
import pytest
from PIL import Image

from miniature.render import render, sample_identity, sample_scene
from stages.measures.duplicates import group_duplicates
from stages.runtime.decoding import decode_picture, decode_small
from stages.runtime.errors import UserError
from stages.runtime.looks import hash_look

HERE = Path("photo")
WITHIN = 2  # bits


def picture(number: int, width: int, height: int) -> Image.Image:
    """A development person, coarse or with a camera's grain."""
    image = cv2.resize(render(sample_identity(2_000_000 + number), sample_scene(number), 256).image, (width, height))
    grain = np.random.default_rng(number).normal(0, 8 * (number % 2), image.shape)
    return Image.fromarray(np.clip(image + grain, 0, 255).astype(np.uint8))


def saved(image: Image.Image, kind: str, **more: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **more)
    return stream.getvalue()


def bits(a: str, b: str) -> int:
    return (int(a, 16) ^ int(b, 16)).bit_count()


@pytest.mark.parametrize("size", [(1024, 1024), (1021, 1365), (600, 801), (1500, 521)])
@pytest.mark.parametrize("more", [{"quality": 92, "subsampling": 0}, {"quality": 70, "progressive": True}])
def test_a_large_jpeg_has_imagehashs_hash_within_two_bits(size: tuple[int, int], more: dict[str, Any]) -> None:
    for number in range(4):
        data = saved(picture(number, *size), "JPEG", **more)
        phash, width, height = hash_look(data, HERE)
        assert (width, height) == size
        assert bits(phash, str(imagehash.phash(Image.open(io.BytesIO(data))))) <= WITHIN


@pytest.mark.parametrize(("kind", "size"), [("PNG", (700, 600)), ("WEBP", (700, 600)), ("JPEG", (255, 255))])
def test_every_other_picture_has_imagehashs_hash(kind: str, size: tuple[int, int]) -> None:
    data = saved(picture(3, *size), kind)
    whole = str(imagehash.phash(Image.fromarray(decode_picture(data, HERE))))
    assert hash_look(data, HERE) == (whole, *size)


def test_the_hash_is_the_same_whether_the_pixels_are_known_or_not() -> None:
    for kind in ("JPEG", "PNG"):
        data = saved(picture(5, 640, 1100), kind)
        assert hash_look(data, HERE, decode_picture(data, HERE)) == hash_look(data, HERE)


def test_a_side_that_does_not_divide_is_not_shown_too_small() -> None:
    """129 px are 16 blocks of 8 and one column: in 17 px that column must not take the room of a whole block."""
    ramp = np.repeat(np.linspace(0, 255, 129)[None, :, None], 136, axis=0).repeat(3, axis=2).astype(np.uint8)
    small, whole = decode_small(saved(Image.fromarray(ramp), "JPEG", quality=95), HERE, 16)
    assert (small.size, whole) == ((17, 17), (129, 136))
    seen = np.asarray(small.convert("L")).mean(axis=0)
    assert np.abs(seen - (np.arange(17) + 0.5) * 255 / 17).max() < 4


def test_duplicates_are_found_as_before_among_large_jpegs() -> None:
    """Re-encoded and shrunk copies of one picture stay within the default six bits, other pictures far beyond."""
    hashes, names = [], []
    for number in range(6):
        image = picture(number, 1024, 900)
        for data in (
            saved(image, "JPEG", quality=95), saved(image, "JPEG", quality=60), saved(image, "PNG"),
            saved(image.resize((700, 615)), "JPEG"), saved(image.resize((300, 264)), "JPEG"),
        ):  # fmt: skip
            hashes.append(hash_look(data, HERE)[0])
            names.append(f"{number} {len(names)}")
    assert group_duplicates(hashes, names, 6) == [number for number in range(6) for _ in range(5)]
    apart = [bits(a, b) for i, a in enumerate(hashes) for j, b in enumerate(hashes) if i // 5 != j // 5]
    assert min(apart) > 6 + 2 * WITHIN


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_a_turned_jpeg_is_hashed_as_it_is_seen(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = saved(picture(1, 1026, 1024), "JPEG", exif=exif)
    whole = decode_picture(data, HERE)
    phash, width, height = hash_look(data, HERE)
    assert (height, width) == whole.shape[:2] == ((1026, 1024) if orientation > 4 else (1024, 1026))
    assert bits(phash, str(imagehash.phash(Image.fromarray(whole)))) <= WITHIN


def test_a_large_jpeg_that_was_cut_off_is_refused_though_it_is_not_decoded_whole() -> None:
    data = saved(picture(1, 1024, 1024), "JPEG")
    assert decode_small(data, HERE, 256)[0].size == (256, 256)
    for share in (0.98, 0.6, 0.05):
        with pytest.raises(UserError, match="not a readable picture"):
            hash_look(data[: int(len(data) * share)], HERE)
