"""Train a LoRA from the manifest: examples in, checkpoint files and a loss table out."""

import shutil
from dataclasses import dataclass
from pathlib import Path

from stages.contracts.lora import DATASET, SUFFIX, final_path, step_path, write_lora
from stages.contracts.lora_metadata import build_metadata, read_noise
from stages.contracts.manifest import Manifest, Photo
from stages.contracts.paths import REGULARIZATION
from stages.contracts.regularization import ClassImage
from stages.contracts.settings import Train
from stages.contracts.training import Checkpoint, Example, Examples, Step, Trainer
from stages.runtime.errors import UserError
from stages.runtime.files import replacing, write_text
from stages.runtime.progress import Progress
from stages.runtime.provenance import hash_file

ROWS = 100  # about so many rows in the loss table
COLUMNS = ("step", "loss", "prior_loss", "holdout_loss", "learning_rate", "d")


def _photo(folder: Path, photo: Photo) -> Example:
    path = folder / photo.filename
    if not path.is_file():
        raise UserError(path, "is in the manifest, but not there", "run `dvc repro manifest`")
    if hash_file(path) != photo.sha256:
        raise UserError(path, "is not the photo that the manifest describes", "run `dvc repro manifest`")
    return Example(path, photo.caption_text)


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

    name: str
    manifest: Path
    folder: Path
    loss: Path


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


def _empty(folder: Path) -> None:
    """Remove an earlier training's files: its checkpoints must not mix with this one's."""
    folder.mkdir(parents=True, exist_ok=True)
    for path in [*folder.glob(f"*{SUFFIX}"), folder / DATASET]:
        path.unlink(missing_ok=True)


def train_lora(train: Train, trainer: Trainer, examples: Examples, target: Target) -> Path:
    """Train, and write the checkpoints, the manifest's copy beside them and the loss table; return the final file.

    Nothing is removed or written before the first step has shown that base and pictures can be used.

    Raises:
        UserError: when the base, the settings or a picture cannot be used.
    """
    noise, manifest_sha256 = read_noise(train.base), hash_file(target.manifest)
    table, progress = LossTable(target.loss, train.steps), Progress("train", train.steps)
    numbers: dict[str, float] = {}
    final = final_path(target.name, target.folder)
    for event in trainer.train(examples):
        match event:
            case Step(step=0):
                _empty(target.folder)
                with replacing(target.folder / DATASET) as beside:
                    shutil.copyfile(target.manifest, beside)
                table.add(event)
            case Step():
                table.add(event)
                shown = {"loss": event.loss, "holdout": event.holdout_loss, "rate": event.learning_rate}
                numbers |= {name: value for name, value in shown.items() if value is not None}
                progress.advance(1, **numbers)
            case Checkpoint(step=step, tensors=tensors):
                last = step == train.steps
                path = final if last else step_path(target.name, step, target.folder)
                write_lora(path, tensors, build_metadata(target.name, train, examples, noise, manifest_sha256, step))
    return final
