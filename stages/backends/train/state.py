"""The state of a training: everything that the next step depends on, saved whole or not at all."""

import os
import time
from pathlib import Path
from typing import Any

import torch

from stages.runtime.errors import UserError
from stages.runtime.files import replacing

FILE = "state.pt"


def save_state(folder: Path, state: dict[str, Any]) -> None:
    """Write ``state`` atomically, and onto the disk: what was saved survives the machine."""
    with replacing(folder / FILE) as beside:
        torch.save(state, beside)
        with beside.open("rb+") as stream:
            os.fsync(stream.fileno())


def load_state(folder: Path) -> dict[str, Any] | None:
    """The saved state, on the CPU; None where there is none.

    Raises:
        UserError: when the file cannot be read.
    """
    path = folder / FILE
    if not path.exists():
        return None
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises whatever the damaged bytes lead it to
        what = f"a damaged state ({type(error).__name__})"
        raise UserError(path, what, "remove it: the training starts anew") from None
    return state


class Clock:
    """Says when the next save is due: ``seconds`` after the last one ended."""

    def __init__(self, seconds: float) -> None:
        self.seconds, self.last = seconds, time.monotonic()

    def due(self) -> bool:
        """Whether so much time has passed."""
        return time.monotonic() - self.last >= self.seconds

    def reset(self) -> None:
        """A save has just ended."""
        self.last = time.monotonic()
