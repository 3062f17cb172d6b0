"""Is the candidate better than the baseline?  What a difference (``measures.difference``) allows to say."""

import math

import numpy as np
from scipy.special import stdtrit

from stages.contracts.comparison import Verdict
from stages.measures.difference import Difference

POWER = 0.80


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


def decide_verdict(
    interval: tuple[float, float] | None, p_adjusted: float, *, margin: float, confidence: float
) -> Verdict:
    """What the interval of a difference and its corrected p-value allow to say.

    EQUIVALENT when the whole interval lies within +-``margin``: a difference that small does not matter, even a
    certain one.  Otherwise IMPROVED or REGRESSED when the interval leaves out 0 and ``p_adjusted`` is below
    1 - confidence.  Otherwise INCONCLUSIVE: not "no difference", but too few pictures to tell.
    """
    if interval is None:
        return "INCONCLUSIVE"
    low, high = interval
    if -margin <= low and high <= margin:
        return "EQUIVALENT"
    if p_adjusted < 1 - confidence and low > 0:
        return "IMPROVED"
    if p_adjusted < 1 - confidence and high < 0:
        return "REGRESSED"
    return "INCONCLUSIVE"


def detectable_effect(difference: Difference, *, margin: float = 0.0) -> float | None:
    """The smallest true difference that this many pictures would call IMPROVED or REGRESSED 80 times in 100.

    Holm's correction is paid for as by the smallest of all p-values: other metrics that differ too only make it
    cheaper.  The difference seen must be beyond ``corrected`` standard errors of 0, and its interval must reach beyond
    ``margin`` (else the verdict is EQUIVALENT); 80 times in 100 it is, when the true difference lies further by the
    0.80 quantile (Bloom 1995, doi:10.1177/0193841X9501900504) of a mean whose standard error is itself an estimate,
    here and in the comparison to come.  None where no spread was seen, or where one prompt alone cannot tell.
    """
    error = difference.standard_error
    if error == 0.0 or not math.isfinite(error * difference.corrected):
        return None
    steps, margin_reached = _steps(difference), margin - difference.critical * error
    likely = (steps - difference.corrected) * error
    if difference.unit is None:
        return max(steps * error, margin_reached + likely)
    # Of K + 2 prompts the two pseudo-prompts pull the mean towards 0.
    prompts, effect_E = difference.clusters, np.linspace(0.0, 1.0, 1001)[1:]
    spread_E = np.sqrt(_variance(difference, effect_E) / (prompts + 2))
    enough_E = effect_E * prompts / (prompts + 2) >= np.maximum(steps * spread_E, margin_reached + likely)
    return float(effect_E[enough_E.argmax()]) if enough_E.any() else None


def more_pictures(difference: Difference, *, margin: float) -> int | None:
    """How many more pairs, on new prompts, would settle an open question at 80% power; None where none can be named.

    The error shrinks with the root of the number of prompts.  The question is settled when the effect seen, or the
    margin below which it would not matter, whichever is larger, has become detectable.
    """
    goal = max(abs(difference.delta), margin)
    if detectable_effect(difference) is None or goal <= 0.0:
        return None
    prompts = (_steps(difference) / goal) ** 2 * float(_variance(difference, np.array(goal)))
    return math.ceil(max(math.ceil(prompts - difference.clusters), 1) * difference.pairs / difference.clusters)


def _variance(difference: Difference, effect: np.ndarray) -> np.ndarray:
    """How much the difference of a prompt would vary if the true difference were ``effect``.

    As much as was seen; but a 0/1 metric varies the more the nearer it comes to one half.  One version is taken to stay
    where both are now and the other to move that way, with the correlation that the pictures showed (sample sizes of
    paired proportions: Connor 1987, doi:10.2307/2531961).
    """
    variance = difference.clusters * difference.standard_error**2
    if difference.unit is None:
        return np.full(np.shape(effect), variance)
    share = (difference.baseline + difference.candidate) / 2
    moved = np.clip(max(share, 1 - share) - effect, 0.0, 1.0)
    stays, moves = share * (1 - share), moved * (1 - moved)
    correlation = max(0.0, 1 - variance / difference.unit / (2 * stays)) if stays > 0 else 0.0
    spread: np.ndarray = difference.unit * (stays + moves - 2 * correlation * np.sqrt(stays * moves))
    return np.maximum(spread, variance)


def _steps(difference: Difference) -> float:
    """So many standard errors away, a true difference is found 80 times in 100.

    The corrected critical value, and the 0.80 quantile widened for two estimates: the spread by which the effect is
    stated and the one by which it will be tested.  Each counts twice, for its critical value errs with it.
    """
    likely = float(stdtrit(difference.clusters - 1, POWER))
    unsure = difference.corrected**2 + (difference.corrected + likely) ** 2
    return difference.corrected + likely * math.sqrt(1 + 2 * unsure * difference.unsteady)
