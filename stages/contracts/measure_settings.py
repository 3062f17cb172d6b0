"""Sections of params.yaml that say how faces are read and which numbers raise a flag, a warning or an advice."""

from typing import Annotated, Self

from pydantic import Field, model_validator

from stages.contracts.section import Count, Fraction, Positive, Section

Angle = Annotated[float, Field(gt=0, lt=90)]


class Pose(Section):
    """How five landmarks become the yaw of a head (measures/pose.py), and where its poses begin."""

    nose_depth: Positive = Field(
        0.60, description="how far the nose tip stands out before eyes and mouth, in distances of the eyes"
    )
    half: Angle = Field(20.0, description="degrees of yaw, to either side, from which on a face is a half profile")
    profile: Angle = Field(50.0, description="degrees from which on it is a profile")

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.half >= self.profile:
            raise ValueError("half: must be smaller than profile")
        return self


class FlagLimits(Section):
    """Where a version is flagged.  An interval must lie beyond the limit as a whole: chance alone raises no flag."""

    copying: float = Field(100.0, description="likeness, ruler points, above which pictures are more alike than photos")
    wrong_identity: float = Field(25.0, description="likeness, ruler points, under which the LoRA draws somebody else")
    leaking: float = Field(50.0, description="prior preservation, points, under which the class word is the person")
    closer_than: Fraction = Field(
        0.99, description="share of the real photos that a memorised picture is closer to a training photo than"
    )
    memorised: Fraction = Field(0.25, description="share of memorised pictures above which a version is flagged")


class CalibrationLimits(Section):
    """When a threshold is said to be wrong for this person."""

    frr: Fraction = Field(0.10, description="share of real photos of the person that the threshold refuses")
    far: Fraction = Field(0.01, description="share of other people that it lets pass")


class CoverageLimits(Section):
    """What photos are told to lack."""

    fewest: Count = Field(2, description="photos that each pose, to either side, should have")
    one_sided: Fraction = Field(0.60, description="share of the photos that one kind may have")
    kinds: Count = Field(3, description="kinds of an aspect that should be there")
    sure: Fraction = Field(0.60, description="probability from which on CLIP's answer is believed")
    framing: tuple[tuple[str, Fraction], ...] = Field(
        (("close-up", 0.45), ("portrait", 0.25), ("half-length", 0.12), ("full-length", 0.0)),
        description="every framing with the smallest height of the face, in heights of the photo",
    )
