"""Intervals of a mean whose pictures come in clusters: pictures of one prompt resemble each other."""

from collections.abc import Hashable, Sequence

import numpy as np
from scipy import stats


def cluster_interval(
    values: np.ndarray, clusters: Sequence[Hashable], *, resamples: int, seed: int, confidence: float = 0.95
) -> tuple[float, float]:
    """Percentile bootstrap interval of the mean of ``values``, resampling whole clusters.

    Cluster bootstrap: Cameron, Gelbach & Miller (2008), "Bootstrap-based improvements for inference with clustered
    errors"; percentile interval: Efron & Tibshirani (1993), ch. 13.  Resampling pictures instead would treat the
    seeds of one prompt as independent and give intervals that are too narrow.  With a single cluster there is nothing
    else to resample than its pictures; with a single picture the interval is that number.

    Args:
        values: float (N,), N >= 1.
        clusters: N labels, here prompts.
        resamples: how many bootstrap means.
        seed: of the resampling.
        confidence: coverage, 0..1.
    """
    values = np.asarray(values, dtype=np.float64)
    _, index = np.unique(np.asarray(clusters), return_inverse=True)
    if index.max(initial=0) == 0:
        index = np.arange(len(values))
    sums, counts = np.bincount(index, weights=values), np.bincount(index).astype(np.float64)
    if len(sums) < 2:
        return float(values.mean()), float(values.mean())
    found = stats.bootstrap(
        (sums, counts), _mean, paired=True, vectorized=True, n_resamples=resamples, confidence_level=confidence,
        method="percentile", rng=np.random.default_rng(seed), batch=max(1, 2_000_000 // len(sums)),
    ).confidence_interval  # fmt: skip
    low, high = sorted((float(found.low), float(found.high)))  # of equal means the quantiles differ by their rounding
    return low, high


def _mean(sums: np.ndarray, counts: np.ndarray, axis: int = -1) -> np.ndarray:
    mean: np.ndarray = sums.sum(axis=axis) / counts.sum(axis=axis)
    return mean
