"""Read a picture from anywhere: nobody knows what it is."""

from pathlib import Path

import numpy as np

from stages.runtime.decoding import decode_picture
from stages.runtime.errors import UserError
from stages.runtime.pictures import read_bytes

LARGEST = 256 * 2**20  # bytes


def read_any(path: Path) -> tuple[bytes, np.ndarray]:
    """A picture file's bytes, and its pixels as uint8 (height, width, 3) sRGB.

    Raises:
        UserError: when it is missing, no picture, or too large to be one.
    """
    if not path.is_file():
        raise UserError(path, "no such file" if not path.exists() else "not a file", "name a picture")
    if path.stat().st_size > LARGEST:
        raise UserError(path, f"larger than {LARGEST // 2**20} MiB, not read", "name a picture")
    data = read_bytes(path)
    return data, decode_picture(data, path)
