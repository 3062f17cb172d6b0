"""Is the candidate better than the baseline?  Paired differences on the same prompts and seeds, never two loose means.

The pictures of one prompt resemble each other, so the prompt, not the picture, is what is drawn again: the difference
of each prompt is the mean over its seeds, and prompts are resampled whole (Cameron, Gelbach and Miller 2008,
doi:10.1162/rest.90.3.414).  Everything here is antisymmetric: exchange the versions and every sign turns, no more.
"""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from stages.contracts.comparison import Verdict

Method = Literal["studentized", "percentile", "student", "none"]

POWER = 0.80
FEW_CLUSTERS = 5  # below this a resample is too often one prompt alone
SPREADLESS = 1e-9  # a resample whose error is this small beside the sample's has no spread to studentize by


@dataclass(frozen=True)
class Difference:
    """Candidate minus baseline, in the metric's own unit."""

    baseline: float
    candidate: float
    delta: float
    interval: tuple[float, float] | None  # None where one prompt alone says nothing about others
    p_value: float  # two-sided, of no difference; not yet corrected for the number of metrics
    standard_error: float
    method: Method
    pairs: int
    clusters: int


def measure_difference(
    baseline_N: np.ndarray,
    candidate_N: np.ndarray,
    cluster_N: np.ndarray,
    *,
    confidence: float,
    resamples: int,
    seed: int,
) -> Difference:
    """The mean paired difference with a symmetric studentized bootstrap interval over clusters (Hall 1992, 3.6).

    Value i of both versions was measured on the same prompt and seed; ``cluster_N`` says which prompt.  Every cluster
    weighs the same.  Where studentizing is undefined, because a rare 0/1 event leaves too many resamples without
    spread, the percentile interval stands in; with fewer than five clusters Student's t does (``method`` says which).

    Raises:
        ValueError: when the three arrays differ in length or are empty.
    """
    if not len(baseline_N) == len(candidate_N) == len(cluster_N) > 0:
        raise ValueError(f"unpaired values: {len(baseline_N)}, {len(candidate_N)} and {len(cluster_N)}")
    _, index_N = np.unique(cluster_N, return_inverse=True)
    size_K = np.bincount(index_N)
    ends = [float(np.mean(np.bincount(index_N, weights=side) / size_K)) for side in (baseline_N, candidate_N)]
    difference_N = np.asarray(candidate_N, dtype=np.float64) - np.asarray(baseline_N, dtype=np.float64)
    difference_K = np.bincount(index_N, weights=difference_N) / size_K
    delta, error = float(difference_K.mean()), _standard_error(difference_K)
    method, interval, p_value = _infer(difference_K, delta, error, confidence, resamples, seed)
    # Resamples that are one prompt again and again have this share: no bootstrap can be surer than that.
    floor = float(len(size_K)) ** (1 - len(size_K))
    return Difference(
        baseline=ends[0], candidate=ends[1], delta=delta, interval=interval, p_value=min(1.0, max(p_value, floor)),
        standard_error=error, method=method, pairs=len(index_N), clusters=len(size_K),
    )  # fmt: skip


def _standard_error(difference_K: np.ndarray) -> float:
    if len(difference_K) < 2:
        return math.inf
    error = float(difference_K.std(ddof=1)) / math.sqrt(len(difference_K))
    return error if error > SPREADLESS * float(np.abs(difference_K).max(initial=0.0)) else 0.0


def _infer(
    difference_K: np.ndarray, delta: float, error: float, confidence: float, resamples: int, seed: int
) -> tuple[Method, tuple[float, float] | None, float]:
    clusters = len(difference_K)
    if clusters < 2:
        return "none", None, 1.0
    if error == 0.0:
        return "percentile", (delta, delta), 1.0 if delta == 0.0 else 0.0
    if clusters < FEW_CLUSTERS:
        return _student(delta, error, clusters, confidence)
    drawn_RK = difference_K[np.random.default_rng(seed).integers(clusters, size=(resamples, clusters))]
    mean_R = drawn_RK.mean(axis=1)
    error_R = drawn_RK.std(axis=1, ddof=1) / math.sqrt(clusters)
    spread_R = error_R > SPREADLESS * error
    if 1 - spread_R.mean() > (1 - confidence) / 2:
        return _percentile(mean_R, confidence)
    t_R = np.full(resamples, np.inf)
    np.divide(np.abs(mean_R - delta), error_R, out=t_R, where=spread_R)
    reach = float(np.quantile(t_R, confidence, method="higher")) * error
    p_value = (1 + int((t_R >= abs(delta) / error).sum())) / (1 + resamples)
    return "studentized", (delta - reach, delta + reach), p_value


def _student(delta: float, error: float, clusters: int, confidence: float) -> tuple[Method, tuple[float, float], float]:
    from scipy.stats import t

    reach = float(t.ppf((1 + confidence) / 2, clusters - 1)) * error
    return "student", (delta - reach, delta + reach), 2 * float(t.sf(abs(delta) / error, clusters - 1))


def _percentile(mean_R: np.ndarray, confidence: float) -> tuple[Method, tuple[float, float], float]:
    low, high = np.quantile(mean_R, [(1 - confidence) / 2, (1 + confidence) / 2])
    tail = min(int((mean_R <= 0).sum()), int((mean_R >= 0).sum()))
    return "percentile", (float(low), float(high)), 2 * (1 + tail) / (1 + len(mean_R))


def adjust_holm(p_values: np.ndarray) -> np.ndarray:
    """p-values corrected for their number by Holm's step-down (Holm 1979, Scand. J. Statist. 6, 65-70).

    The k-th smallest of m is multiplied by m-k+1, never falls below a smaller one's, and stays at most 1.  The chance
    of even one false difference among all metrics is then at most the level, however the metrics depend on each other.
    """
    p_M = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(p_M, kind="stable")
    stepped = np.maximum.accumulate(p_M[order] * np.arange(len(p_M), 0, -1))
    adjusted = np.empty_like(p_M)
    adjusted[order] = np.minimum(stepped, 1.0)
    return adjusted


def decide_verdict(difference: Difference, p_adjusted: float, *, margin: float, confidence: float) -> Verdict:
    """What the interval and the corrected p-value allow to say.

    EQUIVALENT when the whole interval lies within +-``margin``: a difference that small does not matter, even a
    certain one.  Otherwise IMPROVED or REGRESSED when the interval leaves out 0 and ``p_adjusted`` is below
    1 - confidence.  Otherwise INCONCLUSIVE: not "no difference", but too few pictures to tell.
    """
    if difference.interval is None:
        return "INCONCLUSIVE"
    low, high = difference.interval
    if -margin <= low and high <= margin:
        return "EQUIVALENT"
    if p_adjusted < 1 - confidence and low > 0:
        return "IMPROVED"
    if p_adjusted < 1 - confidence and high < 0:
        return "REGRESSED"
    return "INCONCLUSIVE"


def detectable_effect(difference: Difference, *, confidence: float) -> float | None:
    """The smallest true difference that this many pictures would show 80 times in 100, before Holm's correction.

    (z_(1-alpha/2) + z_0.80) times the clustered standard error, normal approximation (Bloom 1995,
    doi:10.1177/0193841X9501900504).  None where no spread was seen, or where one prompt alone cannot tell.
    """
    from scipy.stats import norm

    if difference.standard_error == 0.0 or math.isinf(difference.standard_error):
        return None
    return float(norm.ppf((1 + confidence) / 2) + norm.ppf(POWER)) * difference.standard_error


def more_pictures(difference: Difference, *, margin: float, confidence: float) -> int | None:
    """How many more pairs, on new prompts, would settle an open question at 80% power; None where none can be named.

    The error shrinks with the root of the number of prompts.  The question is settled when the effect seen, or the
    margin below which it would not matter, whichever is larger, has become detectable.
    """
    detectable = detectable_effect(difference, confidence=confidence)
    goal = max(abs(difference.delta), margin)
    if detectable is None or goal <= 0.0:
        return None
    per_prompt = difference.pairs / difference.clusters
    more_prompts = math.ceil(difference.clusters * ((detectable / goal) ** 2 - 1.0))
    return math.ceil(max(more_prompts, 1) * per_prompt)
