"""What a batch is asked for: prompts of files, of the command line or of the settings."""

import csv
import io
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from stages.contracts.artifact import first_problem
from stages.contracts.batches import Wish
from stages.contracts.settings import Batch, parse
from stages.runtime.errors import UserError

COMMENT = "#"
FORMS = "one prompt per line; .csv with the columns prompt, negative_prompt, count; .json with a list"


@dataclass(frozen=True)
class Asked:
    """What the command line says; None and empty: as the settings say."""

    files: Sequence[Path] = ()
    prompts: Sequence[str] = ()
    lora: str | None = None  # a version's name, or a file
    count: int | None = None
    until: int | None = None
    most: int | None = None
    seed: int | None = None
    output: Path | None = None


def settle(batch: Batch, asked: Asked) -> Batch:
    """The settings of this run.

    Raises:
        UserError: when both a count and a number to reach are asked for, or a value is out of range.
    """
    if asked.count is not None and (asked.until is not None or asked.most is not None):
        raise UserError("--count", "is a fixed number of pictures, --until and --max wait for accepted ones", "say one")
    changes: dict[str, Any] = {"until": asked.until, "most": asked.most, "seed": asked.seed}
    changes = {key: value for key, value in changes.items() if value is not None}
    if asked.count is not None:
        changes = changes | {"count": asked.count, "until": None}
    return parse(Batch, batch.model_dump() | changes, "batch")


def gather_wishes(batch: Batch, asked: Asked) -> list[Wish]:
    """All prompts in order: those of the files, then of the command line; the settings' where there are none.

    Raises:
        UserError: when a file cannot be read or holds no prompt.
    """
    wishes = [wish for path in asked.files for wish in read_prompts(path)]
    wishes += [Wish(prompt=prompt) for prompt in asked.prompts]
    return wishes or [Wish(prompt=prompt) for prompt in batch.prompts]


def read_prompts(path: Path) -> list[Wish]:
    """The prompts of a file: text, CSV or JSON by its name.

    Raises:
        UserError: when it cannot be read, holds no prompt, or a line is not one.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise UserError(path, f"cannot be read ({why})", FORMS) from None
    match path.suffix.lower():
        case ".csv":
            wishes = _read_csv(text, path)
        case ".json":
            wishes = _read_json(text, path)
        case _:
            lines = (line.strip() for line in text.splitlines())
            wishes = [Wish(prompt=line) for line in lines if line and not line.startswith(COMMENT)]
    if not wishes:
        raise UserError(path, "holds no prompt", FORMS)
    return wishes


def _read_csv(text: str, path: Path) -> list[Wish]:
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    columns = list(reader.fieldnames or ())
    unknown = sorted(set(columns) - set(Wish.model_fields))
    if "prompt" not in columns or unknown:
        what = f"unknown column {', '.join(map(repr, unknown))}" if unknown else "no column prompt"
        raise UserError(path, what, FORMS)
    try:
        rows = [{key: value for key, value in row.items() if value or key == "prompt"} for row in reader]
    except csv.Error as error:
        raise UserError(path, f"not CSV: {error}", FORMS) from None
    return _parse(({"prompt": ""} | row for row in rows), path, "row")


def _read_json(text: str, path: Path) -> list[Wish]:
    try:
        values = json.loads(text)
    except ValueError as error:
        raise UserError(path, f"not JSON: {error}", FORMS) from None
    if not isinstance(values, list):
        raise UserError(path, "not a list", FORMS)
    return _parse(({"prompt": value} if isinstance(value, str) else value for value in values), path, "entry")


def _parse(values: Iterable[Any], path: Path, what: str) -> list[Wish]:
    wishes = []
    for number, value in enumerate(values, start=1):
        try:
            wishes.append(Wish.model_validate(value))
        except ValidationError as error:
            raise UserError(path, f"{what} {number}: {first_problem(error)}", FORMS) from None
    return wishes
