"""What finds a picture again when a copy has lost its credentials: a thumbnail of 32 by 32 pixels."""

import base64

import cv2
import numpy as np

SIDE = 32  # px


def take_fingerprint(pixels_HWC: np.ndarray) -> np.ndarray:
    """The means of a uint8 RGB picture's cells: uint8 (32, 32, 3), whatever its shape was."""
    cells: np.ndarray = cv2.resize(pixels_HWC, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    return cells


def write_fingerprint(fingerprint_SSC: np.ndarray) -> str:
    """In base64."""
    return base64.b64encode(fingerprint_SSC.tobytes()).decode()


def read_fingerprint(text: str) -> np.ndarray:
    """What ``write_fingerprint`` wrote: uint8 (32, 32, 3).  Rows of the index are checked when they are read."""
    return np.frombuffer(base64.b64decode(text), np.uint8).reshape(SIDE, SIDE, 3)
