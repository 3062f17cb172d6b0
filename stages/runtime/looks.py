"""How a photo looks, in 64 bits: perceptual hashes that a re-encoding hardly changes."""

from pathlib import Path

import numpy as np
from PIL import Image

from stages.runtime.decoding import decode_small

LEAST = 128  # px that a side keeps before imagehash shrinks it to 32: JPEGs below 256 px are hashed whole
JPEG = b"\xff\xd8"


def hash_look(data: bytes, path: Path, pixels_HWC: np.ndarray | None = None) -> tuple[str, int, int]:
    """The perceptual hash of a picture file's bytes (Zauner 2010; ``imagehash.phash``), and its width and height in px.

    Of a large JPEG the decoder makes a half, a quarter or an eighth, which takes a third of the time and changes no
    more than 2 of the 64 bits; every other picture has the very hash that imagehash gives the whole.

    Args:
        data: the file's bytes.
        path: what an error names.
        pixels_HWC: its pixels where they are known, uint8 (H, W, 3).

    Returns:
        (16 hexadecimal digits, width, height).

    Raises:
        UserError: when it is not a picture that can be read whole.
    """
    import imagehash

    if pixels_HWC is None or data.startswith(JPEG):
        image, (width, height) = decode_small(data, path, LEAST)
    else:
        image, (height, width) = Image.fromarray(pixels_HWC), pixels_HWC.shape[:2]
    return str(imagehash.phash(image)), width, height
