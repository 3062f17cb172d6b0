"""What happens to a published picture on its way through the web."""

import io

import numpy as np
from PIL import Image


def copy_badly(
    pixels_HWC: np.ndarray, generator: np.random.Generator, *, quality: int = 60, size: float = 0.5,
    kept: float = 0.95, mirrored: bool = False, gain: float = 1.0, offset: float = 0.0,
) -> np.ndarray:  # fmt: skip
    """A JPEG of ``kept`` of each side, cut out anywhere, ``gain`` times brighter and ``size`` as large: uint8 RGB."""
    height, width = pixels_HWC.shape[:2]
    tall, wide = round(height * kept), round(width * kept)
    top, left = generator.integers(0, height - tall + 1), generator.integers(0, width - wide + 1)
    cut = pixels_HWC[top : top + tall, left : left + wide]
    seen = np.clip((cut[:, ::-1] if mirrored else cut) * gain + offset, 0, 255).astype(np.uint8)
    scaled = (max(1, round(wide * size)), max(1, round(tall * size)))
    stream = io.BytesIO()
    Image.fromarray(seen).resize(scaled, Image.Resampling.LANCZOS).save(stream, "JPEG", quality=quality)
    return np.asarray(Image.open(stream).convert("RGB"))
