"""Everything that an evaluation drew and scored, side by side with the real photos, and the rulers made of it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from stages.contracts.findings import Anchors, JudgeName
from stages.contracts.manifest import Photo
from stages.contracts.measure_settings import Pose
from stages.flows.scoring import References, Score, Shot
from stages.flows.sights import Sight
from stages.measures.memorisation import Views
from stages.measures.pose import estimate_yaw, name_pose
from stages.measures.rulers import Sample, build_anchors

Rulers = dict[JudgeName, Anchors]


@dataclass(frozen=True)
class Photos:
    """The person's photos, scored or seen like pictures."""

    train: Sequence[Photo]
    scores: Sequence[Score]  # of the training photos
    holdout: Sequence[Photo]
    references: References  # made of the holdout photos


@dataclass(frozen=True)
class Judged:
    """Pictures by set (lora, base, class), the person's photos, and other people's faces."""

    shots: dict[str, list[Shot]]
    scores: dict[str, list[Score]]  # as ordered as the shots
    photos: Photos
    others: Sequence[Score]  # class images
    pose: Pose

    def sample(self, name: str, judge: JudgeName) -> Sample:
        """One set's similarities under one judge, clustered by prompt."""
        return make_sample(self.scores[name], [shot.prompt_index for shot in self.shots[name]], judge, self.pose)

    def real(self, judge: JudgeName) -> Sample:
        """The training photos', clustered by moment."""
        return real_sample(self.photos, judge, self.pose)


def yaw_of(score: Score, pose: Pose) -> float | None:
    """Degrees of yaw; None where no face was found."""
    return estimate_yaw(score.sight.face.landmarks, pose.nose_depth) if score.sight.face else None


def pose_of(score: Score, pose: Pose) -> str:
    """The pose that a picture shows."""
    return name_pose(yaw_of(score, pose), pose.half, pose.profile)


def similarity_of(score: Score, judge: JudgeName) -> float:
    """The similarity that a judge gave."""
    return score.second_similarity if judge == "second" else score.similarity


def make_sample(scores: Sequence[Score], clusters: Sequence[int], judge: JudgeName, pose: Pose) -> Sample:
    """Scores as the rulers want them."""
    similarity_N = np.array([similarity_of(score, judge) for score in scores])
    return Sample(similarity_N, np.array([pose_of(score, pose) for score in scores]), np.array(clusters))


def real_sample(photos: Photos, judge: JudgeName, pose: Pose) -> Sample:
    """The training photos under one judge, clustered by moment."""
    return make_sample(photos.scores, [photo.group for photo in photos.train], judge, pose)


def measure_rulers(shots: Sequence[Shot], base: Sequence[Score], photos: Photos, pose: Pose, fewest: int) -> Rulers:
    """Both judges' rulers, from the base model's pictures and the training photos.

    Raises:
        UserError: when a judge does not tell the person from the base model's faces.
    """
    prompts = [shot.prompt_index for shot in shots]
    judges: tuple[JudgeName, ...] = ("faces", "second")
    return {
        judge: build_anchors(make_sample(base, prompts, judge, pose), real_sample(photos, judge, pose), fewest)
        for judge in judges
    }


def views_of(scores: Sequence[Score]) -> Views:
    """How pictures look, for finding copies."""
    return view_sights([score.sight for score in scores])


def view_sights(sights: Sequence[Sight]) -> Views:
    """How seen pictures look."""
    hashes_N2 = np.array([sight.hashes for sight in sights], dtype=np.uint64).reshape(-1, 2)
    return Views(np.stack([sight.shows for sight in sights]), hashes_N2)
