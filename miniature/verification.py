"""How well embeddings tell people apart: the figures of face verification."""

import numpy as np


def pair_similarities(embeddings: np.ndarray, people: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Cosines of all pairs of one person (G,) and of all pairs of two people (I,).

    ``embeddings`` (N, D) of unit length, ``people`` (N,); pairs in the order of numpy's upper triangle.
    """
    first, second = np.triu_indices(len(people), 1)
    cosines = (embeddings @ embeddings.T)[first, second]
    same = people[first] == people[second]
    return cosines[same], cosines[~same]


def area_under_curve(genuine: np.ndarray, impostor: np.ndarray) -> float:
    """Probability that a genuine pair scores above an impostor pair (ties count half)."""
    ordered = np.sort(impostor)
    below = np.searchsorted(ordered, genuine, "left") + np.searchsorted(ordered, genuine, "right")
    return float(below.mean() / 2 / len(ordered))


def equal_error(genuine: np.ndarray, impostor: np.ndarray) -> tuple[float, float]:
    """Equal error rate and the threshold at which as many genuine pairs are refused as impostor pairs accepted."""
    thresholds = np.linspace(-1, 1, 4001)
    refused = np.searchsorted(np.sort(genuine), thresholds, "left") / len(genuine)
    accepted = 1 - np.searchsorted(np.sort(impostor), thresholds, "left") / len(impostor)
    best = int(np.argmin(np.abs(refused - accepted)))
    return float((refused[best] + accepted[best]) / 2), float(thresholds[best])


def verification(genuine: np.ndarray, impostor: np.ndarray, threshold: float) -> dict[str, float]:
    """AUC, EER and its threshold, TAR at FAR 1e-3, TAR and FAR at ``threshold``, means and standard deviations."""
    rate, balance = equal_error(genuine, impostor)
    strict = float(np.quantile(impostor, 0.999))
    return {
        "auc": area_under_curve(genuine, impostor),
        "eer": rate,
        "eer_threshold": balance,
        "tar_at_far_1e3": float((genuine > strict).mean()),
        "threshold_at_far_1e3": strict,
        "tar_at_threshold": float((genuine >= threshold).mean()),
        "far_at_threshold": float((impostor >= threshold).mean()),
        "genuine_mean": float(genuine.mean()),
        "genuine_sd": float(genuine.std()),
        "impostor_mean": float(impostor.mean()),
        "impostor_sd": float(impostor.std()),
    }
