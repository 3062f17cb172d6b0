"""Train a LoRA from the manifest: examples in, checkpoint files, a loss table and sample pictures out."""

import json
import shutil
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from stages.contracts.lora import DATASET, final_path, step_path, write_lora
from stages.contracts.lora_metadata import build_metadata, read_noise
from stages.contracts.manifest import Manifest, Photo
from stages.contracts.paths import REGULARIZATION
from stages.contracts.regularization import ClassImage
from stages.contracts.settings import Dataset, Machine
from stages.contracts.train_settings import Train
from stages.contracts.training import Checkpoint, Example, Examples, Resumed, Step, Trainer
from stages.flows.samples import Sampler
from stages.runtime.errors import UserError
from stages.runtime.files import replacing, write_text
from stages.runtime.pictures import mask_path
from stages.runtime.progress import Progress
from stages.runtime.provenance import describe_code, hash_file, hash_json, hash_path
from stages.runtime.state import find_work, work_folder

ROWS = 100  # about so many rows in the loss table
COLUMNS = ("step", "loss", "prior_loss", "holdout_loss", "learning_rate", "d")


def _photo(folder: Path, photo: Photo) -> Example:
    path = folder / photo.filename
    if not path.is_file():
        raise UserError(path, "is in the manifest, but not there", "run `dvc repro manifest`")
    if hash_file(path) != photo.sha256:
        raise UserError(path, "is not the photo that the manifest describes", "run `dvc repro manifest`")
    mask = mask_path(path)
    return Example(path, photo.caption_text, mask if mask.is_file() else None, photo.face_box)


def gather_examples(
    photos: Path, manifest: Manifest, class_images: list[ClassImage], regularization: Path = REGULARIZATION
) -> Examples:
    """What the manifest says to train on and to measure with, and the class images.

    Raises:
        UserError: when a photo is missing, or another one than the manifest's.
    """
    return Examples(
        train=tuple(_photo(photos, photo) for photo in manifest.side("train")),
        holdout=tuple(_photo(photos, photo) for photo in manifest.side("holdout")),
        prior=tuple(Example(regularization / image.file, image.caption) for image in class_images),
    )


@dataclass(frozen=True)
class Target:
    """Where a training's files go, and what their headers say besides the settings."""

    dataset: Dataset
    manifest: Path
    folder: Path
    loss: Path
    samples: Path  # the labelled sheet of samples

    def path(self, step: int, last: int) -> Path:
        """The LoRA file of a step."""
        name = self.dataset.name
        return final_path(name, self.folder) if step == last else step_path(name, step, self.folder)


class LossTable:
    """The loss table: a row every few steps with the means since the row before, and wherever holdout was measured."""

    def __init__(self, path: Path, steps: int) -> None:
        self.path, self.steps, self.every = path, steps, max(1, steps // ROWS)
        self.lines = [",".join(COLUMNS)]
        self.waiting: list[Step] = []

    def add(self, step: Step) -> None:
        """Take a step in, and write the table when a row is due."""
        self.waiting.append(step)
        if step.step % self.every and step.step != self.steps and step.holdout_loss is None:
            return
        losses = [s.loss for s in self.waiting if s.loss is not None]
        priors = [s.prior_loss for s in self.waiting if s.prior_loss is not None]
        values = (_mean(losses), _mean(priors), step.holdout_loss, step.learning_rate, step.d)
        self.lines.append(",".join([str(step.step), *("" if value is None else f"{value:.6g}" for value in values)]))
        self.waiting = []
        write_text(self.path, "\n".join(self.lines) + "\n")


def _mean(values: list[float]) -> float | None:
    return sum(values) / len(values) if values else None


class Record:
    """Every step that was told, one JSON line each, in the work folder: what a resumed training does not tell again."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "steps.jsonl"

    def add(self, step: Step) -> None:
        """Append a step; the line is the operating system's when this returns."""
        with self.path.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(asdict(step)) + "\n")

    def restart(self, upto: int) -> list[Step]:
        """Forget what came after step ``upto`` and return the steps from 0 to it.

        Raises:
            UserError: when they are not all there.
        """
        lines = self.path.read_text(encoding="utf-8").splitlines() if self.path.exists() else []
        steps = [Step(**json.loads(line)) for line in lines[: upto + 1]]
        if [step.step for step in steps] != list(range(upto + 1)):
            raise UserError(self.path, "does not tell every step", f"remove {self.path.parent}: training starts anew")
        write_text(self.path, "".join(f"{line}\n" for line in lines[: upto + 1]))
        return steps


def training_fingerprint(train: Train, machine: Machine, trainer: Trainer, examples: Examples, target: Target) -> str:
    """The hash of everything that the bytes of a training's result depend on."""
    pictures = [[example.caption, hash_file(example.picture)] for example in examples.prior]
    masks = [example.mask and hash_file(example.mask) for example in examples.train]  # each in its photo's place
    settings = [train.model_dump(mode="json"), target.dataset.model_dump(mode="json", exclude={"photos"})]
    computed_by = [machine.device, machine.compile, machine.threads, machine.processes, describe_code(type(trainer))]
    return hash_json([settings, computed_by, hash_file(target.manifest), pictures, masks, hash_path(train.base)])


class Output:
    """A training's files as they grow; the checkpoints lie in the work folder too, for a resumed run."""

    def __init__(self, train: Train, examples: Examples, target: Target, work: Path, sampler: Sampler) -> None:
        self.train, self.target, self.work, self.sampler = train, target, work, sampler
        self.header = (target.dataset.name, train, examples, read_noise(train.base), hash_file(target.manifest))
        self.table, self.record = LossTable(target.loss, train.steps), Record(work)
        self.progress = Progress("train", train.steps)
        self.numbers: dict[str, float] = {}

    def begin(self) -> None:
        """Remove an earlier training's files: its checkpoints and samples must not mix with this one's."""
        folder = self.target.folder
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        with replacing(folder / DATASET) as beside:
            shutil.copyfile(self.target.manifest, beside)

    def resume(self, step: int) -> None:
        """Take over what the interrupted run told and saved up to ``step``."""
        print(f"train: resumed at step {step}", file=sys.stderr)
        for told in self.record.restart(step):
            self.table.add(told)
        for number in self._checkpoints(step):
            self._publish(number)
        self.progress = Progress("train", self.train.steps, done=step)

    def _checkpoints(self, upto: int) -> Iterator[int]:
        every, last = self.train.checkpoint_every, self.train.steps
        yield from (step for step in range(1, upto + 1) if step % every == 0 or step == last)

    def add(self, step: Step) -> None:
        """Write a step down and show it."""
        self.record.add(step)
        self.table.add(step)
        shown = {"loss": step.loss, "holdout": step.holdout_loss, "rate": step.learning_rate}
        self.numbers |= {name: value for name, value in shown.items() if value is not None}
        if step.step:
            self.progress.advance(1, **self.numbers)

    def keep(self, checkpoint: Checkpoint) -> None:
        """Write a checkpoint, and draw with it."""
        step = checkpoint.step
        write_lora(self._kept(step), checkpoint.tensors, build_metadata(*self.header, step))
        self._publish(step)

    def _kept(self, step: int) -> Path:
        return self.work / "lora" / self.target.path(step, self.train.steps).name

    def _publish(self, step: int) -> None:
        path = self.target.path(step, self.train.steps)
        with replacing(path) as beside:
            shutil.copyfile(self._kept(step), beside)
        self.sampler.draw(step, path, last=step == self.train.steps)


def train_lora(train: Train, machine: Machine, trainer: Trainer, examples: Examples, target: Target) -> Path:
    """Train, and write checkpoints, the manifest's copy, the loss table and the samples; return the final file.

    Nothing is removed or written before the first event has shown that base and pictures can be used.  A killed
    training goes on where its state was last saved, and ends with the same bytes.

    Raises:
        UserError: when the base, the settings or a picture cannot be used, or another process trains the very same.
    """
    fingerprint = training_fingerprint(train, machine, trainer, examples, target)
    with work_folder(machine.state_dir, "train", fingerprint) as work:
        sampler = Sampler(train, target.dataset, machine, work / "samples", target.samples)
        output = Output(train, examples, target, work, sampler)
        for event in trainer.train(examples, work):
            match event:
                case Resumed(step=step):
                    output.begin()
                    output.resume(step)
                case Step():
                    if event.step == 0:
                        output.record.path.unlink(missing_ok=True)
                        output.begin()
                    output.add(event)
                case Checkpoint():
                    output.keep(event)
    return target.path(train.steps, train.steps)


def follow(train: Train, machine: Machine, trainer: Trainer, examples: Examples, target: Target) -> None:
    """Train beside the process that leads and writes."""
    fingerprint = training_fingerprint(train, machine, trainer, examples, target)
    for _ in trainer.train(examples, find_work(machine.state_dir, "train", fingerprint)):
        pass
