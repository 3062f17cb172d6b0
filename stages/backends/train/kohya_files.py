"""What sd-scripts reads and writes in the work folder: copies of the pictures, the dataset file, LoRAs and states."""

import json
import math
import os
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from stages.backends.train.kohya_options import uses_prior
from stages.contracts.lora import SUFFIX
from stages.contracts.train_settings import Train
from stages.contracts.training import Example, Examples
from stages.runtime.files import write_text
from stages.runtime.pictures import read_picture, write_png

NAME = "lora"  # --output_name
TOKENIZERS = {  # how sd-scripts names a tokenizer in its cache -> the base's folder
    "openai_clip-vit-large-patch14": "tokenizer",
    "laion_CLIP-ViT-bigG-14-laion2B-39B-b160k": "tokenizer_2",
}


@dataclass(frozen=True)
class Place:
    """The folder of one training: what lies where."""

    folder: Path

    @property
    def dataset(self) -> Path:
        """The dataset file."""
        return self.folder / "dataset.toml"

    @property
    def output(self) -> Path:
        """Where LoRA files and states are written."""
        return self.folder / "output"

    @property
    def board(self) -> Path:
        """Where the TensorBoard log is written."""
        return self.folder / "board"

    @property
    def tokenizers(self) -> Path:
        """The base's tokenizers, so that none is fetched."""
        return self.folder / "tokenizers"

    def lora(self, step: int | None) -> Path:
        """The LoRA file of a step; None: of the end."""
        return self.output / (f"{NAME}{SUFFIX}" if step is None else f"{NAME}-step{step:08d}{SUFFIX}")

    def prepare(self, train: Train, examples: Examples) -> None:
        """Write anew what is read, and remove what an interrupted run wrote, but for its state.

        Raises:
            UserError: when a picture cannot be read.
        """
        for folder in (self.output, self.board, self.folder / "photos", self.folder / "class_images", self.tokenizers):
            shutil.rmtree(folder, ignore_errors=True)
        self.output.mkdir(parents=True)
        for name, part in TOKENIZERS.items():
            if (train.base / part).is_dir():
                shutil.copytree(train.base / part, self.tokenizers / name)
        _write_pictures(self.folder / "photos", examples.train)
        prior = examples.prior if uses_prior(train) else ()
        _write_pictures(self.folder / "class_images", prior)
        write_text(self.dataset, describe_dataset(train, len(examples.train), self.folder, prior=bool(prior)))

    def keep_state(self, step: int) -> None:
        """Take the state of ``step`` as the one to go on from: everything up to it has been told."""
        written = self.output / f"{NAME}-step{step:08d}-state"
        if not written.is_dir():
            return
        os.replace(written, self.folder / f"state-{step:08d}")
        for number, older in self._states().items():
            if number < step:
                shutil.rmtree(older)

    def find_state(self) -> tuple[int, Path | None]:
        """The step after which the newest state was saved, and its folder; 0 and None where there is none."""
        states = self._states()
        return max(states.items(), default=(0, None))

    def _states(self) -> dict[int, Path]:
        found = ((re.fullmatch(r"state-(\d{8})", path.name), path) for path in self.folder.glob("state-*"))
        return {int(match[1]): path for match, path in found if match}


def _write_pictures(folder: Path, examples: Sequence[Example]) -> None:
    """Upright RGB copies with their captions beside them: sd-scripts heeds no EXIF and reads fewer formats."""
    folder.mkdir(parents=True)
    for number, example in enumerate(examples):
        write_png(folder / f"{number:05d}.png", read_picture(example.picture))
        write_text(folder / f"{number:05d}.txt", example.caption + "\n")


def describe_dataset(train: Train, photos: int, folder: Path, *, prior: bool) -> str:
    """The dataset file; what is not in it comes from the command line.

    A photo is repeated until one epoch holds the whole training: sd-scripts counts steps wrong when it goes on from a
    state of a later epoch.
    """
    repeats = math.ceil(train.steps * train.accumulate * train.batch / max(1, photos))
    lines = ["[[datasets]]", "", *_subset(folder / "photos", f"num_repeats = {repeats}")]
    if prior:  # class images are neither mirrored nor are their captions changed; they are dealt out by themselves
        plain = ("is_reg = true", "flip_aug = false", "shuffle_caption = false", "caption_dropout_rate = 0.0")
        lines += ["", *_subset(folder / "class_images", *plain)]
    return "\n".join(lines) + "\n"


def _subset(folder: Path, *lines: str) -> list[str]:
    place = json.dumps(str(folder.resolve()), ensure_ascii=False)  # TOML's basic strings are escaped as JSON's
    return ["  [[datasets.subsets]]", f"  image_dir = {place}", '  caption_extension = ".txt"',
            *(f"  {line}" for line in lines)]  # fmt: skip
