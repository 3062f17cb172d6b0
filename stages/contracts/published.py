"""data/published.jsonl: one row per picture that was given a passport, only ever appended, kept out of git."""

import os
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock
from pydantic import Field, ValidationError

from stages.contracts.artifact import Closed, first_problem
from stages.contracts.paths import PUBLISHED
from stages.contracts.production import PictureRecord
from stages.runtime.errors import UserError

LOCK_SUFFIX = ".lock"


class Published(Closed):
    """One picture with a passport, and what finds it again when a copy has lost it."""

    picture: str = Field(description="path of the file, relative to the workspace where it lies inside")
    file_sha256: str = Field(description="of the stamped file")
    record_sha256: str = Field(description="of the record, whatever the order of its keys")
    stamped_at: str = Field(description="UTC, ISO 8601")
    record: PictureRecord
    fingerprint: str = Field(
        pattern=r"^[A-Za-z0-9+/]{4096}$", description="32 x 32 RGB pixels in base64 (publish/passport/fingerprints.py)"
    )


def append_published(row: Published, path: Path = PUBLISHED) -> None:
    """Append one line and see it on the disk; programs that do so at once wait for each other."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path.with_name(path.name + LOCK_SUFFIX)), path.open("a+b") as stream:
        # A line that a full disk or a kill cut short must not swallow the next one.
        end = stream.seek(0, os.SEEK_END)
        torn = end > 0 and (stream.seek(end - 1), stream.read(1))[1] != b"\n"
        stream.write((b"\n" if torn else b"") + row.model_dump_json().encode() + b"\n")
        stream.flush()
        os.fsync(stream.fileno())


def parse_published(line: bytes, where: str) -> Published:
    """One line of the index.

    Raises:
        UserError: naming ``where``, when it does not follow the schema.
    """
    try:
        return Published.model_validate_json(line)
    except ValidationError as error:
        raise UserError(
            where, first_problem(error), "remove the line; the picture is stamped again by a new run"
        ) from None


def read_published(path: Path = PUBLISHED) -> Iterator[Published | UserError]:
    """Every row, oldest first, and in the place of each broken one what is wrong with it; nothing without an index.

    A picture that was stamped again has several rows: the last one counts.
    """
    if not path.exists():
        return
    with path.open("rb") as stream:
        for number, line in enumerate(stream, start=1):
            if line.strip():
                try:
                    yield parse_published(line, f"{path}:{number}")
                except UserError as error:
                    yield error
