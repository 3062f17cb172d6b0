"""metrics/calibration.json: what the judges' raw cosines mean for this person."""

from pathlib import Path

from pydantic import Field

from stages.contracts.artifact import Closed, read_artifact
from stages.contracts.paths import CALIBRATION
from stages.runtime.files import write_json


class Rate(Closed):
    """How often something happened, with the exact interval of Clopper and Pearson at 95%."""

    count: int
    trials: int
    rate: float | None = Field(description="null: there were no trials")
    low: float
    high: float


class Threshold(Closed):
    """The similarity that one in so many other people reaches, as far as the sample knows it."""

    far: float = Field(description="the false accept rate that is wanted")
    value: float | None = Field(description="null: with so few other people it lies beyond all of them")
    low: float | None = Field(description="95% interval from order statistics; null: the sample is too small for it")
    high: float | None
    frr: Rate = Field(description="real photos of the person that this threshold would refuse")
    needed: int = Field(description="other people that an interval at both ends takes")


class JudgeCalibration(Closed):
    """One judge.  Scores are mean cosines to the holdout photos, as of pictures."""

    threshold: float = Field(description="thresholds.face_pass or second_pass")
    genuine: list[float] = Field(description="training photos, one of each moment, sorted")
    impostor: list[float] = Field(description="other people's faces, sorted")
    frr: Rate = Field(
        description="photos of the person that the threshold refuses; a face that is not found is refused"
    )
    far: Rate = Field(description="other people that it lets pass")
    strict: Threshold
    warnings: list[str]


class Calibration(Closed):
    """Genuine against impostor scores of one person under both judges."""

    dataset: str
    references: int = Field(description="holdout photos with a face")
    class_images: int = Field(description="of the impostors, faces of data/regularization")
    base_pictures: int = Field(description="of the impostors, faces that the base model drew")
    faces: JudgeCalibration
    second: JudgeCalibration


def write_calibration(calibration: Calibration, path: Path = CALIBRATION) -> None:
    """Write the calibration as JSON."""
    write_json(path, calibration.model_dump(mode="json"))


def read_calibration(path: Path = CALIBRATION) -> Calibration:
    """Read a calibration.

    Raises:
        UserError: when it is missing or does not follow the schema.
    """
    return read_artifact(Calibration, path, "run `dvc repro eval`")
