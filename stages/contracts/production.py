"""What is known of one picture made for use: where it comes from, how it scored, and whether it was accepted."""

from pathlib import Path

from pydantic import Field

from stages.contracts.artifact import Closed, read_artifact
from stages.runtime.files import write_json

SIDECAR = ".json"  # NAME.png has its record in NAME.json beside it


class Origin(Closed):
    """Everything that decided one picture, and what leads back to photos and consent."""

    batch: str = Field(description="12 hexadecimal digits of the batch, or the job of `pistachio serve`")
    prompt: str = Field(description="as it was asked for: {trigger} and {class_word} may stand in it")
    text: str = Field(description="as it was drawn")
    negative_prompt: str
    seed: int
    version: str = Field(description="the LoRA's version, or its file's name")
    lora: str = Field(description="path of the LoRA file")
    lora_sha256: str
    base: str = Field(description="folder of the base model")
    base_sha256: str = Field(description="of its files' names and hashes")
    strength: float
    mode: str
    guidance: float
    sampler: str
    steps: int
    width: int = Field(description="px")
    height: int = Field(description="px")
    reference_sha256: str = Field("", description="of the photo that conditioned the face; empty: none did")
    manifest_sha256: str = Field(description="of the dataset that the LoRA was trained from; unknown: from elsewhere")
    subject_sha256: str = Field(description="of the subject card under which it was drawn")
    backend: str


class Scores(Closed):
    """What the judges say about one picture; 0 where there is no face to judge."""

    faces: int = Field(description="faces in the picture")
    similarity: float = Field(description="mean raw cosine to the holdout photos, face pack")
    second_similarity: float
    realism: float = Field(description="skin, 0..1")
    adherence: float = Field(description="CLIP cosine of picture and prompt")
    sharpness: float = Field(description="in shares of the reference photos' median; below 1: more blurred")
    nearest_file: str = Field("", description="accepted picture of the batch that it is most like; empty: none")
    nearest_bits: int | None = Field(None, description="of 64 in which their perceptual hashes differ")
    nearest_similarity: float | None = Field(None, description="cosine of their CLIP embeddings")
    nearest_photo: str = Field("", description="training photo that it is closest to")
    closeness: float | None = Field(None, description="to it, in spreads among real photos (measures/memorisation.py)")
    safety: float | None = Field(None, description="of policy.classifier, above its limits; null: none looked")


class PictureRecord(Closed):
    """NAME.json beside NAME.png."""

    file: str = Field(description="the picture's name, without a folder")
    pixels_sha256: str = Field(description="of its uint8 RGB pixels, row by row: the same in every file format")
    origin: Origin
    scores: Scores
    approved: bool
    reasons: tuple[str, ...] = Field((), description="why it was rejected, one line each; empty: it was not")


def record_path(picture: Path) -> Path:
    """Where the record of a picture lies: beside it."""
    return picture.with_suffix(SIDECAR)


def read_record(picture: Path) -> PictureRecord:
    """The record beside ``picture``.

    Raises:
        UserError: when it is missing or does not follow the schema.
    """
    return read_artifact(PictureRecord, record_path(picture), "only pictures of `pistachio batch` have one")


def write_record(picture: Path, record: PictureRecord) -> None:
    """Write the record of ``picture`` beside it, atomically."""
    write_json(record_path(picture), record.model_dump(mode="json"))
