"""Picture files: read as they are seen, written so that the same pixels are the same bytes."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from stages.runtime.errors import UserError
from stages.runtime.files import replacing

MASK = ".mask.png"  # photo.jpg's mask is photo.jpg.mask.png
SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff"})
Image.MAX_IMAGE_PIXELS = 120_000_000


def list_pictures(folder: Path, *, recursive: bool = True) -> list[Path]:
    """The picture files under ``folder`` (or just in it), sorted by their relative path.

    Raises:
        UserError: when there is no such folder or no picture in it.
    """
    if not folder.is_dir():
        raise UserError(folder, "no such folder", "put the photos there, or set dataset.photos")
    files = folder.rglob("*") if recursive else folder.glob("*")
    found = (p for p in files if p.suffix.lower() in SUFFIXES and p.is_file() and not _is_aside(p))
    paths = sorted(found, key=lambda p: p.relative_to(folder).as_posix())
    if not paths:
        raise UserError(folder, "holds no pictures", f"known types: {' '.join(sorted(SUFFIXES))}")
    return paths


def _is_aside(path: Path) -> bool:
    """Whether a file that lies among photos is none: hidden, or a photo's mask."""
    return path.name.startswith(".") or path.name.endswith(MASK)


def mask_path(photo: Path) -> Path:
    """Where the mask of a photo lies: beside it; a mask is no photo."""
    return photo.with_name(f"{photo.name}{MASK}")


def read_picture(path: Path) -> np.ndarray:
    """A picture as uint8 (height, width, 3) RGB, EXIF orientation applied, transparency laid on white.

    Raises:
        UserError: when the file is not a picture that can be read whole.
    """
    try:
        with Image.open(path) as file:
            image: Image.Image = ImageOps.exif_transpose(file)
            if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
                image = image.convert("RGBA")
                white = Image.new("RGBA", image.size, (255, 255, 255, 255))
                image = Image.alpha_composite(white, image)
            return np.asarray(image.convert("RGB"))
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise UserError(path, f"not a readable picture ({error})", "replace or remove it") from None


def write_png(path: Path, pixels_HWC: np.ndarray, text: dict[str, str] | None = None) -> None:
    """Write uint8 (height, width, 3) RGB as PNG, atomically; ``text`` becomes tEXt entries in sorted order."""
    from PIL.PngImagePlugin import PngInfo

    info = PngInfo()
    for key, value in sorted((text or {}).items()):
        info.add_itxt(key, value)
    with replacing(path) as beside:
        Image.fromarray(pixels_HWC).save(beside, format="PNG", pnginfo=info)


def resize(pixels_HWC: np.ndarray, width: int, height: int) -> np.ndarray:
    """Resize uint8 RGB with Lanczos (antialiased when shrinking)."""
    return np.asarray(Image.fromarray(pixels_HWC).resize((width, height), Image.Resampling.LANCZOS))


def read_pictures(paths: Iterable[Path]) -> list[np.ndarray]:
    """Read several pictures, in order."""
    return [read_picture(path) for path in paths]
