"""How far two pictures are apart."""

import numpy as np


def difference(a: np.ndarray, b: np.ndarray) -> list[float]:
    """Mean and maximum difference of two pictures, levels of 255."""
    apart = np.abs(a.astype(int) - b)
    return [round(float(apart.mean()), 4), float(apart.max())]
