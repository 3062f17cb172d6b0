"""What workers are asked to do: opened once on each of them, then done for one item after another."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stages.runtime.errors import UserError
from stages.runtime.provenance import hash_unchanged


@dataclass(frozen=True)
class Task:
    """``open(*arguments)`` gives the function that does one item; all of it can be pickled."""

    what: str  # in a message: "drawing"
    open: Callable[..., Callable[[Any], Any]]  # of a module, so that it is sent by its name
    arguments: tuple[Any, ...]  # values whose ``repr`` says all of them

    @property
    def key(self) -> str:
        """Tells tasks apart; settings that hold a mapping have no hash."""
        return f"{self.open.__module__}.{self.open.__qualname__}{self.arguments!r}"


@dataclass(frozen=True)
class Item:
    """One piece of work, and the files that must be on the worker what they are here."""

    value: Any
    files: tuple[tuple[Path, str], ...] = ()  # path, as this program has it, and sha256


def hash_files(paths: set[Path]) -> tuple[tuple[Path, str], ...]:
    """What a worker's files must be."""
    return tuple((path, hash_unchanged(path)) for path in sorted(paths))


def require_same_files(item: Item, node: str) -> None:
    """Refuse to work with other models than the driver has.

    Raises:
        UserError: naming the first path that is missing on ``node``, or holds something else there.
    """
    for path, sha256 in item.files:
        todo = f"bring it there: dvc pull in {Path.cwd()}, or share one volume"
        if not path.exists():
            raise UserError(path, f"is not there on the worker {node}", todo)
        if hash_unchanged(path) != sha256:
            raise UserError(path, f"is another one on the worker {node}", todo)
