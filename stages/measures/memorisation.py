"""Whether pictures repeat training photos: closer to one of them than real photos of other moments ever are.

There is no absolute threshold: how close two photos of one person come depends on the shoot.  So the yardstick is the
person's own photos, each against its closest training photo of another moment (as Meehan, Chaudhuri & Dasgupta 2020,
arXiv:2004.05675, compare generated with held-out samples), and a picture is memorised when it is closer than nearly all
of them are.
"""

from dataclasses import dataclass

import imagehash
import numpy as np
from PIL import Image

LEAST_SPREAD = 1e-6


@dataclass(frozen=True)
class Views:
    """How N pictures look."""

    shows_ND: np.ndarray  # float32, CLIP's unit embeddings: what is to be seen
    hashes_N2: np.ndarray  # uint64, perceptual hashes of the picture and of its mirror image: where it is to be seen


@dataclass(frozen=True)
class Yardstick:
    """What is close among the person's real photos."""

    cosine: tuple[float, float]  # mean and spread over pairs of different moments
    bits: tuple[float, float]
    limit: float  # closeness that few real photos exceed
    photos: int  # real photos that set it


@dataclass(frozen=True)
class Closest:
    """Every picture's closest training photo."""

    photo_N: np.ndarray  # int, index of the training photo
    cosine_N: np.ndarray
    bits_N: np.ndarray
    closeness_N: np.ndarray


def hash_picture(image: np.ndarray) -> tuple[int, int]:
    """Perceptual hashes (Zauner 2010; ``imagehash.phash``) of a uint8 (H, W, 3) picture and its mirror image.

    Of the centre square, which is what a trainer and CLIP see of a photo that is not square.
    """
    height, width = image.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    square = image[top : top + side, left : left + side]
    plain, mirrored = (
        int(str(imagehash.phash(Image.fromarray(np.ascontiguousarray(view)))), 16) for view in (square, square[:, ::-1])
    )
    return plain, mirrored


def measure_alikeness(pictures: Views, photos: Views) -> tuple[np.ndarray, np.ndarray]:
    """Cosines and hash distances (0..64 bits, mirrored or not) of every picture and photo: float64 (N, M) each."""
    cosine_NM = pictures.shows_ND.astype(np.float64) @ photos.shows_ND.astype(np.float64).T
    plain_M = photos.hashes_N2[:, 0][None]
    bits_NM = np.minimum(*(np.bitwise_count(pictures.hashes_N2[:, side][:, None] ^ plain_M) for side in (0, 1)))
    return cosine_NM, bits_NM.astype(np.float64)


def make_yardstick(
    photos: Views, moment_M: np.ndarray, holdout: Views, held_moment_H: np.ndarray, closer_than: float
) -> Yardstick:
    """Learn from the person's photos what is close.

    Both the holdout photos and the training photos themselves are compared, each with the training photos of other
    moments: ten holdout photos alone could not tell what one in a hundred reaches.

    Args:
        photos: training photos, M >= 1.
        moment_M: their moments; photos of one moment are one picture for this purpose.
        holdout: photos that were not trained on, H >= 1.
        held_moment_H: their moments.
        closer_than: share of real photos, 0..1, that a memorised picture is closer than.

    Raises:
        ValueError: when there is no pair of different moments.
    """
    everyone = Views(
        np.concatenate([holdout.shows_ND, photos.shows_ND]), np.concatenate([holdout.hashes_N2, photos.hashes_N2])
    )
    cosine, bits = measure_alikeness(everyone, photos)
    apart = np.concatenate([held_moment_H, moment_M])[:, None] != np.asarray(moment_M)[None]
    if not apart.any():
        raise ValueError("all photos show one moment")
    scales = [(float(v[apart].mean()), max(float(v[apart].std()), LEAST_SPREAD)) for v in (cosine, bits)]
    found = np.where(apart, _closeness(cosine, bits, scales[0], scales[1]), -np.inf).max(axis=1)
    found = found[np.isfinite(found)]
    return Yardstick(scales[0], scales[1], float(np.quantile(found, closer_than)), len(found))


def _closeness(
    cosine: np.ndarray, bits: np.ndarray, cosine_scale: tuple[float, float], bits_scale: tuple[float, float]
) -> np.ndarray:
    """Sum of two z-scores among pairs of real photos: shows the same, and in the same place.

    CLIP alone takes a picture of the same clothes before the same background for a copy, the hash alone any head of
    that size in that place; a copy is both.
    """
    closeness: np.ndarray = (cosine - cosine_scale[0]) / cosine_scale[1] + (bits_scale[0] - bits) / bits_scale[1]
    return closeness


def find_closest(pictures: Views, photos: Views, yardstick: Yardstick) -> Closest:
    """Every picture's closest training photo, the first where several are."""
    cosine, bits = measure_alikeness(pictures, photos)
    closeness = _closeness(cosine, bits, yardstick.cosine, yardstick.bits)
    photo_N = closeness.argmax(axis=1)
    rows = np.arange(len(photo_N))
    return Closest(photo_N, cosine[rows, photo_N], bits[rows, photo_N], closeness[rows, photo_N])
