"""Which cell of a sweep to use: chosen on the first seeds, confirmed on fresh ones, with what is tied with the best.

The best of many cells looks better than it is, because it was chosen for looking so: of 24 equal cells with 8 pictures
each of sd .10 the best seems .07 above its truth.  So the first pictures rank the cells and say who is drawn again, and
the fresh ones alone say how good a cell is and what it cannot be told from.  Used is the best ranked of those that the
fresh ones cannot tell from their best.  Not the best on the fresh ones, whose figure would be flattered again, and not
the cheapest of the tied: with few pictures much is tied that is worse (docs/measuring_sweep.md).

Every score is paired: one prompt and seed starts from the same noise in every cell, so that cells are compared by their
differences, picture by picture.  The seeds are what is drawn again: what is said holds for the sweep's own prompts.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from stages.measures.verdict import adjust_holm

LEVEL = 0.05  # p below which a cell counts as worse, and is not drawn again
TIED_LEVEL = 0.01  # p below which fresh pictures shut a cell out: what they shut out they flatter, at .05 by up to .003
TIE = 1e-9  # means that differ by less are equal: sums round


@dataclass(frozen=True)
class Cost:
    """What using a cell costs beyond likeness, in the order in which it is weighed: less is cheaper.

    An earlier checkpoint has had less time to learn its photos by heart; a lower strength leaves more of the base
    model; lower guidance leaves pictures less alike and less garish.  ``number``, the place in the grid, ends a draw.
    """

    checkpoint: int
    strength: float
    guidance: float
    number: int

    @property
    def key(self) -> tuple[float, ...]:
        """What costs are compared by."""
        return (self.checkpoint, self.strength, self.guidance, self.number)


@dataclass(frozen=True)
class Decision:
    """What the fresh pictures say about the leaders; a row each, best on the first pictures first."""

    best: int  # highest mean
    tied: tuple[int, ...]  # the best and those that are not worse beyond doubt, cheapest first
    p_worse: tuple[float, ...]  # of every row being worse than the best, Holm-adjusted; 1 for the best

    @property
    def chosen(self) -> int:
        """Of the tied, the best on the first pictures."""
        return min(self.tied)

    @property
    def cheapest(self) -> int:
        """Of the tied, the one that costs least."""
        return self.tied[0]


def test_worse(scores_CN: np.ndarray, reference: int) -> np.ndarray:
    """p-values of every cell being worse than cell ``reference``: float64 (C,), one-sided, Student's paired t.

    The mean counts, because a lost face (score 0) counts: a test of ranks would forgive a cell that is a little
    better in most pictures and loses the face in some.  Pairs of which one picture was not drawn (NaN) are left out;
    with less than two pairs, and for the reference itself, p is 1.  Pictures of one prompt are taken as separate: that
    is right for these prompts, and errs towards "cannot be told" where prompts differ.
    """
    difference_CN = scores_CN - scores_CN[reference]
    drawn_CN = ~np.isnan(difference_CN)
    pairs_C = drawn_CN.sum(axis=1)
    mean_C = np.where(drawn_CN, difference_CN, 0.0).sum(axis=1) / np.maximum(pairs_C, 1)
    off_CN = np.where(drawn_CN, difference_CN - mean_C[:, None], 0.0)
    error_C = np.sqrt((off_CN**2).sum(axis=1) / np.maximum(pairs_C - 1, 1) / np.maximum(pairs_C, 1))
    mean_C[np.abs(mean_C) < TIE] = 0.0
    p_C: np.ndarray = stats.t.cdf(mean_C / np.maximum(error_C, TIE), np.maximum(pairs_C - 1, 1))
    p_C[(pairs_C < 2) | (np.arange(len(p_C)) == reference)] = 1.0
    return p_C


def estimate_means(scores_CN: np.ndarray) -> np.ndarray:
    """Mean score of every cell over all instances: float64 (C,), also of cells that were not drawn on all (NaN).

    Instances differ more than cells, so the mean over whatever was drawn of a cell says little beside another cell's:
    what is missing is filled in by the difference estimator, the mean of the most complete cell plus the mean paired
    difference from it.  Where everything was drawn it is the plain mean.
    """
    drawn_C = (~np.isnan(scores_CN)).sum(axis=1)
    complete = np.flatnonzero(drawn_C == drawn_C.max())
    reference = complete[np.nanmean(scores_CN[complete], axis=1).argmax()]
    return np.asarray(np.nanmean(scores_CN[reference]) + np.nanmean(scores_CN - scores_CN[reference], axis=1))


def rank_cells(means_C: np.ndarray, costs: Sequence[Cost]) -> list[int]:
    """Cells, best mean first; of cells within a billionth of the best one left, the cheaper."""
    left, ranked = list(range(len(costs))), []
    while left:
        top = max(means_C[cell] for cell in left)
        level = [cell for cell in left if means_C[cell] >= top - TIE]
        ranked += sorted(level, key=lambda cell: costs[cell].key)
        left = [cell for cell in left if means_C[cell] < top - TIE]
    return ranked


def find_contenders(scores_CN: np.ndarray, costs: Sequence[Cost]) -> list[int]:
    """The best cell and every cell that is not clearly worse (p >= LEVEL), best first.

    No correction for their number here: a contender that is one by chance costs pictures, no more.
    """
    ranked = rank_cells(estimate_means(scores_CN), costs)
    p_C = test_worse(scores_CN, ranked[0])
    return [cell for cell in ranked if p_C[cell] >= LEVEL]


def decide(scores_KM: np.ndarray, costs: Sequence[Cost]) -> Decision:
    """The best of the leaders on fresh pictures, and the cells that it cannot be told from.

    Every other leader is tested against the best with Holm's correction, so the truly best leader is among the tied in
    at least 1 - TIED_LEVEL of all sweeps (a subset selection: Gupta 1965, doi:10.1080/00401706.1965.10490251).

    Args:
        scores_KM: K leaders, best on the first pictures first, the same M fresh instances each.
        costs: of the leaders.
    """
    ranked = rank_cells(scores_KM.mean(axis=1), costs)
    best = ranked[0]
    others = [cell for cell in range(len(costs)) if cell != best]
    p_K = np.ones(len(costs))
    p_K[others] = adjust_holm(test_worse(scores_KM, best)[others])
    tied = sorted((cell for cell in ranked if p_K[cell] >= TIED_LEVEL), key=lambda cell: costs[cell].key)
    return Decision(best, tuple(tied), tuple(float(p) for p in p_K))


def mean_interval(values: np.ndarray, confidence: float = 1 - LEVEL) -> tuple[float, float]:
    """Student's interval of a mean; a single value is its own interval."""
    mean = float(np.mean(values))
    if len(values) < 2:
        return mean, mean
    reach = float(stats.t.ppf((1 + confidence) / 2, len(values) - 1)) * float(stats.sem(values))
    return mean - reach, mean + reach
