"""What the worker asks of whoever draws."""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from publish.serve.job import Job
from stages.runtime.errors import UserError


@dataclass(frozen=True)
class Verdict:
    """What became of one picture."""

    sha256: str  # of the file that was saved; empty: rejected, and nothing was saved
    reasons: tuple[str, ...]  # why it was rejected


class NotAllowed(UserError):
    """The subject card does not allow drawing, or not any more."""


class Drawer(Protocol):
    """Draws, gates, saves and stamps pictures.  The same job and number are the same picture, whatever was before."""

    def draw(self, job: Job, number: int, path: Path) -> Verdict:
        """Draw the job's picture with the seed of ``number``; when it is approved, it lies at ``path``, stamped.

        Raises:
            Refused: when the prompt policy refuses the prompt.
            NotAllowed: when the subject card does not allow it.
            UserError: when a setting or a file does not.
        """
        ...


def picture_path(output: Path, job: str, picture: int) -> Path:
    """Where a delivered picture of a job lies; its record lies beside it."""
    return output / job / f"{job}_{picture:03d}.png"
