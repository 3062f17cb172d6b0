"""Whatever a picture file holds, either the pixels that a person sees come out, or one line that names the file."""

import io
import struct
import time
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image, ImageCms

from stages.runtime.decoding import MOST_PIXELS, decode_picture
from stages.runtime.errors import UserError

HERE = Path("a photo.png")
ORIENTATION = 274


@pytest.fixture
def pixels() -> np.ndarray:
    rows, columns = np.mgrid[0:40, 0:60]
    return np.stack([rows * 6, columns * 4, rows + columns], axis=2).astype(np.uint8)


def encoded(image: Image.Image, kind: str, **options) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def refusal(data: bytes) -> str:
    with pytest.raises(UserError) as caught:
        decode_picture(data, HERE)
    assert caught.value.where == "a photo.png"
    return caught.value.line


def png(width: int, height: int, colour: int = 2, data: bytes = b"") -> bytes:
    """A PNG file by its chunks: a header may promise more than there is."""
    chunks = ((b"IHDR", struct.pack(">IIBBBBB", width, height, 8, colour, 0, 0, 0)), (b"IDAT", data), (b"IEND", b""))
    body = b"".join(struct.pack(">I", len(d)) + n + d + struct.pack(">I", zlib.crc32(n + d)) for n, d in chunks)
    return b"\x89PNG\r\n\x1a\n" + body


def blue_for_red() -> bytes:
    """An ICC profile in which red and blue have changed places: sRGB with two entries of its tag table swapped."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for one, other in ((b"rXYZ", b"bXYZ"), (b"rTRC", b"bTRC")):
        profile = profile.replace(one, b"....", 1).replace(other, one, 1).replace(b"....", other, 1)
    return profile.replace("sRGB".encode("utf-16-be"), "Mine".encode("utf-16-be"))


@pytest.mark.parametrize("kind", ["png", "tiff"])
def test_sixteen_bits_per_channel_are_scaled_and_not_clipped(kind: str) -> None:
    wide = np.linspace(0, 65535, 256, dtype=np.uint16)[None].repeat(16, axis=0)
    for values in (wide, np.stack([wide, wide[:, ::-1], wide // 2], axis=2)):
        data = cv2.imencode(f".{kind}", values[..., ::-1] if values.ndim == 3 else values)[1].tobytes()
        seen = decode_picture(data, HERE)
        expected = values[..., None].repeat(3, axis=2) if values.ndim == 2 else values
        assert np.abs(seen.astype(float) - expected / 257).max() <= 1
        assert seen[0, 0, 0] == 0
        assert seen[0, -1, 0] == 255


def test_numbers_of_unknown_range_are_refused_and_not_guessed() -> None:
    grey = np.linspace(0, 1, 64, dtype=np.float32).reshape(8, 8)
    assert "mode F" in refusal(encoded(Image.fromarray(grey), "TIFF"))
    assert "mode I" in refusal(encoded(Image.fromarray((grey * 1e9).astype(np.int32)), "TIFF"))


def test_cmyk_comes_out_in_the_colours_that_went_in() -> None:
    colours = Image.new("RGB", (32, 32), (255, 255, 255))
    colours.paste((200, 30, 40), (0, 0, 16, 32))
    seen = decode_picture(encoded(colours.convert("CMYK"), "JPEG", quality=95), HERE).astype(float)
    assert np.abs(seen[16, 4] - (200, 30, 40)).max() < 12
    assert (seen[16, 28] > 248).all()


def test_every_kind_of_transparency_is_laid_on_white(pixels: np.ndarray) -> None:
    red = Image.new("RGBA", (8, 8), (255, 0, 0, 0))
    half = Image.new("LA", (8, 8), (0, 128))
    palette = Image.new("P", (8, 8), 1)
    palette.putpalette([0, 0, 0, 10, 20, 30])
    keyed = Image.new("RGB", (8, 8), (1, 2, 3))
    for data in (
        encoded(red, "PNG"),
        encoded(red, "WEBP", lossless=True),
        encoded(palette, "PNG", transparency=1),
        encoded(palette, "PNG", transparency=b"\xff\x00"),
        encoded(keyed, "PNG", transparency=(1, 2, 3)),
        encoded(Image.new("L", (8, 8), 7), "PNG", transparency=7),
    ):
        assert (decode_picture(data, HERE) == 255).all()
    assert (np.abs(decode_picture(encoded(half, "PNG"), HERE).astype(int) - 127) <= 1).all()
    opaque = Image.fromarray(pixels).convert("RGBA")
    assert np.array_equal(decode_picture(encoded(opaque, "PNG"), HERE), pixels)


@pytest.mark.parametrize("mode", ["1", "L", "P"])
def test_pictures_of_few_colours_become_rgb(pixels: np.ndarray, mode: str) -> None:
    image = Image.fromarray(pixels).convert(mode)
    seen = decode_picture(encoded(image, "PNG"), HERE)
    assert np.array_equal(seen, np.asarray(image.convert("RGB")))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_photo_is_upright_however_the_camera_was_held(pixels: np.ndarray, orientation: int) -> None:
    stored = {
        1: pixels, 2: pixels[:, ::-1], 3: pixels[::-1, ::-1], 4: pixels[::-1], 5: pixels.transpose(1, 0, 2),
        6: np.rot90(pixels), 7: pixels[::-1, ::-1].transpose(1, 0, 2), 8: np.rot90(pixels, -1),
    }[orientation]  # fmt: skip
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    image = Image.fromarray(np.ascontiguousarray(stored))
    assert np.array_equal(decode_picture(encoded(image, "PNG", exif=exif), HERE), pixels)


def test_exif_that_is_broken_or_gigantic_is_passed_over(pixels: np.ndarray) -> None:
    image = Image.fromarray(pixels)
    for exif in (
        b"Exif\0\0MM\0*\xff\xff\xff\xff",
        b"Exif\0\0II*\0\x08\0\0\0\xff\xff" + b"\xee" * 60,
        b"\0" * 9_000_000,
    ):
        assert np.array_equal(decode_picture(encoded(image, "PNG", exif=exif), HERE), pixels)
    big = Image.Exif()
    big[ORIENTATION], big[37510] = 3, b"x" * 60_000  # a maker's comment that fills the segment
    assert decode_picture(encoded(image, "JPEG", exif=big), HERE).shape == (40, 60, 3)


def test_a_colour_profile_is_applied() -> None:
    image = Image.new("RGB", (8, 8), (220, 40, 10))
    for data in (
        encoded(image, "PNG", icc_profile=blue_for_red()),
        encoded(image.convert("RGBA"), "PNG", icc_profile=blue_for_red()),
        encoded(image.quantize(4), "PNG", icc_profile=blue_for_red()),
    ):
        seen = decode_picture(data, HERE)[4, 4].astype(int)
        assert np.abs(seen - (10, 40, 220)).max() < 12


def test_srgb_s_own_profile_a_broken_one_and_one_of_another_kind_change_nothing(pixels: np.ndarray) -> None:
    own = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    for profile in (own, lab, b"no profile", blue_for_red()[:300]):
        data = encoded(Image.fromarray(pixels), "PNG", icc_profile=profile)
        assert np.array_equal(decode_picture(data, HERE), pixels)


@pytest.mark.parametrize(("width", "height"), [(20_000, 20_000), (11_000, 11_000), (2**31 - 1, 1), (1, 2**30)])
def test_a_decompression_bomb_is_known_by_its_header(width: int, height: int) -> None:
    bomb = png(width, height, data=zlib.compress(b"\0" * 10_000_000))
    assert len(bomb) < 20_000
    before = time.perf_counter()
    assert "more than 120 megapixels, not decoded; make it smaller" in refusal(bomb)
    assert time.perf_counter() - before < 0.5
    assert MOST_PIXELS < 11_000**2 < 2 * MOST_PIXELS  # between what Pillow warns of and what it refuses


def test_a_file_that_promises_more_than_it_holds_is_refused() -> None:
    assert "not a readable picture" in refusal(png(400, 400, data=zlib.compress(b"\0" * 1000)))


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "GIF", "TIFF"])
def test_an_animation_is_refused_for_nobody_knows_which_frame_is_meant(pixels: np.ndarray, kind: str) -> None:
    frames = [Image.fromarray(np.roll(pixels, shift, axis=1)) for shift in (0, 9, 18)]
    data = encoded(frames[0], kind, save_all=True, append_images=frames[1:])
    assert ("no JPEG, PNG" if kind == "GIF" else "of 3 pictures; keep one") in refusal(data)


def test_a_phone_s_photo_with_a_second_picture_behind_it_is_read(pixels: np.ndarray) -> None:
    photo, depth = Image.fromarray(pixels), Image.new("RGB", (20, 20))
    data = encoded(photo, "MPO", save_all=True, append_images=[depth], quality=95)
    assert np.abs(decode_picture(data, HERE).astype(int) - pixels).mean() < 5


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"", "the file is empty"),
        (b"just a text", "no JPEG, PNG, WebP, BMP or TIFF"),
        (b"\x89PNG\r\n\x1a\n", "not a readable picture"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "a HEIC or AVIF picture, whatever its name says; convert it"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "no JPEG, PNG, WebP, BMP or TIFF"),
        (b"%PDF-1.4\n", "no JPEG, PNG, WebP, BMP or TIFF"),
    ],
)
def test_what_is_no_picture_is_said_to_be_none(data: bytes, what: str) -> None:
    assert what in refusal(data)


def test_a_sliver_is_no_photo_but_a_panorama_is() -> None:
    assert "1x700 px is a sliver" in refusal(encoded(Image.new("RGB", (1, 700)), "PNG"))
    assert decode_picture(encoded(Image.new("RGB", (640, 20)), "PNG"), HERE).shape == (20, 640, 3)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "BMP"])
def test_a_picture_that_was_cut_off_anywhere_is_refused(pixels: np.ndarray, kind: str) -> None:
    noise = np.random.default_rng(0).integers(0, 256, pixels.shape, dtype=np.uint8)
    data = encoded(Image.fromarray(noise), kind)
    for share in (0.02, 0.3, 0.6, 0.9):
        assert "not a readable picture" in refusal(data[: int(share * len(data))])
