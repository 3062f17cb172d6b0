"""Training by kohya's sd-scripts, in an environment of their own: we write the data, start them, and watch."""

import math
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from safetensors.numpy import load_file

from stages.backends.generate.lora import read_layers
from stages.backends.sdxl import check_base, open_skeleton
from stages.backends.train.board import Board
from stages.backends.train.kohya_files import NAME, Place
from stages.backends.train.kohya_options import build_options, list_refusals, uses_prior
from stages.backends.train.kohya_process import (
    BoardReader,
    Child,
    Scalars,
    find_scripts,
    last_progress,
    last_words,
    wait_a_moment,
)
from stages.backends.train.watch import Watch
from stages.contracts.lora import read_header
from stages.contracts.lora_metadata import read_noise
from stages.contracts.settings import Machine
from stages.contracts.train_settings import Train
from stages.contracts.training import Checkpoint, Event, Examples, Resumed, Step
from stages.runtime.errors import UserError

LOG = Path("logs/kohya.log")
D0 = 1e-6  # Prodigy's first estimate
SAVED, NO_DATA = "model saved.", "No data found"


class KohyaTrainer:
    """Trains a LoRA with sdxl_train_network.py.

    Unlike other trainers it does not promise the same bytes after an interruption: sd-scripts shuffles anew.
    """

    def __init__(self, train: Train, machine: Machine) -> None:
        """Check what can be checked without the pictures.

        Raises:
            UserError: when sd-scripts or the base are not there, or cannot do what the settings ask for.
        """
        refused = list_refusals(train, machine)
        if refused:
            raise UserError("train.backend kohya", "; ".join(refused), "change them, or use backend diffusers")
        self.script, self.python = find_scripts(machine)
        check_base(train.base)
        self.settings, self.machine = train, machine

    def train(self, examples: Examples, work: Path) -> Iterator[Event]:
        """Train; see contracts.training.Trainer."""
        self._check(examples)
        place = Place(work / "kohya")
        start, state = place.find_state()
        place.prepare(self.settings, examples)
        follower, watch = Follower(self.settings, place, start), Watch(self.settings, self.machine.device)
        command = self._command(place, state)
        with Child(command, LOG, self.machine) as child, Board(self.settings.version, start) as board:
            for event in follower.follow(child):
                yield event
                if isinstance(event, Step) and event.step:
                    board.add(event)
                    watch.add(event)

    def _check(self, examples: Examples) -> None:
        if not examples.train:
            raise UserError("train", "there are no photos to train on", "lower dataset.holdout_fraction")
        if uses_prior(self.settings) and not examples.prior:
            what = f"is {self.settings.prior_batch}, but there are no regularization images"
            raise UserError("train.prior_batch", what, "set it to 0, or regularize.source to base")

    def _command(self, place: Place, state: Path | None) -> list[str]:
        base = self.settings.base
        paths = {
            "--pretrained_model_name_or_path": base, "--dataset_config": place.dataset, "--output_dir": place.output,
            "--logging_dir": place.board, "--tokenizer_cache_dir": place.tokenizers,
        }  # fmt: skip
        command = [str(self.python), str(self.script), "--output_name", NAME]
        command += [word for name, path in paths.items() for word in (name, str(path.resolve()))]
        command += build_options(self.settings, read_noise(base))
        if self.settings.accumulate == 1:  # with more, it counts the steps wrong when it goes on
            command.append("--save_state")
        if state is not None:
            command += ["--resume", str(state.resolve()), "--skip_until_initial_step"]
        return command


class Follower:
    """Turns what the scripts log and write into steps and checkpoints, and what they pass over into errors."""

    def __init__(self, train: Train, place: Place, start: int) -> None:
        self.train, self.place, self.start = train, place, start
        self.models: Mapping[str, torch.nn.Module] = open_skeleton(train.base)
        self.board = BoardReader(place.board)
        self.told = start
        self.passes: list[Scalars] = []

    def follow(self, child: Child) -> Iterator[Event]:
        """Every event until the scripts end.

        Raises:
            UserError: when they ended without having done what was asked for.
        """
        ended = False
        while not ended:
            ended = child.code is not None  # asked before reading: what was written until then is seen
            for one in self.board.read(whole=ended):
                yield from self._take(one)
            if not ended:
                wait_a_moment()
        self._judge(child)
        yield self._checkpoint(None)

    def _take(self, one: Scalars) -> Iterator[Event]:
        self.passes.append(one)
        if len(self.passes) < self.train.accumulate or self.told == self.train.steps:
            return
        if self.told == self.start:
            yield Resumed(self.start) if self.start else self._first()
        self.told += 1
        if one.step != self.told:
            raise UserError(LOG, f"step {one.step} came after step {self.told - 1}", "remove the state; train anew")
        yield self._step()
        if self.told % self.train.checkpoint_every == 0 and self.told < self.train.steps:
            yield self._checkpoint(self.told)
            self.place.keep_state(self.told)

    def _first(self) -> Step:
        rate, prodigy = self.train.optimizer.learning_rate, self.train.optimizer.name == "prodigy"
        return Step(0, None, None, None, rate * D0 if prodigy else rate, D0 if prodigy else None)

    def _step(self) -> Step:
        loss = sum(one.values["loss/current"] for one in self.passes) / len(self.passes)
        values, self.passes = self.passes[-1].values, []
        if not math.isfinite(loss):
            what = f"the loss is {loss} at step {self.told} of sd-scripts"
            raise UserError("train", what, "lower the rate, or use bfloat16")
        rate, moved = _rate(values, "lr/"), _rate(values, "lr/d*lr/")
        if moved is None:
            return Step(self.told, loss, None, None, rate or 0.0, None)
        return Step(self.told, loss, None, None, moved, moved / rate if rate else None)

    def _judge(self, child: Child) -> None:
        """Refuse an end that is none: sd-scripts can fail with exit code 0."""
        lines, log = child.lines(), f"all of it is in {LOG}"
        if any(NO_DATA in line for line in lines):
            raise UserError("train", "sd-scripts found no pictures", log)
        if child.code != 0:
            shown = last_progress(lines)
            after = f" after step {shown[0]} of {shown[1]}" if shown else ""
            raise UserError("train", f"sd-scripts ended with code {child.code}{after}: {last_words(lines)}", log)
        if self.told < self.train.steps:
            what = f"sd-scripts ended after step {self.told} of {self.train.steps}: {last_words(lines)}"
            raise UserError("train", what, log)
        path = self.place.lora(None)
        if not path.is_file() or not any(SAVED in line for line in lines):
            raise UserError("train", f"sd-scripts ended without having saved {path.name}: {last_words(lines)}", log)
        step = read_header(path).step
        if step != self.train.steps:
            raise UserError(path, f"says that it has {step} steps, not {self.train.steps}", log)

    def _checkpoint(self, step: int | None) -> Checkpoint:
        """A LoRA file that they wrote, every key of it known.

        Raises:
            UserError: when it is missing, cut short, or holds keys that mean no module of the base.
        """
        path = self.place.lora(step)
        read_layers(path, self.models)
        return Checkpoint(step or self.train.steps, load_file(path))


def _rate(values: Mapping[str, float], kind: str) -> float | None:
    """The UNet's rate, or the first there is; ``kind`` is what stands before a part's name in the tag."""
    rates = {tag.removeprefix(kind): value for tag, value in values.items() if tag.startswith(kind)}
    parts = {part: value for part, value in rates.items() if "/" not in part}
    return parts.get("unet", next(iter(parts.values()), None))
