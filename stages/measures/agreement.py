"""Whether two judges of different families say the same of the same pictures."""

import numpy as np
from scipy import stats


def rank_correlation(
    first_N: np.ndarray, second_N: np.ndarray, cluster_N: np.ndarray, *, resamples: int, seed: int,
    confidence: float = 0.95,
) -> tuple[float, tuple[float, float]] | None:  # fmt: skip
    """Spearman's rank correlation (1904) of two judges' scores, with a percentile bootstrap interval over clusters.

    Ranks, because two embeddings' cosines are on different scales that saturate differently.

    Args:
        first_N: one judge's scores of N pictures.
        second_N: the other's.
        cluster_N: what is resampled whole, here prompts.
        resamples: of the bootstrap.
        seed: of the resampling.
        confidence: coverage, 0..1.

    Returns:
        The correlation, -1..1, and its interval; None where it is not defined: fewer than three pictures or two
        clusters, or a judge who says the same of all.
    """
    clusters, index_N = np.unique(cluster_N, return_inverse=True)
    if len(first_N) < 3 or len(clusters) < 2:
        return None
    observed = _spearman(first_N, second_N)
    if observed is None:
        return None
    members = [np.flatnonzero(index_N == number) for number in range(len(clusters))]

    def statistic(drawn: np.ndarray) -> float:
        rows = np.concatenate([members[number] for number in drawn])
        found = _spearman(first_N[rows], second_N[rows])
        return observed if found is None else found

    interval = stats.bootstrap(
        (np.arange(len(clusters)),), statistic, vectorized=False, n_resamples=resamples, confidence_level=confidence,
        method="percentile", rng=np.random.default_rng(seed),
    ).confidence_interval  # fmt: skip
    return observed, (float(interval.low), float(interval.high))


def _spearman(a: np.ndarray, b: np.ndarray) -> float | None:
    ranks = stats.rankdata(np.stack([a, b]), axis=1)
    ranks -= ranks.mean(axis=1, keepdims=True)
    length = np.sqrt((ranks**2).sum(axis=1).prod())
    return None if length == 0 else float(np.clip((ranks[0] * ranks[1]).sum() / length, -1, 1))


def judges_disagree(difference: float, interval: tuple[float, float], apart: float) -> bool:
    """Whether two likenesses differ by more than ``apart`` ruler points, and not by chance.

    Args:
        difference: of the two means.
        interval: of that difference.
        apart: positive.
    """
    low, high = interval
    return abs(difference) > apart and not low <= 0.0 <= high
