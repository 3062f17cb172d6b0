"""conf/models/: every weight that can be fetched, by source, licence, and size and sha256 of its files."""

import json
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Self

from pydantic import AfterValidator, Field, TypeAdapter, ValidationError, model_validator

from stages.contracts.artifact import first_problem
from stages.contracts.paths import REGISTRY, SEEN
from stages.contracts.settings import Section, parse, read_yaml
from stages.runtime.errors import UserError
from stages.runtime.files import write_json


def _inside(path: str) -> str:
    if not path or path != PurePosixPath(path).as_posix() or {"", ".", ".."} & set(path.split("/")):
        raise ValueError("not a path inside the model's folder")
    return path


Inside = Annotated[str, AfterValidator(_inside)]
"""A file's path inside its model's folder, with forward slashes."""
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Part(Section):
    """One file of a model; null where nobody could say."""

    size: int | None = Field(None, ge=0, description="bytes")
    sha256: Sha256 | None = None
    source: Inside | None = Field(None, alias="from", description="its name at the source, when that is another one")


class Model(Section):
    """One set of weights: a folder that settings name, and where its files come from."""

    folder: Path = Field(description="models/base/NAME or models/judges/NAME: a path that DVC can track")
    licence: str = Field(min_length=1, description="SPDX identifier, or the licence's own name")
    non_commercial: bool = Field(description="the licence forbids commercial use")
    hub: str | None = Field(None, pattern=r"^[\w.-]+/[\w.-]+$", description="repository of the Hugging Face hub")
    revision: str | None = Field(None, pattern=r"^[0-9a-f]{40}$", description="commit of that repository")
    url: str | None = Field(None, pattern=r"^https?://\S+$", description="instead of hub: the folder of the files")
    files: dict[Inside, Part] = Field(min_length=1)
    writes: dict[Inside, dict[str, Any]] = Field(
        default_factory=dict, description="small JSON files that the source lacks and the folder needs"
    )

    @model_validator(mode="after")
    def _has_one_source(self) -> Self:
        if (self.hub is None) == (self.url is None) or (self.hub is None) != (self.revision is None):
            raise ValueError("name one source: hub with revision, or url")
        if set(self.writes) & set(self.files):
            raise ValueError("a file is either fetched or written")
        return self

    @property
    def size(self) -> int:
        """Bytes of the files whose size is known."""
        return sum(part.size or 0 for part in self.files.values())

    def written(self) -> dict[str, str]:
        """The text of every file that is written rather than fetched."""
        return {path: json.dumps(values, indent=2) + "\n" for path, values in self.writes.items()}


def read_registry(folder: Path = REGISTRY) -> dict[str, Model]:
    """Every model of ``folder`` by its name, which is its file's, sorted.

    Raises:
        UserError: when there is none, or naming every wrong key of the first file that does not follow the schema.
    """
    paths = sorted(folder.glob("*.yaml"), key=lambda path: path.stem.lower())
    if not paths:
        raise UserError(folder, "holds no models", "start the command in the workspace, the folder with params.yaml")
    return {path.stem: _read_model(path) for path in paths}


def _read_model(path: Path) -> Model:
    model = parse(Model, read_yaml(path), path)
    if model.folder.as_posix() not in (f"models/base/{path.stem}", f"models/judges/{path.stem}"):
        raise UserError(path, f"folder: {model.folder}", f"models/base/{path.stem} or models/judges/{path.stem}")
    return model


class Hash(Section):
    """What a file was when it was fetched for the first time."""

    size: int = Field(ge=0, description="bytes")
    sha256: Sha256


Seen = dict[str, dict[str, Hash]]
"""Model -> file -> hash, of the files that conf/models could not pin."""


def read_seen(path: Path = SEEN) -> Seen:
    """What was seen at first fetches; empty when nothing was.

    Raises:
        UserError: when the file does not follow the schema.
    """
    if not path.exists():
        return {}
    try:
        return TypeAdapter(Seen).validate_json(path.read_bytes())
    except ValidationError as error:
        raise UserError(path, first_problem(error), "take it from git") from None


def write_seen(seen: Seen, path: Path = SEEN) -> None:
    """Write what was seen, sorted."""
    rows = {name: {file: files[file].model_dump() for file in sorted(files)} for name, files in sorted(seen.items())}
    write_json(path, rows)
