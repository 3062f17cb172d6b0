"""data/regularization/: class images with their captions, listed in an index."""

from collections.abc import Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from stages.contracts.artifact import first_problem
from stages.contracts.paths import REGULARIZATION
from stages.runtime.errors import UserError
from stages.runtime.files import write_json

INDEX = "index.json"
TODO = "run `dvc repro regularize`"


class ClassImage(BaseModel):
    """One class image: somebody else of the class word, never the person."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    file: str = Field(description="relative to the regularization folder, with forward slashes")
    caption: str = Field(description="without the trigger word")
    sha256: str


def write_index(folder: Path, images: Sequence[ClassImage]) -> None:
    """Write the index of a folder of class images, sorted by file."""
    listed = sorted(images, key=lambda image: image.file)
    write_json(folder / INDEX, [image.model_dump(mode="json") for image in listed])


def read_regularization(folder: Path = REGULARIZATION) -> list[ClassImage]:
    """The class images of a folder, sorted by file; an empty list when there are none.

    Raises:
        UserError: when the index is missing or wrong, or a file that it lists is missing.
    """
    try:
        images = TypeAdapter(list[ClassImage]).validate_json((folder / INDEX).read_bytes())
    except FileNotFoundError:
        raise UserError(folder / INDEX, "not found", TODO) from None
    except ValidationError as error:
        raise UserError(folder / INDEX, first_problem(error), TODO) from None
    for image in images:
        if not (folder / image.file).is_file():
            raise UserError(folder / image.file, "listed in the index, but not there", TODO)
    return images
