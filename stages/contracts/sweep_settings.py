"""The ``sweep`` section: which settings are drawn, on which seeds they are ranked and on which confirmed."""

from pathlib import Path
from typing import Annotated, Literal, get_args

from pydantic import Field, ValidationInfo, field_validator

from stages.contracts.section import Count, Door, Sampler, Section, Seed

Mode = Literal["lora", "lora+instantid", "lora+ipadapter"]
MODES: tuple[str, ...] = get_args(Mode)


class Draw(Section):
    """How pictures are drawn, in sweep, eval and batch alike."""

    backend: Literal["diffusers", "comfyui"] | Door = Field("diffusers", description="who draws")
    resolution: Count = Field(1024, description="side of a picture, px")
    steps: Count = Field(30, description="sampler steps per picture")
    negative_prompt: str = Field("", description="what the pictures should not show")
    micro_batch: Count = Field(
        4, description="pictures per forward pass, padded to this size; ComfyUI draws one at a time"
    )
    vae_tile: Annotated[int, Field(ge=64, multiple_of=64)] | None = Field(
        None,
        description="px; decode pictures in tiles of this side, which saves memory and changes pixels; null: whole",
    )


class Sweep(Draw):
    """The grid of settings that is drawn and scored.  Its prompts and seeds are its own, never eval's."""

    bases: tuple[Path, ...] = Field(min_length=1, description="base model folders")
    modes: tuple[Mode, ...] = Field(
        ("lora",), description="what conditions a picture besides the prompt; backend diffusers knows lora alone"
    )
    checkpoints: tuple[int, ...] = Field((), description="training steps; empty: every checkpoint that was saved")
    guidance: tuple[Annotated[float, Field(ge=1)], ...] = Field(
        (5.0,), min_length=1, description="classifier-free guidance scales; 1 is without"
    )
    samplers: tuple[Sampler, ...] = Field(("euler",), min_length=1, description="how pictures are drawn")
    strengths: tuple[Annotated[float, Field(ge=0, le=2)], ...] = Field(
        (1.0,), min_length=1, description="what the LoRA is multiplied by; 1 is as trained"
    )
    prompts: tuple[str, ...] = Field(min_length=1, description="{trigger} and {class_word} are filled in")
    seeds: tuple[Seed, ...] = Field(min_length=1, description="of the pictures that say who is drawn again")
    confirm_seeds: tuple[Seed, ...] = Field(
        min_length=1, description="fresh ones: what may be the best is drawn again, and its figures are of these"
    )
    leaders: Count = Field(12, description="cells that are drawn again, at most: the best and what may be as good")
    strategy: Literal["grid", "race"] = Field("grid", description="race: a cell that loses is drawn no further")
    block: Count = Field(4, description="race: pictures of a cell between two tests; a multiple of micro_batch is fast")
    order_seed: Seed = Field(0, description="race: of the order in which prompts and seeds are drawn")

    @field_validator("confirm_seeds")
    @classmethod
    def _fresh(cls, confirm: tuple[int, ...], info: ValidationInfo) -> tuple[int, ...]:
        used = sorted(set(confirm) & set(info.data.get("seeds", ())))
        if used:
            raise ValueError(f"{', '.join(map(str, used))} stand in seeds already; a choice is confirmed on fresh ones")
        return confirm

    @field_validator("seeds", "confirm_seeds")
    @classmethod
    def _once(cls, seeds: tuple[int, ...]) -> tuple[int, ...]:
        if len(set(seeds)) < len(seeds):
            raise ValueError("a seed stands there twice; the same picture again tells nothing")
        return seeds
