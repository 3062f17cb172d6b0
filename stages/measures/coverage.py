"""What a set of photos shows and what it lacks: a LoRA learns as the person whatever all of her photos share."""

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from stages.contracts.captions import names_word
from stages.contracts.measure_settings import CoverageLimits
from stages.measures.pose import SIDES

UNKNOWN = "unknown"
POSE, FRAMING = "pose", "framing"
KNOWN_SHARE = 0.5  # of the photos, below which nothing is said of an aspect


def name_framing(face_height: float, framing: Sequence[tuple[str, float]]) -> str:
    """The framing with the largest bound that the face's height reaches, both in heights of the photo."""
    fitting = [(least, name) for name, least in framing if face_height >= least]
    return max(fitting)[1] if fitting else UNKNOWN


def name_aspect(caption: str, labels: Sequence[str], probability_L: np.ndarray | None, sure: float) -> str:
    """Which of an aspect's labels a photo has: what its caption names, else what CLIP is sure of.

    Args:
        caption: of the photo.
        labels: L words; a caption that names none of them, or several, says nothing.
        probability_L: CLIP's, per label (zero-shot classification, Radford et al., arXiv:2103.00020, section 3.1);
            None where it was not asked.
        sure: probability from which on the answer is believed.
    """
    named = [label for label in labels if names_word(caption, label)]
    if len(named) == 1:
        return named[0]
    if probability_L is None or float(probability_L.max()) < sure:
        return UNKNOWN
    return labels[int(probability_L.argmax())]


def count_coverage(
    photos: Sequence[Mapping[str, str]], labels: Mapping[str, Sequence[str]]
) -> dict[str, dict[str, int]]:
    """How many photos show each label of each aspect, the unknown last and only where there are any.

    Args:
        photos: aspect -> label of every photo.
        labels: aspect -> all labels that it could have.
    """
    coverage = {}
    for aspect, known in labels.items():
        counts = Counter(photo.get(aspect, UNKNOWN) for photo in photos)
        coverage[aspect] = {label: counts[label] for label in known}
        if counts[UNKNOWN]:
            coverage[aspect][UNKNOWN] = counts[UNKNOWN]
    return coverage


def advise(coverage: Mapping[str, Mapping[str, int]], limits: CoverageLimits) -> list[str]:
    """What photos to add, one sentence each, in the order of ``coverage``; an empty list when nothing is lacking."""
    return [line for aspect, counts in coverage.items() for line in _advise(aspect, dict(counts), limits)]


def _advise(aspect: str, counts: dict[str, int], limits: CoverageLimits) -> list[str]:
    total, unknown = sum(counts.values()), counts.pop(UNKNOWN, 0)
    known = total - unknown
    if known == 0 or known < KNOWN_SHARE * total:
        return []
    if aspect == POSE:
        return _advise_poses(counts, limits.fewest)
    largest, count = max(counts.items(), key=lambda item: item[1])
    shown = [label for label, number in counts.items() if number]
    if count > limits.one_sided * total:
        return [f"{count} of {total} photos share one {aspect} ({largest}): add others, or it is learnt with the face"]
    if len(shown) < min(limits.kinds, len(counts)):
        return [f"only {len(shown)} kinds of {aspect} ({', '.join(shown)}): add others"]
    return []


def _advise_poses(counts: Mapping[str, int], fewest: int) -> list[str]:
    lines = []
    for side in SIDES:
        count = counts.get(side, 0)
        if count < fewest:
            have = f"no {side}" if count == 0 else f"only {count} {side}"
            lines.append(f"{have}: add {fewest - count} or more")
    return lines
