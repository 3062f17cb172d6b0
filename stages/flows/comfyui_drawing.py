"""Single pictures: one with a workflow, and those that two backends are compared by."""

from dataclasses import dataclass
from itertools import islice, product
from pathlib import Path
from typing import Any

from PIL import Image

from stages.backends.generate import open_generator
from stages.contracts.comfyui_settings import PLAIN
from stages.contracts.generation import ImageRequest
from stages.contracts.lora import final_path
from stages.contracts.protocol import fill
from stages.contracts.settings import ComfyUI, Dataset, Machine, Section, Sweep, read_machine, read_params
from stages.flows.permission import permit
from stages.runtime.errors import UserError
from stages.runtime.pictures import read_picture, write_png


class Params(Section):
    """The sections that say how to draw."""

    dataset: Dataset
    sweep: Sweep
    comfyui: ComfyUI


@dataclass(frozen=True)
class Wish:
    """One picture, as a person asks for it."""

    prompt: str
    workflow: Path | None  # None: that of mode lora
    lora: Path | None
    strength: float
    image: Path | None
    mask: Path | None
    denoise: float
    negative: str
    seed: int


def draw_one(wish: Wish, output: Path) -> tuple[int, int]:
    """Draw a wish with the sweep's first settings into ``output``; the picture's width and height, px.

    Raises:
        UserError: when it cannot be drawn.
    """
    params, machine = read_params(Params), read_machine()
    permit(params.dataset, [wish.prompt], wish.negative)
    comfyui = params.comfyui
    if wish.workflow is not None:
        comfyui = comfyui.model_copy(update={"workflows": {PLAIN: wish.workflow, "lora": wish.workflow}})
    width, height = _size(wish, params.sweep)
    request = ImageRequest(
        **_first(params, wish.lora), prompt=fill(wish.prompt, params.dataset), seed=wish.seed, strength=wish.strength,
        negative_prompt=wish.negative, width=width, height=height, image=wish.image, mask=wish.mask,
        denoise=wish.denoise, reference=comfyui.reference,
    )  # fmt: skip
    (picture,) = open_generator("comfyui", machine, 1, comfyui).generate([request])
    write_png(output, picture)
    return width, height


def plan_parity(count: int, lora: Path | None) -> tuple[list[ImageRequest], Machine, ComfyUI]:
    """What `pistachio parity` draws: the sweep's prompts and seeds with its first settings.

    Raises:
        UserError: when params.yaml or the LoRA cannot be read.
    """
    params = read_params(Params)
    permit(params.dataset, params.sweep.prompts, params.sweep.negative_prompt)
    shots = islice(product(params.sweep.seeds, params.sweep.prompts), count)
    side = params.sweep.resolution
    requests = [
        ImageRequest(
            **_first(params, lora), prompt=fill(prompt, params.dataset), seed=seed, width=side, height=side,
            strength=params.sweep.strengths[0], negative_prompt=params.sweep.negative_prompt,
        )
        for seed, prompt in shots
    ]  # fmt: skip
    return requests, read_machine(), params.comfyui


def _first(params: Params, lora: Path | None) -> dict[str, Any]:
    """The sweep's first settings; the trained LoRA where none is named and there is one."""
    trained = final_path(params.dataset.name)
    if lora is not None and not lora.is_file():
        raise UserError(lora, "no such LoRA file")
    sweep = params.sweep
    return {
        "base": sweep.bases[0], "lora": lora or (trained if trained.is_file() else None), "steps": sweep.steps,
        "guidance": sweep.guidance[0], "sampler": sweep.samplers[0], "vae_tile": sweep.vae_tile,
    }  # fmt: skip


def _size(wish: Wish, sweep: Sweep) -> tuple[int, int]:
    """Width and height, px: those of the picture that is changed, or the sweep's."""
    if wish.image is None:
        return sweep.resolution, sweep.resolution
    height, width = read_picture(wish.image).shape[:2]
    if width % 8 or height % 8:
        what = f"is {width}x{height}; SDXL draws multiples of 8"
        raise UserError(wish.image, what, f"crop it to {width - width % 8}x{height - height % 8}")
    if wish.mask is not None:
        with Image.open(wish.mask) as mask:
            if mask.size != (width, height):
                raise UserError(wish.mask, f"is {mask.size[0]}x{mask.size[1]}, the picture {width}x{height}")
    return width, height
