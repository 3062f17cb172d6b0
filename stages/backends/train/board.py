"""TensorBoard: the curves of a training while it runs (`tensorboard --logdir logs/tensorboard`)."""

from pathlib import Path
from typing import Any, Self

from stages.contracts.training import Step

FOLDER = Path("logs/tensorboard")


class Board:
    """Writes every step's numbers; a resumed training overwrites what was told after its last save."""

    def __init__(self, name: str, start: int, *, enabled: bool = True) -> None:
        self.name, self.start, self.enabled = name, start, enabled
        self.writer: Any = None

    def __enter__(self) -> Self:
        if self.enabled:
            from torch.utils.tensorboard import SummaryWriter

            self.writer = SummaryWriter(FOLDER / self.name, purge_step=self.start + 1)
        return self

    def add(self, step: Step) -> None:
        """Tell the board one step."""
        if self.writer is None:
            return
        values = {
            "loss/train": step.loss, "loss/regularization": step.prior_loss, "loss/holdout": step.holdout_loss,
            "rate/effective": step.learning_rate, "rate/prodigy_d": step.d,
        }  # fmt: skip
        for name, value in values.items():
            if value is not None:
                self.writer.add_scalar(name, value, step.step)

    def __exit__(self, *error: object) -> None:
        if self.writer is not None:
            self.writer.close()
