"""What a scorecard finds beside its means: intervals, rulers, how far the judges agree, the other side of likeness."""

from typing import Literal

from pydantic import Field

from stages.contracts.artifact import Closed

JudgeName = Literal["faces", "second"]
# What a mode shows the generator: both know a face by InsightFace's embedding, the face pack's own.
CONDITIONED: dict[str, JudgeName] = {"lora+instantid": "faces", "lora+ipadapter": "faces"}


def gating_judge(mode: str) -> JudgeName:
    """The judge that decides about pictures drawn in ``mode``: never one whose embedding the generator was given."""
    return "second" if CONDITIONED.get(mode) == "faces" else "faces"


class Interval(Closed):
    """A bootstrap percentile interval."""

    low: float
    high: float


class Ends(Closed):
    """The two ends of the likeness ruler of one pose, as raw cosines under one judge."""

    base: float = Field(description="mean similarity of the base model's pictures: 0 on the ruler")
    real: float = Field(description="mean similarity of training photos to holdout photos: 100 on the ruler")
    photos: int = Field(description="training photos of this pose")
    pictures: int = Field(description="the base model's pictures of this pose")


class Anchors(Closed):
    """The two ends of the likeness ruler, as raw cosines under one judge."""

    base: float = Field(description="mean similarity of the base model's pictures: 0 on the ruler")
    real: float = Field(description="mean similarity of training photos to holdout photos: 100 on the ruler")
    poses: dict[str, Ends] = Field(
        default_factory=dict, description="poses with a ruler of their own; the others are measured on the one above"
    )


class PoseFigures(Closed):
    """A version's pictures of one pose."""

    images: int
    likeness: float
    likeness_interval: Interval
    second_likeness: float
    second_likeness_interval: Interval


class Agreement(Closed):
    """Whether the two face judges say the same of the version's pictures."""

    images: int = Field(description="pictures with a face: without one both say 0")
    correlation: float | None = Field(
        description="Spearman's, of the raw cosines; null: one of the judges says one thing"
    )
    correlation_interval: Interval | None
    difference: float = Field(description="likeness by the face pack minus likeness by the second judge, ruler points")
    difference_interval: Interval
    disagree: bool = Field(description="the difference is no chance and larger than thresholds.judges_apart")
    conditioned: JudgeName | None = Field(description="the judge whose embedding the generator was given; null: none")
    alarm: bool = Field(description="conditioned on one of two judges that disagree: believe the other one")


class Diversity(Closed):
    """How much pictures differ from each other: 0 where all are one; null where there was nothing to compare."""

    within: float | None = Field(description="mean CLIP distance (1 - cosine) of pictures of one prompt")
    within_interval: Interval | None
    base_within: float | None = Field(description="the same of the base model's pictures")
    across: float | None = Field(description="mean CLIP distance of all pictures")
    real: float | None = Field(description="mean CLIP distance of the person's photos of different moments")
    pose_within: float | None = Field(description="mean distance of the landmarks' shapes in pictures of one prompt")
    pose_within_interval: Interval | None
    base_pose_within: float | None
    pose_across: float | None
    pose_real: float | None


class Memorisation(Closed):
    """How close the pictures come to training photos."""

    share: float = Field(description="of the version's pictures, memorised")
    share_interval: Interval
    base_share: float = Field(description="the same of the base model, which never saw the photos: chance")
    limit: float = Field(description="closeness above which a picture is memorised")
    photos: int = Field(description="real photos whose closeness to other training photos set the limit")


class Flag(Closed):
    """Something that likeness alone does not show."""

    name: Literal["copying", "wrong_identity", "leaking", "memorising"]
    raised: bool
    value: float
    interval: Interval
    limit: float = Field(description="the whole interval lies beyond it when the flag is raised")
    says: str = Field(description="one sentence")
