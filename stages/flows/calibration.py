"""How the judges' thresholds do for one person: her own photos and other people's faces, scored like pictures."""

from collections.abc import Sequence

import numpy as np

from stages.contracts.calibration import Calibration, JudgeCalibration, Rate
from stages.contracts.findings import JudgeName
from stages.contracts.settings import Thresholds
from stages.flows.judged import Judged, Photos, similarity_of
from stages.flows.scoring import Score
from stages.measures.calibration import false_accept, false_reject, strict_threshold

NAMES = {"faces": "face pack", "second": "second judge"}


def calibrate(judged: Judged, thresholds: Thresholds, dataset: str) -> Calibration:
    """Genuine and impostor scores under both judges, and what the thresholds do to them.

    Impostors are the class images and the base model's pictures: other people of the class word.  Of the training
    photos one of each moment counts, for two shots of one moment are no two trials.
    """
    base = [score for score in judged.scores["base"] if score.face_found]
    others = [score for score in judged.others if score.face_found]
    genuine = one_per_moment(judged.photos)
    return Calibration(
        dataset=dataset, references=len(judged.photos.references.first), class_images=len(others),
        base_pictures=len(base), faces=_judge("faces", genuine, [*others, *base], thresholds.face_pass, thresholds),
        second=_judge("second", genuine, [*others, *base], thresholds.second_pass, thresholds),
    )  # fmt: skip


def one_per_moment(photos: Photos) -> list[Score]:
    """The first training photo of every moment."""
    first: dict[int, Score] = {}
    for photo, score in zip(photos.train, photos.scores, strict=True):
        first.setdefault(photo.group, score)
    return list(first.values())


def _judge(
    judge: JudgeName, genuine: Sequence[Score], impostor: Sequence[Score], threshold: float, thresholds: Thresholds
) -> JudgeCalibration:
    own, strangers = (np.array([similarity_of(score, judge) for score in some]) for some in (genuine, impostor))
    limits = thresholds.calibration
    frr, far = false_reject(own, threshold), false_accept(strangers, threshold)
    return JudgeCalibration(
        threshold=threshold, genuine=_listed(own), impostor=_listed(strangers), frr=frr, far=far,
        strict=strict_threshold(own, strangers, limits.far),
        warnings=[
            *_warn(NAMES[judge], threshold, "refuses", "photos of this person", frr, limits.frr),
            *_warn(NAMES[judge], threshold, "lets", "other people pass", far, limits.far),
        ],
    )  # fmt: skip


def _listed(values: np.ndarray) -> list[float]:
    return [round(float(value), 4) for value in np.sort(values)]


def _warn(judge: str, threshold: float, does: str, whom: str, rate: Rate, limit: float) -> list[str]:
    if rate.rate is None or rate.rate <= limit:
        return []
    sure = "is wrong for this person" if rate.low > limit else "may be wrong for this person"
    return [
        f"The threshold {threshold:g} of the {judge} {sure}: it {does} {rate.count} of {rate.trials} {whom} "
        f"({rate.low:.1%} to {rate.high:.1%}; {limit:.0%} is the limit)."
    ]
