"""diffusers with one thing done otherwise: what could make another program draw another picture of the same request."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from stages.backends.generate.diffusers import Base, DiffusersGenerator

SPACINGS = ("leading", "linspace", "trailing")  # of noise levels, by diffusers' names


@dataclass(frozen=True)
class Suspect:
    """One change."""

    name: str
    cause: str  # what is to blame where the change brings the pictures together
    kind: str  # spacing, prediction, negative or vae
    value: str = ""


def list_suspects(opened: Base, *, empty_negative: bool) -> list[Suspect]:
    """The changes that are changes for this base."""
    spacing = str(opened.noise.get("timestep_spacing", "linspace"))
    suspects = [
        Suspect(
            f"{other} spacing",
            f"ComfyUI spaces noise levels as {other} would, the base says {spacing}",
            "spacing",
            other,
        )
        for other in SPACINGS
        if other != spacing
    ]
    velocity = opened.noise.get("prediction_type") == "v_prediction"
    other = "epsilon" if velocity else "v_prediction"
    cause = f"ComfyUI takes the base's prediction for {other}: is there a @noise node in the workflow?"
    suspects.append(Suspect(f"prediction of {other}", cause, "prediction", other))
    if empty_negative:
        habit = "the encoded empty text" if opened.pipeline.config.force_zeros_for_empty_prompt else "zeros"
        cause = f"ComfyUI takes an empty negative prompt as {habit}"
        suspects.append(Suspect(f"empty negative prompt as {habit}", cause, "negative"))
    cause = "ComfyUI decodes in lower precision: start it with --fp32-vae"
    suspects.append(Suspect("VAE in bfloat16", cause, "vae"))
    return suspects


def find_long_prompt(opened: Base, prompts: Iterable[str]) -> str:
    """A prompt that is longer than CLIP reads at once: diffusers cuts it, ComfyUI reads on; empty where none is."""
    tokenizer = opened.pipeline.tokenizer
    most = tokenizer.model_max_length - 2  # begin and end are tokens too
    counts = ((len(tokenizer(text).input_ids) - 2, text) for text in prompts)
    return next(
        (f"{text[:40]!r}... has {count} tokens, {most} are the most" for count, text in counts if count > most), ""
    )


@contextmanager
def suspected(generator: DiffusersGenerator, base: Path, suspect: Suspect) -> Iterator[DiffusersGenerator]:
    """The generator doing this one thing otherwise; one base is in memory, as two may not fit."""
    opened = generator.open_base(base)
    noise, vae, zeros = dict(opened.noise), opened.pipeline.vae, opened.pipeline.config.force_zeros_for_empty_prompt
    match suspect.kind:
        case "spacing":
            opened.noise["timestep_spacing"] = suspect.value
        case "prediction":
            opened.noise["prediction_type"] = suspect.value
        case "negative":
            _take_empty_for_zeros(opened, not zeros)
        case "vae":
            opened.pipeline.vae = _halved(vae)
    try:
        yield generator
    finally:
        opened.noise, opened.pipeline.vae = noise, vae
        _take_empty_for_zeros(opened, zeros)


def _take_empty_for_zeros(opened: Base, zeros: bool) -> None:
    opened.pipeline.register_to_config(force_zeros_for_empty_prompt=zeros)
    opened.prompts.clear()


def _halved(vae: Any) -> Any:
    half = deepcopy(vae).to(torch.bfloat16)
    whole = half.decode
    half.decode = lambda latents, **options: whole(latents.to(torch.bfloat16), **options)
    return half
