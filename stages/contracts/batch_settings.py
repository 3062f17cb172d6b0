"""The ``batch`` section: what `pistachio batch` draws when the command line does not say otherwise."""

from typing import Annotated, Self

from pydantic import Field, model_validator

from stages.contracts.section import Count, Section, Seed
from stages.contracts.sweep_settings import Draw

Prompt = Annotated[str, Field(pattern=r"\S")]


class Batch(Draw):
    """Pictures for use: which prompts, and how many.  Who is drawn and with which settings a version or sweep says."""

    prompts: tuple[Prompt, ...] = Field(min_length=1, description="{trigger} and {class_word} are filled in")
    count: Count = Field(4, description="pictures of each prompt where until is null, or --count says so")
    until: Count | None = Field(
        None, description="draw one more picture of each prompt, round after round, until so many are accepted"
    )
    most: Count = Field(200, description="pictures after which until is given up (--max)")
    seed: Seed = Field(0, description="of all seeds; a prompt's depend on its text alone")

    @model_validator(mode="after")
    def _reachable(self) -> Self:
        if self.until is not None and self.until > self.most:
            raise ValueError(f"most: {self.most} pictures cannot hold {self.until} accepted ones")
        return self


class BatchLimits(Section):
    """Which picture of a batch is approved, beside thresholds.face_pass, second_pass and flags.closer_than."""

    faces: Count = Field(1, description="faces in a picture, at most")
    realism: Annotated[float, Field(ge=0, le=1)] = Field(0.30, description="skin realism, at least")
    adherence: Annotated[float, Field(ge=-1, le=1)] = Field(
        0.15, description="cosine of picture and prompt, at least; every CLIP has a scale of its own"
    )
    sharpness: Annotated[float, Field(ge=0)] = Field(
        0.15, description="sharpness of the face in shares of the holdout photos' median, at least"
    )
    duplicate_bits: Annotated[int, Field(ge=0, le=64)] = Field(
        6, description="bits in which the perceptual hashes of near-duplicates differ, at most ..."
    )
    duplicate_similarity: Annotated[float, Field(ge=-1, le=1)] = Field(
        0.95, description="... and cosine of their CLIP embeddings, at least: a near-duplicate is both"
    )
