"""The training loop: a LoRA on a frozen SDXL base, with diffusers, peft and accelerate."""

from collections.abc import Iterator
from pathlib import Path

import torch

from stages.backends.sdxl import check_base
from stages.backends.train.board import Board
from stages.backends.train.memory import check_memory
from stages.backends.train.optimizer import effective_rate
from stages.backends.train.run import Run
from stages.backends.train.state import Clock
from stages.backends.train.watch import Watch
from stages.contracts.settings import Machine
from stages.contracts.train_settings import Train
from stages.contracts.training import Event, Examples, Resumed, Step
from stages.runtime.errors import UserError


class DiffusersTrainer:
    """Trains a LoRA in kohya's form on an SDXL base."""

    def __init__(self, train: Train, machine: Machine) -> None:
        """Check what can be checked without the pictures.

        Raises:
            UserError: when the base is missing, or the training would not fit into the device's memory.
        """
        check_base(train.base)
        self.settings, self.machine = train, machine

    def train(self, examples: Examples, work: Path) -> Iterator[Event]:
        """Train; see contracts.training.Trainer."""
        train = self.settings
        self._check(examples)
        make_repeatable(self.machine)
        check_memory(train, self.machine)
        run = Run(train, self.machine, examples)
        start = run.resume(work)
        if start:
            yield Resumed(start)
        else:
            yield Step(0, None, None, run.holdout_loss(), *effective_rate(run.optimizer.optimizer))
        yield from self._steps(run, start, work)

    def _check(self, examples: Examples) -> None:
        if not examples.train:
            raise UserError("train", "there are no photos to train on", "lower dataset.holdout_fraction")
        if self.settings.prior_batch and self.settings.prior_weight and not examples.prior:
            what = f"is {self.settings.prior_batch}, but there are no regularization images"
            raise UserError("train.prior_batch", what, "set it to 0, or regularize.source to base")

    def _steps(self, run: Run, start: int, work: Path) -> Iterator[Event]:
        train, clock, watch = self.settings, Clock(self.machine.save_seconds), Watch(self.settings, self.machine.device)
        with Board(train.version, start, enabled=run.leads) as board:
            for number in range(start + 1, train.steps + 1):
                step = run.advance(number)
                yield step
                board.add(step)
                watch.add(step)
                due = number % train.checkpoint_every == 0 or number == train.steps
                if due:
                    yield run.checkpoint(number)
                if run.leads and (due or clock.due()):
                    run.save(work, number)
                    clock.reset()


def make_repeatable(machine: Machine) -> None:
    """The same kernels every time, so that the same training gives the same bytes."""
    if machine.device.startswith("cuda"):
        torch.backends.cudnn.benchmark = False
        torch.use_deterministic_algorithms(True, warn_only=True)
        _fill_no_memory()


def _fill_no_memory() -> None:
    """Deterministic PyTorch writes NaN into memory that it hands out empty: time for what nobody reads."""
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
