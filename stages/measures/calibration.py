"""What a judge's threshold means for one person: how often it refuses her own photos and lets others pass.

The terms are those of ISO/IEC 19795-1 (biometric performance testing): genuine and impostor scores, false accept rate
and false reject rate.
"""

import math

import numpy as np
from scipy import stats

from stages.contracts.calibration import Rate, Threshold

CONFIDENCE = 0.95


def measure_rate(count: int, trials: int) -> Rate:
    """A share with the exact binomial interval (Clopper & Pearson 1934): never narrower than 95%, also at 0 of n."""
    if trials == 0:
        return Rate(count=0, trials=0, rate=None, low=0.0, high=1.0)
    interval = stats.binomtest(count, trials).proportion_ci(CONFIDENCE, method="exact")
    return Rate(count=count, trials=trials, rate=count / trials, low=float(interval.low), high=float(interval.high))


def false_reject(genuine: np.ndarray, threshold: float) -> Rate:
    """Genuine scores below ``threshold``."""
    return measure_rate(int((np.asarray(genuine) < threshold).sum()), len(genuine))


def false_accept(impostor: np.ndarray, threshold: float) -> Rate:
    """Impostor scores at or above ``threshold``."""
    return measure_rate(int((np.asarray(impostor) >= threshold).sum()), len(impostor))


def strict_threshold(genuine: np.ndarray, impostor: np.ndarray, far: float) -> Threshold:
    """The smallest threshold that at most ``far`` of the impostors exceed, with a distribution-free interval.

    The interval of the quantile 1 - ``far`` comes from order statistics (Conover 1999, Practical Nonparametric
    Statistics, 3.2; ``scipy.stats.quantile_test``).  Where the sample is too small for an end, there is none: of fewer
    than 1/``far`` impostors nobody can say what one in 1/``far`` reaches.

    Args:
        genuine: scores of the person's own photos.
        impostor: of other people.
        far: 0..1, exclusive.
    """
    ordered = np.sort(np.asarray(impostor, dtype=np.float64))
    allowed = math.floor(far * len(ordered) + 1e-9)
    needed = math.ceil(math.log((1 - CONFIDENCE) / 2) / math.log(1 - far))
    if allowed == 0:
        nobody = measure_rate(0, 0)
        return Threshold(far=far, value=None, low=None, high=None, frr=nobody, needed=needed)
    value = float(ordered[-1 - allowed])
    interval = stats.quantile_test(ordered, q=value, p=1 - far).confidence_interval(CONFIDENCE)
    low, high = (float(end) if np.isfinite(end) else None for end in (interval.low, interval.high))
    refused = measure_rate(int((np.asarray(genuine) <= value).sum()), len(genuine))
    return Threshold(far=far, value=value, low=low, high=high, frr=refused, needed=needed)
