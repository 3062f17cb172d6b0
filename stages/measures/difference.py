"""How far a candidate is from a baseline: paired differences on the same prompts and seeds, never two loose means.

The pictures of one prompt resemble each other, so the prompt, not the picture, is what is drawn again: the difference
of each prompt is the mean over its seeds, and prompts are resampled whole (Cameron, Gelbach and Miller 2008,
doi:10.1162/rest.90.3.414).  Everything here is antisymmetric: exchange the versions and every sign turns, no more.
How often this errs where the truth is known: docs/measuring_truth.md.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.special import stdtr, stdtrit

Method = Literal["studentized", "pseudo-prompts", "student", "none"]

FEW_CLUSTERS = 5  # below this a resample is too often one prompt alone
SPREADLESS = 1e-6  # a resample whose error is this small beside the sample's has no spread to studentize by
TOGETHER = 1_000_000  # resampled means held in memory at once: what fits a cache is fastest


@dataclass(frozen=True)
class Difference:
    """Candidate minus baseline, in the metric's own unit."""

    baseline: float
    candidate: float
    delta: float
    interval: tuple[float, float] | None  # None where one prompt alone says nothing about others
    p_value: float  # two-sided, of no difference; not yet corrected for the number of metrics
    standard_error: float
    unsteady: float  # relative variance of the standard error itself, which is an estimate
    critical: float  # half the interval, in standard errors
    corrected: float  # the same at the confidence that Holm's correction asks of the smallest p-value
    method: Method
    pairs: int
    clusters: int
    unit: float | None = None  # 0/1 metrics: how far one changed prompt typically moves


def measure_difference(
    baseline_N: np.ndarray,
    candidate_N: np.ndarray,
    cluster_N: np.ndarray,
    *,
    confidence: float,
    resamples: int,
    seed: int,
    events: bool = False,
    family: int = 1,
) -> Difference:
    """One metric's mean paired difference: ``measure_differences`` of a single row."""
    return measure_differences(
        np.asarray(baseline_N)[None], np.asarray(candidate_N)[None], cluster_N,
        confidence=confidence, resamples=resamples, seed=seed, events=[events], family=family,
    )[0]  # fmt: skip


def measure_differences(
    baseline_MN: np.ndarray,
    candidate_MN: np.ndarray,
    cluster_N: np.ndarray,
    *,
    confidence: float,
    resamples: int,
    seed: int,
    events: Sequence[bool],
    family: int,
) -> list[Difference]:
    """Every metric's mean paired difference with its interval, a row each, on the same resampled prompts.

    Value i of both versions was measured on the same prompt and seed; ``cluster_N`` says which prompt.  Every prompt
    weighs the same.  The interval is the symmetric studentized bootstrap's (Hall 1992, 3.6).  For 0/1 metrics
    (``events``), and where a rare event leaves too many resamples without spread, Student's t on the prompts and two
    pseudo-prompts stands in, one in favour of either version: the clustered form of Bonett and Price 2012
    (doi:10.3102/1076998611411915).  So no version is sure of an event that few pictures could have shown.  With fewer
    than five prompts it is Student's t alone (``method`` says which).

    Args:
        baseline_MN: metrics by pictures.
        candidate_MN: the same of the candidate.
        cluster_N: the prompt of each picture.
        confidence: of the intervals, 0..1.
        resamples: bootstrap resamples.
        seed: of the resampling.
        events: which metrics are 0 or 1.
        family: how many metrics Holm's correction will count.

    Raises:
        ValueError: when the arrays differ in shape or are empty.
    """
    if baseline_MN.shape != candidate_MN.shape or not baseline_MN.shape[-1] == len(cluster_N) > 0:
        raise ValueError(f"unpaired values: {baseline_MN.shape}, {candidate_MN.shape} and {len(cluster_N)}")
    _, index_N = np.unique(cluster_N, return_inverse=True)
    sides = [cluster_means(side, index_N) for side in (baseline_MN, candidate_MN)]
    difference_MK = cluster_means(np.asarray(candidate_MN, float) - np.asarray(baseline_MN, float), index_N)
    per_prompt = len(index_N) / difference_MK.shape[1]
    found = infer(
        difference_MK, 1 / per_prompt, confidence=confidence, resamples=resamples, seed=seed, events=events,
        family=family,
    )  # fmt: skip
    return [
        _difference(sides[0][row], sides[1][row], difference_MK[row], inferred, len(index_N))
        for row, inferred in enumerate(found)
    ]


def cluster_means(values_MN: np.ndarray, index_N: np.ndarray) -> np.ndarray:
    """The mean of each cluster: float64 (M, K); ``index_N`` numbers the clusters from 0."""
    size_K = np.bincount(index_N)
    member_NK = np.zeros((len(index_N), len(size_K)))
    member_NK[np.arange(len(index_N)), index_N] = 1.0 / size_K[index_N]
    means_MK: np.ndarray = np.asarray(values_MN, dtype=np.float64) @ member_NK
    return means_MK


@dataclass(frozen=True)
class Inferred:
    """What the differences of the prompts say about other prompts: ``center`` +- ``critical`` * ``error``."""

    method: Method
    center: float
    error: float
    critical: float
    corrected: float
    p_value: float
    unit: float | None = None


def infer(
    difference_MK: np.ndarray, smallest: float, *, confidence: float, resamples: int, seed: int,
    events: Sequence[bool], family: int,
) -> list[Inferred]:  # fmt: skip
    """Interval and p-value of each row's mean; ``smallest`` is what one picture moves a 0/1 metric of its prompt."""
    clusters = difference_MK.shape[1]
    levels = np.array([confidence, 1 - (1 - confidence) / family])
    if clusters < 2:
        return [Inferred("none", float(row[0]), math.inf, math.inf, math.inf, 1.0) for row in difference_MK]
    error_M = standard_errors(difference_MK)
    found = [
        _pseudo_prompts(row, smallest, levels) if event else _student(float(row.mean()), float(error), clusters, levels)
        for row, error, event in zip(difference_MK, error_M, events, strict=True)
    ]
    if clusters < FEW_CLUSTERS:
        return found
    open_rows = np.flatnonzero((error_M > 0) & ~np.asarray(events, dtype=bool))
    critical_ML, p_M = _studentize(difference_MK[open_rows], error_M[open_rows], levels, resamples, seed)
    for row, critical_L, p_value in zip(open_rows.tolist(), critical_ML, p_M.tolist(), strict=True):
        if np.isinf(critical_L[0]):  # too many resamples have no spread
            found[row] = _pseudo_prompts(difference_MK[row], smallest, levels)
        else:
            critical, corrected = critical_L.tolist()
            found[row] = Inferred(
                "studentized", found[row].center, float(error_M[row]), critical, corrected, p_value
            )  # fmt: skip
    return found


def standard_errors(difference_MK: np.ndarray) -> np.ndarray:
    """The standard error of each row's mean; exactly 0 where the row has no spread but for rounding."""
    error_M: np.ndarray = difference_MK.std(axis=1, ddof=1) / math.sqrt(difference_MK.shape[1])
    return np.where(error_M > 1e-9 * np.abs(difference_MK).max(axis=1, initial=0.0), error_M, 0.0)


def _studentize(
    difference_MK: np.ndarray, error_M: np.ndarray, levels: np.ndarray, resamples: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Quantiles of |t| at ``levels`` over resampled prompts, (M, L), infinite where undefined; and p-values (M,)."""
    rows, clusters = difference_MK.shape
    draw = np.random.default_rng(seed).multinomial(clusters, np.full(clusters, 1 / clusters), size=resamples)
    share_KR = draw.T / clusters
    critical_ML, p_M = np.empty((rows, len(levels))), np.empty(rows)
    step = max(1, TOGETHER // resamples)
    for start in range(0, rows, step):
        some = slice(start, start + step)
        delta_M1 = difference_MK[some].mean(axis=1, keepdims=True)
        centred_MK = difference_MK[some] - delta_M1
        mean_MR = centred_MK @ share_KR
        error_MR = np.sqrt(np.maximum(centred_MK**2 @ share_KR - mean_MR**2, 0.0) / (clusters - 1))
        t_MR = np.full(mean_MR.shape, np.inf)
        np.divide(np.abs(mean_MR), error_MR, out=t_MR, where=error_MR > SPREADLESS * error_M[some, None])
        critical_ML[some] = np.quantile(t_MR, levels, axis=1, method="higher").T
        beyond_M = (t_MR >= np.abs(delta_M1) / error_M[some, None]).sum(axis=1)
        p_M[some] = (1 + beyond_M) / (1 + resamples)
    return critical_ML, p_M


def _student(center: float, error: float, clusters: int, levels: np.ndarray) -> Inferred:
    """Student's t; a sample without spread is taken at its word."""
    critical, corrected = (float(stdtrit(clusters - 1, (1 + level) / 2)) for level in levels)
    if error == 0.0:
        return Inferred("student", center, 0.0, critical, corrected, 1.0 if center == 0.0 else 0.0)
    p_value = 2 * float(stdtr(clusters - 1, -abs(center) / error))
    return Inferred("student", center, error, critical, corrected, p_value)


def _pseudo_prompts(difference_K: np.ndarray, smallest: float, levels: np.ndarray) -> Inferred:
    """Student's t with one more prompt for either version, as large as the differences that were seen."""
    seen = difference_K[difference_K != 0.0]
    unit = float(np.sqrt(np.mean(seen**2))) if len(seen) else smallest
    # Of what was not seen nobody knows whether the pictures of a prompt share it: halfway between none and all of them.
    typical = unit if len(seen) else (1 + smallest) / 2
    with_both = np.append(difference_K, [unit, -unit])
    error = float(standard_errors(with_both[None])[0])
    student = _student(float(with_both.mean()), error, len(with_both), levels)
    return Inferred(
        "pseudo-prompts", student.center, error, student.critical, student.corrected, student.p_value, typical
    )  # fmt: skip


def _unsteadiness(difference_K: np.ndarray) -> float:
    """Relative variance of the standard error, by the delta method from the variance of the variance.

    (G2 + 2 K / (K - 1)) / 4K with the sample's excess kurtosis G2 (Joanes and Gill 1998, doi:10.1111/1467-9884.00122),
    at least the normal distribution's 1 / 2(K - 1).
    """
    clusters = len(difference_K)
    normal = 1 / (2 * max(clusters - 1, 1))
    centred_K = difference_K - difference_K.mean()
    m2 = float(np.mean(centred_K**2))
    if clusters < FEW_CLUSTERS or m2**2 == 0.0:
        return normal
    biased = float(np.mean(centred_K**4)) / m2**2 - 3
    kurtosis = (clusters - 1) / ((clusters - 2) * (clusters - 3)) * ((clusters + 1) * biased + 6)
    return max(normal, normal + kurtosis / (4 * clusters))


def _difference(
    baseline_K: np.ndarray, candidate_K: np.ndarray, difference_K: np.ndarray, it: Inferred, pairs: int
) -> Difference:
    clusters = len(difference_K)
    reach = it.critical * it.error if it.error else 0.0
    # Resamples that are one prompt again and again have this share: no bootstrap can be surer than that.
    floor = float(clusters) ** (1 - clusters)
    return Difference(
        baseline=float(baseline_K.mean()), candidate=float(candidate_K.mean()), delta=float(difference_K.mean()),
        interval=None if it.method == "none" else (it.center - reach, it.center + reach),
        p_value=min(1.0, max(it.p_value, floor)), standard_error=it.error, unsteady=_unsteadiness(difference_K),
        critical=it.critical, corrected=it.corrected, method=it.method, pairs=pairs, clusters=clusters, unit=it.unit,
    )  # fmt: skip
