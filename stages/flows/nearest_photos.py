"""How close drawn pictures come to the photos that were trained on: what a LoRA copies, it no longer draws."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from pathlib import Path

import numpy as np

from stages.contracts.generation import TextImageJudge
from stages.contracts.manifest import Manifest
from stages.contracts.settings import Dataset
from stages.flows.scoring import read_photos
from stages.flows.sights import TOGETHER
from stages.runtime.pictures import read_picture


def nearest_similarity(pictures: Iterable[np.ndarray], photos_MD: np.ndarray, judge: TextImageJudge) -> np.ndarray:
    """Cosine of every picture, uint8 (H, W, 3) RGB, and the photo that shows most nearly the same: float64 (N,).

    Args:
        photos_MD: unit embeddings of M >= 1 photos by the same judge.
    """
    shown_ND = embed_all(pictures, judge).astype(np.float64)
    nearest_N: np.ndarray = (shown_ND @ photos_MD.astype(np.float64).T).max(axis=1)
    return nearest_N


def embed_all(pictures: Iterable[np.ndarray], judge: TextImageJudge) -> np.ndarray:
    """Unit embeddings float32 (N, D) of N >= 1 pictures, uint8 (H, W, 3) RGB, of which few are in memory at once."""
    pictures = iter(pictures)
    return np.concatenate([judge.embed_images(group) for group in iter(lambda: list(islice(pictures, TOGETHER)), [])])


def measure_nearest(
    places: Mapping[int, Sequence[Path]], dataset: Dataset, manifest: Manifest, resolution: int, judge: TextImageJudge
) -> dict[int, float]:
    """Mean similarity of pictures and their nearest training photo, for each group of picture files.

    Args:
        places: the files of each group.
        resolution: photos are shrunk to it, so that they are as detailed as what was drawn.
    """
    photos_MD = embed_all(read_photos(dataset.photos, manifest.side("train"), resolution), judge)
    return {
        group: float(nearest_similarity((read_picture(path) for path in paths), photos_MD, judge).mean())
        for group, paths in places.items()
    }
