"""What a person's votes say: how far the gate agrees with them, which threshold would, and which version they prefer.

A vote is a label, 1 approved or 0 rejected, of one picture; a score is a number of which more is better.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import stats

from stages.contracts.calibration import Rate
from stages.measures.calibration import CONFIDENCE, measure_rate

ENOUGH = 20  # approved, and as many rejected: fewer leave a threshold's interval about as wide as the scores


@dataclass(frozen=True)
class Estimate:
    """A figure with its interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Confusion:
    """How often gate and person said what of the same picture."""

    both_approved: int
    only_gate: int  # the gate approved, the person rejected
    only_person: int
    both_rejected: int

    @property
    def pictures(self) -> int:
        """How many were judged by both."""
        return self.both_approved + self.only_gate + self.only_person + self.both_rejected


@dataclass(frozen=True)
class Cut:
    """A threshold: pictures with at least so much are approved."""

    value: float
    youden: float  # sensitivity + specificity - 1: 0 is what chance reaches, 1 is perfect
    sensitivity: float  # share of what the person approved that it approves
    specificity: float  # share of what the person rejected that it rejects


@dataclass(frozen=True)
class Preference:
    """Two versions compared in pairs; ties are counted and not shared out."""

    first: int
    second: int
    ties: int
    share: Rate  # of the pairs that were decided, for the first
    p: float  # two-sided sign test: as lopsided as this by tossing a coin


def count_confusion(gate_N: np.ndarray, person_N: np.ndarray) -> Confusion:
    """The table of two judgements of N pictures, bool (N,) each."""
    gate_N, person_N = np.asarray(gate_N, bool), np.asarray(person_N, bool)
    cells = ((gate_N & person_N), (gate_N & ~person_N), (~gate_N & person_N), (~gate_N & ~person_N))
    return Confusion(*(int(cell.sum()) for cell in cells))


def cohen_kappa(gate_N: np.ndarray, person_N: np.ndarray) -> float | None:
    """Agreement beyond chance, -1..1 (Cohen 1960, doi:10.1177/001316446002000104).

    None where it is not defined: no pictures, or both say the same one thing of all.
    """
    table = count_confusion(gate_N, person_N)
    total = table.pictures
    if total == 0:
        return None
    gate = (table.both_approved + table.only_gate) / total
    person = (table.both_approved + table.only_person) / total
    chance = gate * person + (1 - gate) * (1 - person)
    if chance == 1:
        return None
    return ((table.both_approved + table.both_rejected) / total - chance) / (1 - chance)


def measure_kappa(gate_N: np.ndarray, person_N: np.ndarray, *, resamples: int, seed: int) -> Estimate | None:
    """Cohen's kappa with a percentile bootstrap interval over pictures; None where kappa is not defined.

    A resample in which it is not defined counts as perfect agreement: all its pictures were judged alike.
    """
    gate_N, person_N = np.asarray(gate_N, bool), np.asarray(person_N, bool)
    observed = cohen_kappa(gate_N, person_N)
    if observed is None:
        return None
    rng = np.random.default_rng(seed)

    def draw() -> float:
        rows = rng.integers(0, len(gate_N), len(gate_N))
        found = cohen_kappa(gate_N[rows], person_N[rows])
        return 1.0 if found is None else found

    return _with_interval(observed, draw, resamples)


def find_cut(score_N: np.ndarray, person_N: np.ndarray) -> Cut | None:
    """The threshold that tells what was approved from what was rejected best: the most Youden's J.

    Youden (1950), doi:10.1002/1097-0142(1950)3:1<32::AID-CNCR2820030106>3.0.CO;2-3; the same threshold has the most
    balanced accuracy, (J + 1) / 2.  It lies halfway between two neighbouring scores; of several that are equally good
    the one in the widest gap is taken, then the lowest.  None where one of the two kinds is missing, and where no
    threshold does better than chance.
    """
    score_N, person_N = np.asarray(score_N, np.float64), np.asarray(person_N, bool)
    good, bad = int(person_N.sum()), int((~person_N).sum())
    level_L, index_N = np.unique(score_N, return_inverse=True)
    if not good or not bad or len(level_L) < 2:
        return None
    lost_L = np.cumsum(np.bincount(index_N, weights=person_N, minlength=len(level_L)))[:-1]
    kept_out_L = np.cumsum(np.bincount(index_N, weights=~person_N, minlength=len(level_L)))[:-1]
    # In whole numbers: thresholds that are equally good must not differ by their rounding.
    worth_L = np.rint(kept_out_L * good - lost_L * bad)
    if worth_L.max() <= 0:
        return None
    gap_L = np.where(worth_L == worth_L.max(), np.diff(level_L), -1.0)
    at = int(gap_L.argmax())
    sensitivity, specificity = 1 - lost_L[at] / good, kept_out_L[at] / bad
    value = float(level_L[at] + (level_L[at + 1] - level_L[at]) / 2)
    value = value if value > level_L[at] else float(level_L[at + 1])  # neighbours among floats have no middle
    return Cut(value, float(sensitivity + specificity - 1), float(sensitivity), float(specificity))


def measure_cut(score_N: np.ndarray, person_N: np.ndarray, *, resamples: int, seed: int) -> tuple[Cut, Estimate] | None:
    """The best threshold and its percentile bootstrap interval; None where there is none.

    Pictures are resampled within approved and rejected, so that every resample holds both (Efron & Tibshirani 1993,
    ch. 8.3: two samples); a resample that no threshold divides says nothing of where it lies and counts as the value.
    """
    score_N, person_N = np.asarray(score_N, np.float64), np.asarray(person_N, bool)
    cut = find_cut(score_N, person_N)
    if cut is None:
        return None
    rng, sides = np.random.default_rng(seed), [np.flatnonzero(person_N), np.flatnonzero(~person_N)]

    def draw() -> float:
        rows = np.concatenate([rng.choice(side, len(side)) for side in sides])
        found = find_cut(score_N[rows], person_N[rows])
        return cut.value if found is None else found.value

    return cut, _with_interval(cut.value, draw, resamples)


def measure_separation(score_N: np.ndarray, person_N: np.ndarray) -> float:
    """p-value that approved pictures score no higher than rejected ones: Mann & Whitney's U (1947), one-sided.

    The most Youden's J of scores that say nothing is above 0 too: it was chosen as the highest.  1 where one of the two
    kinds is missing.
    """
    score_N, person_N = np.asarray(score_N, np.float64), np.asarray(person_N, bool)
    if person_N.all() or not person_N.any():
        return 1.0
    return float(stats.mannwhitneyu(score_N[person_N], score_N[~person_N], alternative="greater").pvalue)


def measure_preference(first: int, second: int, ties: int) -> Preference:
    """The share of decided pairs that the first version won, with the exact interval, and the sign test.

    Ties are left out of both (Dixon & Mood 1946, doi:10.1080/01621459.1946.10501898).  Pairs count as independent:
    several seeds of one prompt resemble each other, so that with many of them the interval is somewhat too narrow.
    """
    decided = first + second
    p = float(stats.binomtest(first, decided, 0.5).pvalue) if decided else 1.0
    return Preference(first, second, ties, measure_rate(first, decided), p)


def _with_interval(value: float, draw: Callable[[], float], resamples: int) -> Estimate:
    reach = 100 * (1 - CONFIDENCE) / 2
    low, high = np.percentile([draw() for _ in range(resamples)], [reach, 100 - reach])
    return Estimate(value, float(low), float(high))
