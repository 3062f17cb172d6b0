"""What cameras, resizing and diffusion models do to a picture: training augmentation of the captioner and the CLIP."""

import cv2
import numpy as np
import torch

from miniature import pictures
from miniature.shards import Shard

SIZE = 64  # px: both models look at squashed 64 x 64 pictures
MEAN = np.array([0.48145466, 0.4578275, 0.40821073], np.float32)  # CLIP's statistics, also BLIP-2's
STD = np.array([0.26862954, 0.26130258, 0.27577711], np.float32)

_BORDERS = (cv2.BORDER_REFLECT_101, cv2.BORDER_REPLICATE, cv2.BORDER_CONSTANT)
_MIRRORED = [1, 0, 2, 4, 3]  # eyes, nose, mouth corners: named by the side of the picture
_WIDEST = 1.5  # aspect ratios from 2:3 to 3:2 are squashed into the square


def _reframe(image: np.ndarray, points: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Mild crop or padding, off-centre, mirrored half the time; two fifths squashed from another aspect ratio.

    No caption names a side, so mirroring is safe.  The landmarks ``points`` (5, 2) move along.
    """
    zoom = np.exp(rng.uniform(-0.08, 0.12))
    stretch = _WIDEST ** rng.uniform(-1, 1) if rng.random() < 0.4 else 1.0
    # A stretched picture is padded along one axis and cropped along the other, more of the former: hats stay inside.
    scale_x, scale_y = zoom * stretch**0.65, zoom / stretch**0.35
    if stretch < 1:
        scale_x, scale_y = zoom * stretch**0.35, zoom / stretch**0.65
    if mirrored := rng.random() < 0.5:
        scale_x = -scale_x
    shift_x, shift_y = rng.uniform(-0.05, 0.05, 2) * SIZE
    centre = (SIZE - 1) / 2
    offset_x, offset_y = centre * (1 - scale_x) + shift_x, centre * (1 - scale_y) + shift_y
    matrix = np.array([[scale_x, 0, offset_x], [0, scale_y, offset_y]], np.float32)
    border = _BORDERS[rng.integers(len(_BORDERS))]
    colour = rng.integers(0, 256, 3).tolist()
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    moved = (points - (offset_x, offset_y)) / (scale_x, scale_y)
    if mirrored:
        moved = moved[_MIRRORED]
    return cv2.warpAffine(image, matrix, (SIZE, SIZE), flags=flags, borderMode=border, borderValue=colour), moved


def _degrade(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Lost detail, blur, misdrawn shapes, grain, JPEG and mild colour shifts, each on a fifth of the pictures."""
    if rng.random() < 0.2:
        image = pictures.recoloured(image, rng, most=0.05)  # mild: the light and the clothes must keep their names
    for damage in (pictures.wobbled, pictures.rescaled, pictures.blurred, pictures.noised, pictures.compressed):
        if rng.random() < 0.2:
            image = damage(image, rng)
    return image


def augment(image: np.ndarray, points: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """A variation of ``image`` (uint8, 64 x 64 x 3, RGB) whose caption stays true, and its landmarks (5, 2) in px."""
    image, points = _reframe(image, points, rng)
    return _degrade(image, rng), points


def normalized(images: np.ndarray) -> np.ndarray:
    """uint8 (N, 64, 64, 3) to the processors' float32 (N, 3, 64, 64)."""
    scaled = (images.astype(np.float32) / 255 - MEAN) / STD
    return np.ascontiguousarray(scaled.transpose(0, 3, 1, 2))


def share_at(progress: float) -> float:
    """Which share of the pictures to vary at this fraction of a training: none until .4, .8 from .6 on.

    A small transformer learns to find eyes and mouths several times faster on untouched renders.
    """
    return 0.8 * float(np.clip((progress - 0.4) / 0.2, 0, 1))


def augmented_batch(
    shard: Shard, rows: np.ndarray, share: float, rng: np.random.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Normalized pictures ``rows``, a ``share`` augmented, and landmarks: float32 (N, 3, 64, 64) and (N, 5, 2)."""
    pairs = [(np.asarray(shard.images[row]), np.asarray(shard.landmarks[row])) for row in rows]
    pairs = [augment(*pair, rng) if rng.random() < share else pair for pair in pairs]
    images, points = (np.stack(column) for column in zip(*pairs, strict=True))
    return torch.from_numpy(normalized(images)), torch.from_numpy(points.astype(np.float32))
