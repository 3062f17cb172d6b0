"""The likeness ruler pose by pose: a turned head is compared with what turned heads of the person score."""

from dataclasses import dataclass

import numpy as np
from scipy import stats

from stages.contracts.findings import Anchors, Ends, Interval
from stages.measures.identity import SHORTEST_RULER, ruler
from stages.measures.pose import POSES

ALL = "all"


@dataclass(frozen=True)
class Sample:
    """Pictures, or photos, under one judge."""

    similarity_N: np.ndarray  # float64, raw cosines; 0 where no face was found
    pose_N: np.ndarray  # of str: measures.pose
    cluster_N: np.ndarray  # what is resampled whole: the prompt of a picture, the moment of a photo


def build_anchors(base: Sample, real: Sample, fewest: int) -> Anchors:
    """The ends of one judge's ruler, over all poses and for every pose that real photos show often enough.

    A turned head scores lower against references that are mostly frontal, whoever it is; a ruler of its own pose takes
    that out, so that a version is not praised for drawing frontal faces alone.  A pose with fewer than ``fewest``
    photos or pictures of the base model, or with a ruler too short to read, is measured on the ruler of all poses.

    Args:
        base: the base model's pictures, N >= 1.
        real: training photos, scored like pictures, N >= 1.
        fewest: photos, and pictures, that a pose needs.

    Raises:
        UserError: when the judge hardly tells the person from the base model's faces.
    """
    ends = float(base.similarity_N.mean()), float(real.similarity_N.mean())
    ruler(np.zeros(1), *ends)  # refuses a ruler that is too short
    poses = {}
    for pose in POSES:
        drawn, photos = base.pose_N == pose, real.pose_N == pose
        if min(drawn.sum(), photos.sum()) < fewest:
            continue
        low, high = float(base.similarity_N[drawn].mean()), float(real.similarity_N[photos].mean())
        if high - low >= SHORTEST_RULER:
            poses[pose] = Ends(base=low, real=high, photos=int(photos.sum()), pictures=int(drawn.sum()))
    return Anchors(base=ends[0], real=ends[1], poses=poses)


def place_on_ruler(similarity_N: np.ndarray, pose_N: np.ndarray, anchors: Anchors) -> np.ndarray:
    """Likeness of every picture on the ruler of its pose: float64 (N,)."""
    placed = ruler(similarity_N, anchors.base, anchors.real)
    for pose, ends in anchors.poses.items():
        own = pose_N == pose
        placed[own] = ruler(similarity_N[own], ends.base, ends.real)
    return placed


def likeness_intervals(
    ours: Sample, base: Sample, real: Sample, anchors: Anchors, *, resamples: int, seed: int, confidence: float = 0.95
) -> dict[str, Interval]:
    """Intervals of the mean likeness, over all pictures (``all``) and over each pose that they show.

    Percentile bootstrap (Efron & Tibshirani 1993, ch. 13) of everything that the mean is made of: prompts with the
    pictures of both the version and the base model, and moments of the training photos.  So the ends of the ruler are
    as uncertain as so few pictures and photos leave them.  The references are held fixed: they shift a picture's
    similarity and the ruler's ends alike.

    Args:
        ours: the version's pictures, N >= 1.
        base: the base model's, of the same prompts.
        real: training photos, scored like pictures.
        anchors: what the observed values stand on; they say which poses have a ruler of their own.
        resamples: how many bootstrap means.
        seed: of the resampling.
        confidence: coverage, 0..1.
    """
    shown = [ALL, *(str(pose) for pose in np.unique(ours.pose_N))]
    prompts, moments = np.unique([*ours.cluster_N, *base.cluster_N]), np.unique(real.cluster_N)
    if min(len(prompts), len(moments)) < 2:  # there is nothing to resample
        placed = place_on_ruler(ours.similarity_N, ours.pose_N, anchors)
        means = [placed.mean(), *(placed[ours.pose_N == pose].mean() for pose in shown[1:])]
        return {pose: Interval(low=float(mean), high=float(mean)) for pose, mean in zip(shown, means, strict=True)}
    table, everything = _Table(ours, base, real, anchors, prompts, moments), (len(prompts), len(moments))
    observed = table.means(*(np.arange(count)[None] for count in everything))

    def statistic(prompt_BK: np.ndarray, moment_BG: np.ndarray, axis: int = -1) -> np.ndarray:
        means = table.means(prompt_BK, moment_BG)
        return np.where(np.isnan(means), observed, means)  # a resample may show no picture of a rare pose

    found = stats.bootstrap(
        tuple(np.arange(count) for count in everything), statistic, vectorized=True, n_resamples=resamples,
        confidence_level=confidence, method="percentile", rng=np.random.default_rng(seed),
    ).confidence_interval  # fmt: skip
    low, high = np.atleast_1d(found.low), np.atleast_1d(found.high)
    return {pose: Interval(low=float(low[i]), high=float(high[i])) for i, pose in enumerate(shown)}


class _Table:
    """Sums and counts per cluster and pose: all that a resample needs."""

    def __init__(
        self, ours: Sample, base: Sample, real: Sample, anchors: Anchors, prompts: np.ndarray, moments: np.ndarray
    ) -> None:
        self.anchors = anchors
        self.ours = {pose: _per_cluster(ours, pose, prompts) for pose in np.unique(ours.pose_N)}
        self.base = {pose: _per_cluster(base, pose, prompts) for pose in (ALL, *anchors.poses)}
        self.real = {pose: _per_cluster(real, pose, moments) for pose in (ALL, *anchors.poses)}

    def means(self, prompt_BK: np.ndarray, moment_BG: np.ndarray) -> np.ndarray:
        """Mean likeness of every resample, over all pictures and pose by pose: float64 (1 + poses, B)."""
        sums, counts = [], []
        for pose, (similarity_K, count_K) in self.ours.items():
            own = pose if pose in self.anchors.poses else ALL
            low = self._end(self.base[own], prompt_BK, own, "base")
            high = self._end(self.real[own], moment_BG, own, "real")
            drawn = count_K[prompt_BK].sum(axis=-1)
            above = similarity_K[prompt_BK].sum(axis=-1) - drawn * low
            sums.append(100.0 * above / np.maximum(high - low, SHORTEST_RULER))
            counts.append(drawn)
        with np.errstate(invalid="ignore"):
            each = np.array(sums) / np.array(counts)
            return np.concatenate([np.sum(sums, axis=0)[None] / np.sum(counts, axis=0), each])

    def _end(self, table: tuple[np.ndarray, np.ndarray], drawn: np.ndarray, pose: str, end: str) -> np.ndarray:
        observed = getattr(self.anchors.poses.get(pose, self.anchors), end)
        total, count = (column[drawn].sum(axis=-1) for column in table)
        return np.where(count > 0, total / np.maximum(count, 1), observed)


def _per_cluster(sample: Sample, pose: str, clusters: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sum of similarities and number of pictures of a pose in every cluster: float64 (K,) each."""
    own = np.full(len(sample.pose_N), True) if pose == ALL else sample.pose_N == pose
    index = np.searchsorted(clusters, sample.cluster_N[own])
    return (
        np.bincount(index, weights=sample.similarity_N[own], minlength=len(clusters)),
        np.bincount(index, minlength=len(clusters)).astype(np.float64),
    )
