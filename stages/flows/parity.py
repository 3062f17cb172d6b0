"""The same pictures through diffusers and through ComfyUI: how far apart, and what is the likely cause?

Every suspect is tried: diffusers draws once more with that one thing done otherwise.  The one that brings the pictures
together is the cause.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

import numpy as np

from stages.backends.generate import open_generator
from stages.backends.generate.diffusers import DiffusersGenerator
from stages.backends.suspects import find_long_prompt, list_suspects, suspected
from stages.contracts.generation import ImageRequest
from stages.contracts.lora_metadata import read_noise
from stages.contracts.samplers import find_counterpart
from stages.contracts.settings import ComfyUI, Machine
from stages.runtime.errors import UserError

SAME = 2.0  # levels of 255, mean: ComfyUI's SaveImage cuts off where ours rounds, and the two add up in another order
NEARER = 0.5  # a suspect is the cause where it brings the pictures to at most this share of the distance
UNRELATED = 0.8  # share of the distance to pictures of other noise from which on two have nothing in common
AS_SET, OTHER_NOISE = "as set", "other starting noise"


@dataclass(frozen=True)
class Trial:
    """How far ComfyUI's pictures are from diffusers' with one thing done otherwise there."""

    name: str
    mean: float  # levels of 255, over all pixels
    largest: float
    cause: str = ""


@dataclass(frozen=True)
class Parity:
    """What was found."""

    trials: tuple[Trial, ...]  # "as set" first, then as they were tried
    same: bool
    verdict: str
    comfyui: tuple[np.ndarray, ...]  # uint8 (H, W, 3)
    diffusers: tuple[np.ndarray, ...]


def compare_backends(
    requests: Sequence[ImageRequest], machine: Machine, comfyui: ComfyUI, tell: Callable[[str], None]
) -> Parity:
    """Draw ``requests`` with both, and with every suspect where they differ.

    Args:
        requests: of one base, mode lora.
        machine: devices and servers.
        comfyui: workflows.
        tell: is told what is being drawn.

    Raises:
        UserError: when one of the two cannot draw them.
    """
    tell(f"ComfyUI draws {len(requests)} pictures")
    theirs = tuple(open_generator("comfyui", machine, 1, comfyui).generate(requests))
    tell("diffusers draws them as set")
    diffusers = DiffusersGenerator(machine, 1)
    ours = tuple(diffusers.generate(requests))
    trials = [_measure(AS_SET, theirs, ours)]
    if trials[0].mean > SAME:
        for name, cause, drawn in _draw_suspects(requests, diffusers):
            trials.append(_measure(name, theirs, drawn, cause))
            tell(f"diffusers, {name}: {trials[-1].mean:.1f} levels apart")
    return Parity(tuple(trials), trials[0].mean <= SAME, _judge(trials, _known(requests, diffusers)), theirs, ours)


def _draw_suspects(
    requests: Sequence[ImageRequest], plain: DiffusersGenerator
) -> Iterator[tuple[str, str, Sequence[np.ndarray]]]:
    moved = [replace(request, seed=request.seed + 1) for request in requests]
    yield OTHER_NOISE, "", list(plain.generate(moved))
    if any(request.lora for request in requests):
        for factor, cause in LORA_CAUSES.items():
            scaled = [replace(request, strength=request.strength * factor) for request in requests]
            yield f"LoRA at {factor:g} of its strength", cause, list(plain.generate(scaled))
    base = requests[0].base
    for suspect in list_suspects(plain.open_base(base), empty_negative=not requests[0].negative_prompt):
        with suppress(UserError), suspected(plain, base, suspect):  # some bases draw no number when they are changed
            yield suspect.name, suspect.cause, list(plain.generate(requests))


LORA_CAUSES = {
    0.0: "ComfyUI does not apply the LoRA: does its log say 'lora key not loaded'?",
    0.5: "ComfyUI applies the LoRA at half its strength: look at its alphas",
    2.0: "ComfyUI applies the LoRA at twice its strength: look at its alphas",
}


def _measure(name: str, theirs: Sequence[np.ndarray], ours: Sequence[np.ndarray], cause: str = "") -> Trial:
    """The mean and the largest difference over all pictures.

    Raises:
        UserError: when they are of different sizes.
    """
    for a, b in zip(theirs, ours, strict=True):
        if a.shape != b.shape:
            raise UserError("parity", f"pictures of {a.shape[1]}x{a.shape[0]} and {b.shape[1]}x{b.shape[0]}")
    apart = [np.abs(a.astype(int) - b) for a, b in zip(theirs, ours, strict=True)]
    return Trial(name, float(np.mean([each.mean() for each in apart])), float(max(each.max() for each in apart)), cause)


def _known(requests: Sequence[ImageRequest], diffusers: DiffusersGenerator) -> str:
    """What cannot mean the same on the two sides: long prompts, other mathematics of the sampler; empty: nothing."""
    first = requests[0]
    texts = [text for request in requests for text in (request.prompt, request.negative_prompt)]
    long = find_long_prompt(diffusers.open_base(first.base), dict.fromkeys(texts))
    if long:
        return f"diffusers cuts prompts that ComfyUI reads whole: {long}"
    spacing = str(read_noise(first.base).get("timestep_spacing", "leading"))
    return find_counterpart(first.sampler, spacing).difference(first.steps)


def _judge(trials: Sequence[Trial], known: str) -> str:
    """The likely cause, in a sentence."""
    first, others = trials[0], trials[1:]
    if not others:
        return f"The same pictures: {first.mean:.2f} levels of 255 apart in the mean, {first.largest:.0f} at most."
    nearest = min((trial for trial in others if trial.cause), key=lambda trial: trial.mean)
    if nearest.mean <= NEARER * first.mean:
        return f"{nearest.cause} ({nearest.mean:.1f} levels apart then, {first.mean:.1f} as set)."
    noise = next(trial.mean for trial in others if trial.name == OTHER_NOISE)
    if first.mean >= UNRELATED * noise:
        return (
            "The pictures have nothing in common: is it the same checkpoint on both sides, and does the server make "
            "its starting noise on the CPU, as it does unless it is told otherwise?"
        )
    if known:
        return f"It cannot be the same on the two sides: {known}."
    return "None of the suspects: look for nodes in the workflow that change the picture, and at the server's options."
