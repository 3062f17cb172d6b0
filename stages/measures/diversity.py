"""How much pictures differ from each other: likeness can be bought by drawing one picture again and again."""

from collections.abc import Sequence

import numpy as np


def cosine_distances(vectors_ND: np.ndarray) -> np.ndarray:
    """1 - cosine of every pair of unit vectors: float64 (N, N), 0 (the same) .. 2.

    On CLIP's image embeddings it is how far two pictures show different things (Hessel et al., arXiv:2104.08718, use
    the same cosine between picture and text; DreamBooth's DIV, arXiv:2208.12242, the same mean of pairs with LPIPS).
    """
    vectors = vectors_ND.astype(np.float64)
    return np.clip(1.0 - vectors @ vectors.T, 0.0, 2.0)


def shape_distances(landmarks: Sequence[np.ndarray | None]) -> np.ndarray:
    """Full Procrustes distance of five landmarks, pair by pair: float64 (N, N), 0 (one shape) .. 1.

    Kendall (1984), "Shape manifolds, Procrustean metrics, and complex projective spaces": centred and scaled to length
    1 as complex vectors z and w, d = sqrt(1 - |<z, w>|^2), which no shift, turn or scale of the face changes.  Mirror
    images stay different.  Of one person it is pose and expression: the nose leaves the middle, the mouth widens.

    Args:
        landmarks: (5, 2) px each; None where no face was found, whose distances are NaN.
    """
    shapes = np.full((len(landmarks), 5), np.nan, dtype=np.complex128)
    for row, points in enumerate(landmarks):
        if points is not None:
            z = points[:, 0].astype(np.float64) + 1j * points[:, 1].astype(np.float64)
            z -= z.mean()
            shapes[row] = z / max(float(np.linalg.norm(z)), 1e-12)
    alike = np.abs(shapes @ shapes.conj().T)
    distance: np.ndarray = np.sqrt(np.clip(1.0 - alike**2, 0.0, 1.0))
    return distance


def mean_to_others(distance_NN: np.ndarray, group_N: Sequence[object]) -> np.ndarray:
    """Mean distance of every item to the others of its group: float64 (N,), NaN where there is none to compare with."""
    labels = np.unique([str(group) for group in group_N], return_inverse=True)[1]
    pairs = (labels[:, None] == labels[None, :]) & ~np.eye(len(labels), dtype=bool) & np.isfinite(distance_NN)
    count_N = pairs.sum(axis=1)
    total_N = np.where(pairs, distance_NN, 0.0).sum(axis=1)
    mean: np.ndarray = np.where(count_N > 0, total_N / np.maximum(count_N, 1), np.nan)
    return mean


def mean_of_pairs(distance_NN: np.ndarray, group_N: Sequence[object] | None = None) -> float | None:
    """Mean distance of all pairs, or of the pairs of different groups; None where there is no such pair."""
    pairs = np.triu(np.isfinite(distance_NN), 1)
    if group_N is not None:
        labels = np.unique([str(group) for group in group_N], return_inverse=True)[1]
        pairs &= labels[:, None] != labels[None, :]
    return float(distance_NN[pairs].mean()) if pairs.any() else None
