"""What a trainer is given and what it tells: examples in, steps and checkpoints out."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np


@dataclass(frozen=True)
class Example:
    """One picture to learn from."""

    picture: Path
    caption: str
    mask: Path | None = None  # picture of the same size: white counts
    face: tuple[float, float, float, float] | None = None  # box: left, top, right, bottom, fractions of the picture


@dataclass(frozen=True)
class Examples:
    """What a LoRA is trained on, and the photos that only measure it."""

    train: tuple[Example, ...]
    holdout: tuple[Example, ...] = ()
    prior: tuple[Example, ...] = ()  # regularization images


@dataclass(frozen=True)
class Resumed:
    """An interrupted training goes on: everything up to ``step`` was told before."""

    step: int


@dataclass(frozen=True)
class Step:
    """What one optimizer step showed; step 0 is the state before the first."""

    step: int
    loss: float | None  # of the training photos, weighted as it was trained; None at step 0
    prior_loss: float | None  # of the regularization images, without prior_weight; None without them
    holdout_loss: float | None  # of the holdout photos at fixed noise; None where it was not measured
    learning_rate: float  # what the parameters moved by: Prodigy's rate times d
    d: float | None  # Prodigy's estimate of the distance to the solution; None for other optimizers


@dataclass(frozen=True)
class Checkpoint:
    """The LoRA after ``step`` steps, under the names of contracts.lora_names."""

    step: int
    tensors: dict[str, np.ndarray]


Event = Resumed | Step | Checkpoint


class Trainer(Protocol):
    """Trains LoRAs.  The same examples and settings give the same bytes, wherever a run was interrupted."""

    def train(self, examples: Examples, work: Path) -> Iterator[Event]:
        """Yield a Step for every step from 0 on, and a Checkpoint after each step that asks for one and the last.

        Args:
            examples: what to train on.
            work: folder of this very training's unfinished work, kept when the process dies.  A trainer may save its
                state there, always after it has told everything up to that step; if it finds one, it yields Resumed
                first and goes on from there.

        Raises:
            UserError: before the first event, when the base model or a picture cannot be used.
        """
        ...
