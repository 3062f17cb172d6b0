"""One number for a version: likeness on the ruler and skin realism, weighted."""

from stages.contracts.settings import Weights
from stages.runtime.errors import UserError


def overall_score(likeness: float, realism: float, weights: Weights) -> float:
    """Weighted mean of likeness and skin realism: 0..1.

    Likeness comes in ruler points (0 base model, 100 real photos) and counts at most as 1: copying earns nothing.
    Pictures without a face are in both parts already, as failures.

    Args:
        likeness: ruler points, any real number.
        realism: mean skin realism, 0..1.

    Raises:
        UserError: when all weights are 0.
    """
    total = weights.likeness + weights.skin
    if total <= 0:
        raise UserError("thresholds.weights", "all are 0", "give likeness or skin a weight")
    part = min(max(likeness / 100.0, 0.0), 1.0)
    return (weights.likeness * part + weights.skin * realism) / total
