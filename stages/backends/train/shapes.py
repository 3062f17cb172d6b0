"""The shape in which a photo is trained: cropped square, or in the bucket whose aspect ratio is nearest."""

from dataclasses import dataclass
from functools import cache

import numpy as np

from stages.contracts.train_settings import Buckets
from stages.runtime.pictures import resize

UPPER = 0.25  # of what is cut from a tall picture goes from above: faces are in the upper part


@cache
def bucket_sizes(resolution: int, step: int, max_aspect: float) -> tuple[tuple[int, int], ...]:
    """Every (width, height) in px, multiples of ``step``, of at most ``resolution`` squared, square first."""
    square = resolution // step * step
    sizes = [(square, square)]
    for short in range(step, square, step):
        long = resolution**2 // short // step * step
        if long / short <= max_aspect and long > square:
            sizes += [(short, long), (long, short)]
    return tuple(sizes)


def choose_size(width: int, height: int, resolution: int, buckets: Buckets) -> tuple[int, int]:
    """The (width, height) in which a photo of this size is trained: the nearest aspect ratio, on a log scale."""
    if not buckets.enabled:
        return resolution, resolution
    sizes = bucket_sizes(resolution, buckets.step, buckets.max_aspect)
    aspect = np.log(width / height)
    return min(sizes, key=lambda size: abs(float(np.log(size[0] / size[1])) - aspect))


@dataclass(frozen=True)
class Crop:
    """What is cut out of a picture, px of the picture, and the size that it is resized to."""

    left: int
    top: int
    width: int
    height: int
    size: tuple[int, int]  # width, height

    def apply(self, pixels: np.ndarray) -> np.ndarray:
        """The crop of uint8 (H, W, 3) or (H, W), resized."""
        cut = pixels[self.top : self.top + self.height, self.left : self.left + self.width]
        return resize(cut, *self.size)

    def time_ids(self, width: int, height: int) -> tuple[int, ...]:
        """SDXL's six time ids (arXiv:2307.01952, section 2.2) for a picture of ``width`` x ``height``.

        Original height and width; the crop's top and left, in pixels of the resized picture; the target's height and
        width.
        """
        scale = self.size[0] / self.width
        return height, width, round(self.top * scale), round(self.left * scale), self.size[1], self.size[0]


def choose_crop(width: int, height: int, size: tuple[int, int]) -> Crop:
    """The largest part of a ``width`` x ``height`` picture in the shape of ``size``.

    A picture that is too wide loses its sides equally; one that is too tall loses a quarter of the surplus above.
    """
    aspect = size[0] / size[1]
    cut_width, cut_height = min(width, round(height * aspect)), min(height, round(width / aspect))
    top, left = round((height - cut_height) * UPPER), (width - cut_width) // 2
    return Crop(left, top, max(1, cut_width), max(1, cut_height), size)
