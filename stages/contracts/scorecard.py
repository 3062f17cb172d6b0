"""metrics/scorecard.json and metrics/per_image.csv: what eval says about one version."""

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from stages.contracts.artifact import read_artifact
from stages.contracts.findings import (
    Agreement,
    Anchors,
    Diversity,
    Flag,
    Interval,
    JudgeName,
    Memorisation,
    PoseFigures,
)
from stages.contracts.paths import SCORECARD, SWEEP_CHOICE
from stages.runtime.files import write_json

__all__ = ["Anchors", "Interval"]

PER_IMAGE_COLUMNS = (
    # lora: the version; base: the base model alone; class: the version without the trigger; same prompts, seeds, noise
    "set",
    "prompt_index", "prompt", "seed", "file",
    "face_found",  # 0 or 1
    "similarity",  # mean raw cosine to the holdout photos, face pack; 0 where no face is found
    "second_similarity",  # the same under the second judge
    "likeness",  # similarity on the ruler: 0 base, 100 real
    "second_likeness",
    "passed",  # 1 where similarity >= thresholds.face_pass
    "texture_score", "color_naturalness_score", "realism_score",  # skin, 0..1; 0 where no face is found
    "adherence",  # CLIP cosine of picture and prompt
    "prior_preservation",  # 100 minus the likeness of the version's picture of this prompt and seed without the trigger
    # From here on a cell is empty where no face is found, or where there is nothing to compare with.
    "yaw",  # degrees, positive: looks to the picture's right
    "pose",  # frontal, half profile, profile; no face
    "texture_z", "tone_z",  # skin in spreads of the references: below 0 smoother, paler; above 0 rougher, more coloured
    "diversity",  # mean CLIP distance (1 - cosine) to the other pictures of the same prompt in the same set
    "pose_diversity",  # the same of the five landmarks' shapes: pose and expression
    "nearest_photo",  # the training photo that it is closest to, by CLIP and perceptual hash together
    "nearest_similarity",  # CLIP cosine to that photo
    "nearest_bits",  # bits of 64 in which their perceptual hashes differ, mirrored or not
    "closeness",  # both together in spreads among real photos: measures/memorisation.py
    "memorised",  # 1 where it is closer than thresholds.flags.closer_than of real photos are
)  # fmt: skip


class Settings(BaseModel):
    """One cell of the sweep: the settings to use a LoRA with."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    base: str
    mode: str
    checkpoint: int = Field(description="training step, 0: unknown; the LoRA file that was used")
    lora: str = Field(description="path of the LoRA file")
    guidance: float
    sampler: str
    strength: float
    reference: str = Field("", description="photo that conditioned the face; empty where the mode has none")


class Cell(Settings):
    """A cell with its scores over the sweep's prompts and seeds."""

    images: int
    similarity_mean: float
    pass_rate: float
    detection_rate: float


class Tied(Cell):
    """A cell that fresh pictures do not tell from the best, with its scores on them."""

    cell: int = Field(description="its number in metrics/sweep_summary.csv")
    p_worse: float = Field(description="of being worse than the best of them, Holm-adjusted; 1 for the best itself")


class Confirmation(BaseModel):
    """How a choice was confirmed on fresh seeds, on which nothing had been chosen."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    naive: Cell = Field(description="best on the first seeds, with their scores: flattered by having been chosen")
    naive_again: Cell = Field(description="the same cell's scores on the fresh seeds")
    left_out: int = Field(description="cells that may be as good and were not drawn again: sweep.leaders are the most")
    images: int = Field(description="fresh pictures of each")
    level: float = Field(description="p below which a cell is worse (paired Student's t, one-sided, Holm)")


class Choice(BaseModel):
    """metrics/sweep_choice.json: the settings that eval judges."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    best: Cell = Field(description="chosen: of the tied the best on the first seeds; its scores are the fresh seeds'")
    worst: Cell = Field(description="on the first seeds")
    cells: int
    images: int = Field(description="all that were drawn")
    strategy: Literal["grid", "race"] = "grid"
    tied: tuple[Tied, ...] = Field((), description="best on the fresh seeds and what is like it; cheapest first")
    confirmed: tuple[int, ...] = Field((), description="numbers of the cells that were drawn again, best first")
    confirmation: Confirmation | None = Field(None, description="None where there was one cell and nothing to choose")
    overfits_from: int | None = Field(None, description="training step; None where the curve shows no overfitting")


class Scorecard(BaseModel):
    """How good one version is, and what it was made from."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    run_id: str = Field(description="12 hexadecimal digits from what went in: the same inputs have the same id")
    lora_version: str
    lora_sha256: str
    protocol: str = Field(description="sha256 of how it was measured; figures of two protocols are never compared")
    dataset: str
    dataset_manifest_sha256: str
    lora_dataset: str = Field(
        "",
        description="sha256 of the manifest it was trained from; unknown: a LoRA from elsewhere; empty: not recorded",
    )
    training_params: dict[str, Any]
    notes: str
    images_evaluated: int
    face_detection_rate: float
    face_similarity_mean: float
    face_similarity_interval: Interval
    face_similarity_pass: float = Field(description="share of pictures at or above thresholds.face_pass")
    second_similarity_mean: float
    second_similarity_interval: Interval
    likeness: float = Field(description="ruler, face pack: 0 base, 100 real, above 100 copying")
    likeness_interval: Interval
    second_likeness: float
    second_likeness_interval: Interval
    anchors: Anchors
    second_anchors: Anchors
    texture_score: float
    color_naturalness_score: float
    skin_realism_mean: float
    prompt_adherence_mean: float
    base_prompt_adherence_mean: float
    prior_preservation: float = Field(
        description="100: without the trigger the LoRA draws nobody in particular; 0: it draws this person"
    )
    prior_preservation_interval: Interval
    overall_score: float
    overall_grade: str
    best_config: Cell
    worst_config: Cell
    thresholds: dict[str, Any]
    licences: dict[str, str]
    gating_judge: JudgeName = Field("faces", description="whose likeness decides: not one that the generator was given")
    poses: dict[str, PoseFigures] = Field(default_factory=dict, description="the version's pictures, pose by pose")
    agreement: Agreement | None = None
    texture_z: float | None = Field(None, description="mean skin texture in spreads of the references, 0: as they are")
    tone_z: float | None = None
    diversity: Diversity | None = None
    memorisation: Memorisation | None = None
    flags: list[Flag] = []
    warnings: list[str] = Field([], description="what the reader should know about the measuring")

    def gate_likeness(self) -> tuple[float, Interval]:
        """Likeness and its interval by the judge that decides."""
        if self.gating_judge == "second":
            return self.second_likeness, self.second_likeness_interval
        return self.likeness, self.likeness_interval

    @property
    def comes_from_elsewhere(self) -> bool:
        """Whether it was trained on other photos than this manifest's, as far as anybody knows."""
        return self.lora_dataset not in ("", self.dataset_manifest_sha256)

    def raised_flags(self) -> list[Flag]:
        """The flags that are up."""
        return [flag for flag in self.flags if flag.raised]


def read_scorecard(path: Path = SCORECARD) -> Scorecard:
    """Read a scorecard.

    Raises:
        UserError: when it is missing or does not follow the schema.
    """
    return read_artifact(Scorecard, path, "run `dvc repro eval`")


def write_scorecard(scorecard: Scorecard, path: Path = SCORECARD) -> None:
    """Write the scorecard as JSON."""
    write_json(path, scorecard.model_dump(mode="json"))


def read_choice(path: Path = SWEEP_CHOICE) -> Choice:
    """Read the sweep's choice.

    Raises:
        UserError: when it is missing or does not follow the schema.
    """
    return read_artifact(Choice, path, "run `dvc repro sweep`")


def write_choice(choice: Choice, path: Path = SWEEP_CHOICE) -> None:
    """Write the sweep's choice as JSON."""
    write_json(path, choice.model_dump(mode="json"))
