"""Parity names what makes ComfyUI's pictures others than ours: diffusers plays ComfyUI, with one thing changed."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from comfyui_worlds import request

from stages.backends.generate import open_generator
from stages.backends.generate.diffusers import DiffusersGenerator
from stages.backends.suspects import Suspect, list_suspects, suspected
from stages.contracts.generation import Generator, ImageRequest
from stages.contracts.settings import ComfyUI, Machine
from stages.flows import parity
from stages.flows.parity import compare_backends

MACHINE = Machine(threads=1)


class Changed:
    """diffusers that does something to every request before it draws it."""

    def __init__(self, generator: Generator, **change: Any) -> None:
        self.generator, self.change = generator, change

    def generate(self, requests: Sequence[ImageRequest]) -> Iterator[np.ndarray]:
        return self.generator.generate([replace(request, **self.change) for request in requests])


@pytest.fixture
def asked(tiny_base: Path) -> list[ImageRequest]:
    return [request(tiny_base, seed=seed, steps=4, guidance=4.0) for seed in (1, 2)]


def play(monkeypatch: pytest.MonkeyPatch, theirs: Any, asked: list[ImageRequest]) -> parity.Parity:
    def open_one(backend: str, *given: Any) -> Any:
        return theirs if backend == "comfyui" else open_generator(backend, *given)

    monkeypatch.setattr(parity, "open_generator", open_one)
    return compare_backends(asked, MACHINE, ComfyUI(), lambda _: None)


def test_the_same_pictures_are_the_same_and_no_suspect_is_tried(
    monkeypatch: pytest.MonkeyPatch, asked: list[ImageRequest]
) -> None:
    found = play(monkeypatch, open_generator("diffusers", MACHINE, 1), asked)
    assert found.same
    assert [trial.name for trial in found.trials] == ["as set"]
    assert found.verdict == "The same pictures: 0.00 levels of 255 apart in the mean, 0 at most."


def test_every_suspect_is_caught_when_it_did_it(monkeypatch: pytest.MonkeyPatch, asked: list[ImageRequest]) -> None:
    base = asked[0].base
    theirs = DiffusersGenerator(MACHINE, 1)
    suspects = [
        s for s in list_suspects(theirs.open_base(base), empty_negative=True) if s.kind in ("spacing", "negative")
    ]
    assert len(suspects) == 3
    for suspect in suspects:
        with suspected(theirs, base, suspect):
            found = play(monkeypatch, theirs, asked)
        assert not found.same, suspect
        assert found.verdict.startswith(suspect.cause), (suspect, found.verdict)


def test_a_lora_that_is_not_applied_is_named(
    monkeypatch: pytest.MonkeyPatch, asked: list[ImageRequest], trained_lora: Path
) -> None:
    strong = [replace(each, lora=trained_lora) for each in asked]
    theirs = Changed(open_generator("diffusers", MACHINE, 1), strength=0.0)
    found = play(monkeypatch, theirs, strong)
    assert "does not apply the LoRA" in found.verdict
    half = Changed(open_generator("diffusers", MACHINE, 1), strength=0.5)
    assert "at half its strength" in play(monkeypatch, half, strong).verdict


def test_other_noise_has_nothing_in_common(monkeypatch: pytest.MonkeyPatch, asked: list[ImageRequest]) -> None:
    found = play(monkeypatch, Changed(open_generator("diffusers", MACHINE, 1), seed=99), asked)
    assert "nothing in common" in found.verdict
    assert found.trials[1].name == "other starting noise"


def test_a_vae_in_half_precision_is_a_small_difference(tiny_base: Path, asked: list[ImageRequest]) -> None:
    suspect = Suspect("VAE in bfloat16", "", "vae")
    generator = DiffusersGenerator(MACHINE, 1)
    whole = list(generator.generate(asked))
    with suspected(generator, tiny_base, suspect):
        half = list(generator.generate(asked))
    assert np.array_equal(whole, list(generator.generate(asked)))
    apart = np.abs(np.asarray(whole).astype(int) - np.asarray(half)).mean()
    assert 0 < apart < 3


def test_a_prompt_that_diffusers_cuts_is_named(monkeypatch: pytest.MonkeyPatch, asked: list[ImageRequest]) -> None:
    long = [replace(each, prompt=", ".join(["a woman, smiling"] * 40)) for each in asked]
    theirs = Changed(open_generator("diffusers", MACHINE, 1), prompt="a woman, smiling, red shirt")
    assert (
        "diffusers cuts prompts that ComfyUI reads whole: 'a woman, smiling" in play(monkeypatch, theirs, long).verdict
    )
