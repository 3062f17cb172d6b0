"""How sharp a photo is where it matters."""

import cv2
import numpy as np


def sharpness(pixels_HWC: np.ndarray, side: int, box: np.ndarray | None = None) -> float:
    """Variance of the Laplacian (Pech-Pacheco et al. 2000, Diatom autofocusing in brightfield microscopy, ICPR 15).

    The photo is shrunk first, so that its shorter side is ``side`` px (the training resolution): blur that is gone
    then does no harm, and photos of different cameras become comparable.  A photo that is smaller stays as it is.

    Args:
        pixels_HWC: uint8 (height, width, 3) RGB.
        side: px.
        box: float (4,) x0 y0 x1 y1 px of what should be sharp, a face; the whole photo where there is none.

    Returns:
        Squared grey levels, 0 (flat) to about 10**5.  It grows with contrast and detail as well, so compare it with
        other photos of the same person, not with a fixed number.
    """
    height, width = pixels_HWC.shape[:2]
    scale = min(1.0, side / min(height, width))
    if scale < 1:
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        pixels_HWC = cv2.resize(pixels_HWC, size, interpolation=cv2.INTER_AREA)
    edges_HW = cv2.Laplacian(cv2.cvtColor(pixels_HWC, cv2.COLOR_RGB2GRAY), cv2.CV_64F)
    if box is not None:
        left, top = (max(0, int(value * scale)) for value in box[:2])
        right, bottom = (int(np.ceil(value * scale)) for value in box[2:])
        inside = edges_HW[top:bottom, left:right]
        edges_HW = inside if inside.size else edges_HW
    return float(edges_HW.var())
