"""A sweep's pictures drawn by our generator, against a plain loop over diffusers' own pipeline, file by file.

Six cells (two strengths of a LoRA, three guidances), four prompts, four seeds; both write every picture as PNG.  The
loop is what diffusers' documentation shows: load the pipeline once, load_lora_weights, set_adapters per cell, one
picture per call.  Opening the base is part of neither; reading the LoRA is part of both.
"""

from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import DDIMScheduler, StableDiffusionXLPipeline
from PIL import Image

from bench.harness import Case
from miniature.places import WEIGHTS
from stages.backends.generate.diffusers import DiffusersGenerator
from stages.backends.sdxl import open_pipeline
from stages.backends.train.adapters import ADAPTER, add_lora, export_lora, lora_layers
from stages.contracts.generation import ImageRequest
from stages.contracts.lora import write_lora
from stages.contracts.lora_names import UNET
from stages.contracts.settings import Machine, Train
from stages.flows.scoring import Shot, draw

DOES = "96 pictures of a sweep: our generator against a plain diffusers loop, one picture at a time"
BASE = WEIGHTS / "base"
STRENGTHS, GUIDANCES, STEPS, SIDE, MICRO_BATCH, RANK = (0.8, 1.2), (2.0, 3.0, 4.0), 12, 64, 8, 16
LOOKS = ("smiling, green shirt", "neutral, red jacket", "frowning, glasses, blue shirt", "surprised, purple jacket")
SEEDS = (101, 102, 103, 104)
MEAN_LEVELS, LARGEST_LEVEL = 0.05, 6  # of 255: the LoRA is in the weights here, beside them there


def write_loras(folder: Path) -> tuple[Path, Path]:
    """One random LoRA in kohya's form for us and in diffusers' own for its loop: the same float16 numbers."""
    unet = open_pipeline(BASE, torch.float32).unet
    add_lora(UNET, unet, Train(version="bench", base=BASE, rank=RANK, layers="attention"))
    random, theirs = torch.Generator().manual_seed(0), {}
    for name, found in lora_layers(unet):
        layer: Any = found  # peft types everything as modules
        for half, key in ((layer.lora_A, "lora_A"), (layer.lora_B, "lora_B")):
            weight = half[ADAPTER].weight
            drawn = torch.randn(weight.shape, generator=random) * (0.5 / weight[0].numel() ** 0.5)
            weight.data = drawn.half().float()
            theirs[f"{name}.{key}.weight"] = weight.data
    ours = folder / "lora.safetensors"
    write_lora(ours, export_lora({UNET: unet}), {"modelspec.title": "bench"})
    StableDiffusionXLPipeline.save_lora_weights(folder / "diffusers", unet_lora_layers=theirs)
    return ours, folder / "diffusers"


def list_shots(lora: Path, folder: Path) -> list[Shot]:
    """Every picture, cell by cell, as the sweep stage asks for them."""
    shots: list[Shot] = []
    for (strength, guidance), look, seed in product(product(STRENGTHS, GUIDANCES), LOOKS, SEEDS):
        prompt = f"a woman, {look}, room background, portrait, daylight light"
        request = ImageRequest(
            prompt, seed, BASE, lora, strength, guidance=guidance, sampler="ddim", steps=STEPS, width=SIDE, height=SIDE
        )  # fmt: skip
        shots.append(Shot(request, 0, prompt, folder / f"{len(shots):03d}.png"))
    return shots


class Ours:
    """The stage's own drawing: generator, files, and what an interrupted run keeps."""

    def __init__(self, folder: Path, lora: Path) -> None:
        self.folder, self.lora, self.runs = folder, lora, 0
        self.generator = DiffusersGenerator(Machine(threads=torch.get_num_threads()), MICRO_BATCH)
        self.generator.open_base(BASE)

    def __call__(self) -> list[np.ndarray]:
        """All pictures, into an empty folder, with nothing remembered."""
        base, self.runs = self.generator.open_base(BASE), self.runs + 1
        base.prompts.clear()
        base.use(None, 0.0)
        base.file = None
        place = self.folder / f"run{self.runs}"
        return list(draw(self.generator, list_shots(self.lora, place / "images"), place / "kept"))


class Loop:
    """One call of the pipeline per picture."""

    def __init__(self, folder: Path, lora: Path) -> None:
        self.folder, self.lora = folder / "loop", lora
        self.folder.mkdir()
        self.pipeline = StableDiffusionXLPipeline.from_pretrained(
            BASE, torch_dtype=torch.float32, add_watermarker=False
        )
        self.pipeline.scheduler = DDIMScheduler.from_config(self.pipeline.scheduler.config)
        self.pipeline.set_progress_bar_config(disable=True)

    def __call__(self) -> list[np.ndarray]:
        """All pictures."""
        pictures = []
        self.pipeline.load_lora_weights(self.lora, adapter_name="bench")
        for shot in list_shots(self.lora, self.folder):
            one = shot.request
            self.pipeline.set_adapters(["bench"], [one.strength])
            picture: Image.Image = self.pipeline(
                one.prompt, generator=torch.Generator().manual_seed(one.seed), num_inference_steps=one.steps,
                guidance_scale=one.guidance, height=one.height, width=one.width,
            ).images[0]  # fmt: skip
            picture.save(shot.path)
            pictures.append(np.asarray(picture))
        self.pipeline.unload_lora_weights()
        return pictures


def differ(known: dict[str, float], ours: list[np.ndarray], theirs: list[np.ndarray]) -> str:
    """What is wrong with the pairs; how far they are apart is remembered in ``known``."""
    apart = [np.abs(a.astype(int) - b) for a, b in zip(ours, theirs, strict=True)]
    known["mean_levels"], known["largest_level"] = (
        max(float(a.mean()) for a in apart),
        max(float(a.max()) for a in apart),
    )
    near = known["mean_levels"] <= MEAN_LEVELS and known["largest_level"] <= LARGEST_LEVEL
    return "" if near else f"pictures are {known} apart"


def prepare(folder: Path) -> Case:
    """One case."""
    ours, theirs = write_loras(folder)
    known: dict[str, float] = {}
    count = len(list_shots(ours, folder))
    return Case(
        Ours(folder, ours), Loop(folder, theirs), partial(differ, known),
        f"every picture within {MEAN_LEVELS} levels on average and {LARGEST_LEVEL} at most", count,
        f"pictures of {SIDE} px, {STEPS} steps", aim=2.0,
        figures=lambda: known | {"threads": torch.get_num_threads(), "micro_batch": MICRO_BATCH},
    )  # fmt: skip
