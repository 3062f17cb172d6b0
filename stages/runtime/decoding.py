"""The bytes of a picture file become the pixels that a person sees."""

import io
from contextlib import suppress
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, ImageCms, ImageOps

from stages.runtime.errors import UserError

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF")  # Pillow would try PDF, EPS (by Ghostscript) and forty others too
HEIF_BRANDS = (b"heic", b"heix", b"hevc", b"heim", b"heis", b"mif1", b"msf1", b"avif")
MOST_PIXELS = 120_000_000  # 360 MB of memory for each picture that is being read
SLIVER = 32  # longer over shorter side: shrunk to a detector's input, nothing is left of the shorter one
ON_ITS_SIDE = (5, 6, 7, 8)  # EXIF orientations
CONVERT = "convert it to JPEG or PNG, or take it out"
REPLACE = "replace or remove it"
Box = tuple[float, float, float, float]
Image.MAX_IMAGE_PIXELS = MOST_PIXELS


def decode_picture(data: bytes, path: Path) -> np.ndarray:
    """The pixels of a picture file's bytes; see ``read_picture``.  ``path`` is what an error names.

    16 bits per channel become 8 by scaling. Of a phone's MPO (a JPEG with a depth map behind it) the photo is read;
    an animation is refused, for which of its frames is meant nobody knows. Embedded colour profiles are applied.
    """
    return np.asarray(_decode(data, path, None)[0])


def decode_small(data: bytes, path: Path, least: int) -> tuple[Image.Image, tuple[int, int]]:
    """What is light and dark in the picture of ``decode_picture``, and the width and height that it has whole.

    A JPEG's decoder can give a half, a quarter or an eighth of the picture (each pixel the mean of 4, 16 or 64) for
    less time than the whole; it reads the file to its end all the same.  No side gets shorter than ``least`` px; other
    formats come whole.

    Returns:
        (a picture of mode RGB whose colours may be missing, (width, height)).
    """
    return _decode(data, path, least)


def _decode(data: bytes, path: Path, least: int | None) -> tuple[Image.Image, tuple[int, int]]:
    if not data:
        raise UserError(path, "not a readable picture (the file is empty)", REPLACE)
    if data[4:8] == b"ftyp" and data[8:12] in HEIF_BRANDS:
        raise UserError(path, "a HEIC or AVIF picture, whatever its name says", CONVERT)
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as file:
            if file.width * file.height > MOST_PIXELS:  # known from the header: nothing is decoded
                raise Image.DecompressionBombError
            frames = 1 if file.format == "MPO" else getattr(file, "n_frames", 1)
            if frames == 1:
                whole = file.size
                box = None if least is None else _draft(file, least)
                file.load()
                image, on_its_side = _upright(_fill(file, box))
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        what = f"more than {MOST_PIXELS // 1_000_000} megapixels, not decoded"
        raise UserError(path, what, "make it smaller, or remove it") from None
    except Image.UnidentifiedImageError:
        raise UserError(path, "not a readable picture (no JPEG, PNG, WebP, BMP or TIFF)", REPLACE) from None
    except Exception as error:  # on hostile bytes a decoder fails in whatever way it likes
        raise UserError(path, f"not a readable picture ({error})", REPLACE) from None
    if frames != 1:
        raise UserError(path, f"an animation or a stack of {frames} pictures", "keep one of them as JPEG or PNG")
    if max(image.size) > SLIVER * min(image.size):
        raise UserError(path, f"{image.width}x{image.height} px is a sliver, not a photo", REPLACE)
    return _as_rgb(image, path), (whole[1], whole[0]) if on_its_side else whole


def _draft(file: Image.Image, least: int) -> Box | None:
    """Let a JPEG's decoder shrink, and leave colour out where no profile asks for it; other formats know no draft.

    Returns:
        where the picture lies in what will be decoded, px: the last row and column may be parts.
    """
    grey = file.mode == "RGB" and not file.info.get("icc_profile")
    drafted = file.draft("L" if grey else None, (least, least))
    return None if drafted is None else drafted[1]


def _fill(image: Image.Image, box: Box | None) -> Image.Image:
    """The picture in ``box``, stretched to the whole where it is not the whole: else it would be shown too small."""
    if box is None or box[2:] == image.size:
        return image
    return image.resize(image.size, Image.Resampling.LANCZOS, box)


def _upright(image: Image.Image) -> tuple[Image.Image, bool]:
    """The picture as its EXIF says that it was seen, and whether its sides changed places."""
    on_its_side = False
    with suppress(Exception):  # EXIF that cannot be parsed says nothing; viewers pass over it too
        on_its_side = image.getexif().get(ExifTags.Base.Orientation) in ON_ITS_SIDE
        ImageOps.exif_transpose(image, in_place=True)
    return image, on_its_side


def _as_rgb(image: Image.Image, path: Path) -> Image.Image:
    """Any mode of picture as sRGB on white."""
    if image.mode.startswith("I;16"):  # Pillow's own conversion clips: everything but the darkest 0.4% turns white
        grey = np.rint(np.asarray(image, dtype=np.float64) / 257).astype(np.uint8)
        return Image.fromarray(grey).convert("RGB")
    if image.mode in ("I", "F", "LAB", "HSV"):
        raise UserError(path, f"a picture of mode {image.mode}, not of 8 or 16 bits per channel", CONVERT)
    if image.mode in ("RGBA", "RGBa", "LA", "La", "PA") or "transparency" in image.info:
        image = _to_srgb(image.convert("RGBA"), "RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, (255, 255, 255, 255)), image)
    elif image.mode == "P":
        image = image.convert("RGB")
    image = _to_srgb(image, "RGB")
    return image if image.mode == "RGB" else image.convert("RGB")


def _to_srgb(image: Image.Image, mode: str) -> Image.Image:
    """The picture in sRGB by its embedded profile; as it is where it has none, sRGB's own or a broken one."""
    profile = image.info.get("icc_profile")
    if not profile:
        return image
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if "sRGB" in ImageCms.getProfileDescription(source):
            return image
        converted = ImageCms.profileToProfile(image, source, ImageCms.createProfile("sRGB"), outputMode=mode)
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):  # of another kind than the picture, or damaged
        return image
    assert converted is not None  # only an in-place conversion returns None
    converted.info.pop("icc_profile", None)  # applied
    return converted
