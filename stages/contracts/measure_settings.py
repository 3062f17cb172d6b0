"""Sections of params.yaml that say who judges, and which numbers divide good from bad."""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from stages.contracts.batch_settings import BatchLimits
from stages.contracts.section import Count, Fraction, Positive, Section

Cosine = Annotated[float, Field(ge=-1, le=1)]
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


class Judge(Section):
    """Weights that judge, and the licence they come under."""

    path: Path = Field(description="file or folder of the weights")
    licence: str = Field(min_length=1, description="of the weights; copied into every scorecard")


class FacePack(Judge):
    """An InsightFace model pack: a folder with detector and recogniser."""

    detection_size: int = Field(640, ge=32, multiple_of=32, description="square input of the detector, px")
    pose: Pose = Pose()


class TextImage(Judge):
    """A CLIP, and what it is asked about the photos."""

    asks: dict[str, tuple[tuple[str, str], ...]] = Field(
        default_factory=dict,
        description="aspect -> labels, each with the text that CLIP is shown where no caption says it; empty: is not",
    )


class Judges(Section):
    """Who measures: the face pack, an independent second face judge, and CLIP for prompt adherence."""

    faces: FacePack
    second: Judge
    text_image: TextImage


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


class Weights(Section):
    """What the overall score is made of; the weights are divided by their sum."""

    likeness: Annotated[float, Field(ge=0)] = Field(0.7, description="weight of likeness, which counts at most as 1")
    skin: Annotated[float, Field(ge=0)] = Field(0.3, description="weight of skin realism")


class Grades(Section):
    """Smallest overall score of each grade; below D is F."""

    A: Fraction = Field(0.85, description="smallest overall score of an A")
    B: Fraction = Field(0.70, description="smallest overall score of a B")
    C: Fraction = Field(0.55, description="smallest overall score of a C")
    D: Fraction = Field(0.40, description="smallest overall score of a D; below it is F")

    def of(self, score: float) -> str:
        """The grade of an overall score in [0, 1]."""
        return next((g for g in "ABCD" if score >= getattr(self, g)), "F")


class Thresholds(Section):
    """Every number that divides good from bad."""

    face_pass: Cosine = Field(0.60, description="raw cosine of the face pack from which on a picture passes")
    second_pass: Cosine = Field(0.60, description="the same of the second judge, which the calibration tries")
    face_warn: Cosine = Field(
        0.50, description="raw cosine under which a picture would be called weak; no stage reads it yet"
    )
    texture: Fraction = Field(0.60, description="skin texture score that the report asks for")
    colour: Fraction = Field(0.55, description="skin colour score that the report asks for")
    realism: Fraction = Field(0.60, description="skin realism score that the report asks for")
    weights: Weights = Weights()
    grades: Grades = Grades()
    promotion_grade: Literal["A", "B", "C", "D"] = Field("C", description="lowest grade that `pistachio promote` takes")
    judges_apart: Positive = Field(15.0, description="ruler points from which on the two judges disagree")
    flags: FlagLimits = FlagLimits()
    calibration: CalibrationLimits = CalibrationLimits()
    coverage: CoverageLimits = CoverageLimits()
    batch: BatchLimits = BatchLimits()
