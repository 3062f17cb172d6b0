"""data/manifest.json: what the dataset is made of, photo by photo."""

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from stages.contracts.artifact import read_artifact
from stages.contracts.paths import MANIFEST
from stages.runtime.files import write_json


class Photo(BaseModel):
    """One photo with its caption."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    filename: str = Field(description="relative to the photo folder, with forward slashes")
    sha256: str
    size_bytes: int
    width: int = Field(description="px, as seen: after EXIF rotation")
    height: int
    caption_file: str = Field(description="relative to the captions folder")
    caption_text: str
    caption_sha256: str
    phash: str = Field(description="64-bit perceptual hash, 16 hexadecimal digits")
    picture: int = Field(0, description="photos with the same bytes or nearly the same perceptual hash share a number")
    group: int = Field(description="photos of one moment share a group; a group lies on one side of the split")
    split: Literal["train", "holdout"]
    sharpness: float = Field(0.0, description="variance of the Laplacian over the face, else over the photo")
    faces: int | None = Field(None, description="faces found; null: nobody looked")
    face_box: tuple[float, float, float, float] | None = Field(
        None, description="largest face: left, top, right, bottom as fractions of the upright photo; null: no face"
    )
    face_share: float | None = Field(None, description="largest face box over the photo's area, 0..1; null: no face")
    yaw: float | None = Field(
        None, description="degrees, positive: the largest face looks to the picture's right; null: no face"
    )
    aspects: dict[str, str] = Field(
        default_factory=dict, description="framing, expression, background, light: what the photo shows, or unknown"
    )
    nearest: str | None = Field(None, description="the photo that shows most nearly the same; null: nobody looked")
    nearest_similarity: float | None = Field(None, description="cosine of the two photos' CLIP embeddings")


class Summary(BaseModel):
    """The dataset at a glance."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    total_images: int
    total_captions: int
    unique_captions: int
    caption_distribution: dict[str, int] = Field(description="caption -> how many photos have it, most frequent first")
    mean_image_size_bytes: float
    resolution_set: list[str] = Field(description="'WIDTHxHEIGHT', sorted")
    train_images: int
    holdout_images: int
    duplicates: list[list[str]] = Field(description="groups of files that are (nearly) the same picture")
    moments: list[list[str]] = Field(
        default_factory=list, description="groups of different pictures that show one moment"
    )
    warnings: list[str]
    coverage: dict[str, dict[str, int]] = Field(
        default_factory=dict, description="pose, framing, expression, background, light -> kind -> how many photos"
    )
    advice: list[str] = Field(default_factory=list, description="what photos to add")


class Manifest(BaseModel):
    """The dataset."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    trigger: str
    class_word: str
    photos: str = Field(description="the photo folder as params.yaml names it")
    captions: str
    images: list[Photo]
    summary: Summary

    def side(self, split: Literal["train", "holdout"]) -> list[Photo]:
        """The photos of one side of the split, sorted by file name."""
        return [photo for photo in self.images if photo.split == split]


def write_manifest(manifest: Manifest, path: Path = MANIFEST) -> None:
    """Write the manifest as JSON."""
    write_json(path, manifest.model_dump(mode="json"))


def read_manifest(path: Path = MANIFEST) -> Manifest:
    """Read a manifest.

    Raises:
        UserError: when it is missing or does not follow the schema.
    """
    return read_artifact(Manifest, path, "run `dvc repro manifest`", spoilt="write it again")
