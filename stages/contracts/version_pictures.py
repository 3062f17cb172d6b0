"""metrics/versions/<name>/pictures.csv: which prompt and seed each small copy of a version shows."""

import csv
import io
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from stages.runtime.errors import UserError
from stages.runtime.files import write_text

INDEX = "pictures.csv"  # beside the folder pictures/, in the version's folder


class VersionPicture(BaseModel):
    """One small copy that a version keeps."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    picture: str = Field(description="file name in pictures/", pattern=r"^[\w.-]+$")
    prompt_index: int
    seed: int


def write_version_pictures(folder: Path, pictures: list[VersionPicture]) -> None:
    """Write the index of the version in ``folder``."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(VersionPicture.model_fields), lineterminator="\n")
    writer.writeheader()
    writer.writerows(picture.model_dump() for picture in pictures)
    write_text(folder / INDEX, text.getvalue())


def read_version_pictures(folder: Path) -> dict[tuple[int, int], Path]:
    """(prompt_index, seed) -> small copy, of the version in ``folder``; empty where it kept no index.

    Raises:
        UserError: naming the first line that does not follow the schema.
    """
    path = folder / INDEX
    if not path.is_file():
        return {}
    found = {}
    with path.open(newline="", encoding="utf-8") as stream:
        for number, row in enumerate(csv.DictReader(stream), start=2):
            try:
                picture = VersionPicture.model_validate(row)
            except ValidationError as error:
                first = error.errors()[0]
                what = f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
                raise UserError(f"{path}:{number}", what, "restore the file from git") from None
            found[picture.prompt_index, picture.seed] = folder / "pictures" / picture.picture
    return found
