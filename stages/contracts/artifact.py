"""What artifacts in JSON have in common: closed models, and one line about a file that is missing or spoilt."""

from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from stages.runtime.errors import UserError

M = TypeVar("M", bound=BaseModel)


class Closed(BaseModel):
    """Part of an artifact: unknown keys are errors, values never change."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def first_problem(error: ValidationError) -> str:
    """Where the first thing that is wrong stands, and what it is."""
    first = error.errors()[0]
    return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"


def read_artifact(model: type[M], path: Path, todo: str, spoilt: str | None = None) -> M:
    """Read a JSON file as ``model``.

    Args:
        model: what the file must follow.
        path: of the file.
        todo: what the user can do when it is missing.
        spoilt: the same when it does not follow the model; default ``todo``.

    Raises:
        UserError: when it is missing or does not follow the model.
    """
    try:
        return model.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        raise UserError(path, "not found", todo) from None
    except ValidationError as error:
        raise UserError(path, first_problem(error), spoilt or todo) from None
