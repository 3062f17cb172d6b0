"""From which step on a training only learns its photos by heart: holdout loss rises and likeness no longer does."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from stages.measures.selection import LEVEL, test_worse

LEAST_RISE = 0.1  # of what the loss had fallen; less is drift
MATTERS = 0.03  # raw cosine: a later checkpoint that is so much more alike is better, proved or not
FEWEST = 4  # measurements after the lowest: of three even a perfect rise has p = 1/6


@dataclass(frozen=True)
class Turn:
    """Where holdout loss was lowest, and how sure it is that it rises from there."""

    step: int
    p_value: float  # one-sided, of no rise
    rise: float  # at the end, as a share of the fall from the start to the lowest


def find_turn(steps: Sequence[int], losses: Sequence[float]) -> Turn | None:
    """The step of lowest holdout loss, where the loss rises for good afterwards; None where it does not.

    It does when what follows the lowest point trends upwards (Mann-Kendall: Kendall's tau of loss and step, one-sided,
    p < LEVEL) and ends at least LEAST_RISE of the fall above it: the mean of the last third is asked, not one value.
    The lowest point itself is left out of the test, because whatever follows a lowest point lies above it.
    """
    loss_N = np.asarray(losses, dtype=np.float64)
    if len(loss_N) == 0:
        return None
    low = int(loss_N.argmin())
    after_N, fall = loss_N[low + 1 :], float(loss_N[0] - loss_N[low])
    if len(after_N) < FEWEST or fall <= 0:
        return None
    p_value = float(stats.kendalltau(np.arange(len(after_N)), after_N, alternative="greater").pvalue)
    rise = (float(after_N[-max(1, len(after_N) // 3) :].mean()) - float(loss_N[low])) / fall
    return Turn(int(steps[low]), p_value, rise) if p_value < LEVEL and rise >= LEAST_RISE else None


def find_overfitting(checkpoints: Sequence[int], scores_KM: np.ndarray, turn: Turn | None) -> int | None:
    """The first checkpoint at or after the turn of the loss that no later one beats; None where there is none.

    A later checkpoint beats it when its mean likeness is better by MATTERS, or by less with p < LEVEL (paired,
    one-sided, not corrected for how many later ones there are): in doubt the training still improves.  After the last
    checkpoint nothing is known, so it is never the answer.

    Args:
        checkpoints: K training steps, ascending.
        scores_KM: likeness of each on the same M pictures.
        turn: what ``find_turn`` says.
    """
    if turn is None:
        return None
    for row, step in enumerate(checkpoints[:-1]):
        if step < turn.step:
            continue
        if not any(_beats(scores_KM[later], scores_KM[row]) for later in range(row + 1, len(checkpoints))):
            return int(step)
    return None


def _beats(later_M: np.ndarray, earlier_M: np.ndarray) -> bool:
    more_alike = bool(np.mean(later_M - earlier_M) >= MATTERS)
    return more_alike or bool(test_worse(np.stack([earlier_M, later_M]), 1)[0] < LEVEL)
