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


@dataclass(frozen=True)
class Examples:
    """What a LoRA is trained on, and the photos that only measure it."""

    train: tuple[Example, ...]
    holdout: tuple[Example, ...] = ()
    prior: tuple[Example, ...] = ()  # regularization images


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


class Trainer(Protocol):
    """Trains LoRAs.  The same examples and settings give the same bytes."""

    def train(self, examples: Examples) -> Iterator[Step | Checkpoint]:
        """Yield a Step for every step from 0 on, and a Checkpoint after each step that asks for one and the last.

        Raises:
            UserError: before the first Step, when the base model or a picture cannot be used.
        """
        ...
