"""Pictures that show how a training goes: the same prompts and seeds at every checkpoint, and the trigger alone."""

import shutil
from pathlib import Path

from stages.backends.generate import open_generator
from stages.contracts.generation import ImageRequest
from stages.contracts.lora import describe_step
from stages.contracts.settings import Dataset, Machine
from stages.contracts.train_settings import Train
from stages.reports.montage import montage
from stages.runtime.pictures import read_picture, write_png

FOLDER = "samples"  # beside the LoRA files


class Sampler:
    """Draws with every checkpoint file as sweep and eval do, so that a sample looks like what the LoRA will draw.

    The last checkpoint is also drawn with the trigger word alone: what the LoRA makes of it without any help.
    """

    def __init__(self, train: Train, dataset: Dataset, machine: Machine, kept: Path, sheet: Path) -> None:
        """``kept``: folder where an interrupted run finds what it drew; ``sheet``: the labelled sheet of all."""
        self.train, self.dataset, self.machine, self.kept, self.sheet = train, dataset, machine, kept, sheet
        self.rows: dict[str, list[Path]] = {}

    def draw(self, step: int, lora: Path, *, last: bool) -> None:
        """Draw one checkpoint's samples into ``samples/`` beside it and renew the sheet.

        Raises:
            UserError: when they cannot be drawn.
        """
        samples = self.train.samples
        shots = [(prompt, seed) for prompt in samples.prompts for seed in samples.seeds]
        if shots:
            self.rows[f"step {describe_step(step)}: {len(samples.prompts)} prompts, {len(samples.seeds)} seeds"] = (
                self._draw(f"{step:08d}", lora, shots)
            )
        if last:
            probes = [("{trigger}", seed) for seed in samples.probe_seeds]
            self.rows[f"step {describe_step(step)}: {self.dataset.trigger} alone"] = self._draw("trigger", lora, probes)
        if self.rows:
            pictures = [[read_picture(path) for path in row] for row in self.rows.values()]
            write_png(self.sheet, montage(pictures, list(self.rows)))

    def _draw(self, name: str, lora: Path, shots: list[tuple[str, int]]) -> list[Path]:
        kept = [self.kept / f"{name}-{number:02d}.png" for number in range(len(shots))]
        missing = [place for place in kept if not place.exists()]
        requests = [self._request(lora, *shot) for shot, place in zip(shots, kept, strict=True) if place in missing]
        here = self.machine.model_copy(update={"ray_address": None})  # a few pictures, and this GPU has the memory
        generator = open_generator("diffusers", here, self.train.samples.micro_batch)
        for place, picture in zip(missing, generator.generate(requests), strict=True):
            write_png(place, picture)
        folder = lora.parent / FOLDER
        folder.mkdir(exist_ok=True)
        return [Path(shutil.copyfile(place, folder / place.name)) for place in kept]

    def _request(self, lora: Path, prompt: str, seed: int) -> ImageRequest:
        samples, side = self.train.samples, self.train.resolution
        words = {"trigger": self.dataset.trigger, "class_word": self.dataset.class_word}
        return ImageRequest(
            prompt=prompt.format(**words), negative_prompt="", seed=seed, base=self.train.base, lora=lora, strength=1.0,
            mode="lora", sampler=samples.sampler, steps=samples.steps, guidance=samples.guidance, width=side,
            height=side,
        )  # fmt: skip
