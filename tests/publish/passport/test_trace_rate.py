"""Done means 2: copies of drawn pictures are traced, and nobody else's picture is claimed."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import binomtest

from bench.bad_copies import copy_badly
from miniature.places import DEVELOPMENT, WEIGHTS
from miniature.render import render, sample_identity, sample_scene
from publish.passport.fingerprints import take_fingerprint
from publish.passport.search import Shelf, find_copies
from stages.backends.generate import open_generator
from stages.backends.sdxl import open_pipeline
from stages.backends.train.adapters import add_lora, export_lora, lora_layers
from stages.contracts.generation import ImageRequest
from stages.contracts.lora import write_lora
from stages.contracts.lora_names import TEXT_ENCODER, TEXT_ENCODER_2, UNET
from stages.contracts.publish_settings import Publish
from stages.contracts.settings import Machine, Train

BASE = WEIGHTS / "base"
LEAST = Publish().trace
TRIES = 200
PROMPTS = [
    f"a woman, {face}, {clothes}, {place} background, close-up, daylight light"
    for face, clothes in (("smiling", "red shirt"), ("neutral", "blue jacket"), ("frowning", "green shirt"))
    for place in ("studio", "beach", "city", "forest", "night", "room")
]


def write_some_lora(path: Path) -> None:
    """A LoRA that changes pictures a little: its second matrices are drawn, in place of training."""
    pipeline = open_pipeline(BASE, torch.float32)
    models = {name: getattr(pipeline, name) for name in (UNET, TEXT_ENCODER, TEXT_ENCODER_2)}
    torch.manual_seed(0)
    for name, model in models.items():
        add_lora(name, model, Train(version="t", base=BASE, rank=4, alpha=4.0, layers="all", checkpoint_every=1))
        for _, layer in lora_layers(model):
            torch.nn.init.normal_(layer.lora_B["default"].weight, std=0.02)
    write_lora(path, export_lora(models, torch.float32), {})


def draw(requests: list[ImageRequest]) -> list[np.ndarray]:
    return list(open_generator("diffusers", Machine(threads=2), 16).generate(requests))


def ask(prompts: list[str], seeds: range, lora: Path | None) -> list[ImageRequest]:
    first = ImageRequest("", 0, BASE, lora, guidance=3.0, sampler="ddim", steps=4, width=64, height=64)
    return [replace(first, prompt=prompts[seed % len(prompts)], seed=seed) for seed in seeds]


@pytest.mark.slow
def test_copies_are_traced_to_their_own_picture_and_no_foreign_one_is_claimed(tmp_path: Path) -> None:
    """Published: 12 pictures of base and LoRA, 12 of the base, 76 rendered of one person.  Foreign: 12 and 12 of other
    seeds and prompts by the same models, 96 rendered of that person in other scenes, 80 of other people."""
    lora = tmp_path / "some.safetensors"
    write_some_lora(lora)
    drawn = draw(ask(PROMPTS[:9], range(12), lora) + ask(PROMPTS[:9], range(12, 24), None))
    others = draw(ask(PROMPTS[9:], range(100, 112), lora) + ask(PROMPTS[9:], range(112, 124), None))
    person = sample_identity(DEVELOPMENT[40])
    photos = [render(person, sample_scene(number), 64).image for number in range(172)]
    strangers = [render(sample_identity(DEVELOPMENT[n % 40]), sample_scene(n), 64).image for n in range(80)]
    published, foreign = drawn + photos[:76], others + photos[76:] + strangers
    assert len(foreign) >= TRIES
    shelf = Shelf(np.stack([take_fingerprint(pixels) for pixels in published]), np.ones(len(published)))
    generator, traced = np.random.default_rng(0), 0
    for number in range(TRIES):
        best = find_copies(copy_badly(published[number % len(published)], generator), shelf)[0]
        assert best.score < LEAST or best.row == number % len(published)
        traced += best.score >= LEAST
    assert binomtest(traced, TRIES).proportion_ci().low >= 0.95, traced
    claimed = [
        n for n, pixels in enumerate(foreign) if find_copies(copy_badly(pixels, generator), shelf)[0].score >= LEAST
    ]
    assert claimed == []
