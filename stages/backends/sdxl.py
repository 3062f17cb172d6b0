"""SDXL base models in diffusers' layout: opened from a folder, never fetched."""

import json
from pathlib import Path

import torch
import torch._dynamo
from diffusers import StableDiffusionXLPipeline, UNet2DConditionModel
from diffusers.utils import logging as diffusers_logging
from torch._inductor.cpp_builder import get_cpp_compiler
from torch._inductor.exc import InvalidCxxCompiler
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection
from transformers.utils import logging as transformers_logging

from stages.contracts.lora_names import TEXT_ENCODER, TEXT_ENCODER_2, UNET
from stages.runtime.errors import UserError

PIPELINE = "StableDiffusionXLPipeline"
VARIANTS = 64  # of a compiled block: widths, training or not, shapes; beyond them blocks run as they are


def check_base(folder: Path) -> None:
    """Refuse a folder that holds no SDXL pipeline.

    Raises:
        UserError: naming the folder and what is wrong with it.
    """
    todo = "set it to a local SDXL folder in diffusers' layout"
    try:
        index = json.loads((folder / "model_index.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(folder, "not a base model folder (no model_index.json)", todo) from None
    except (OSError, ValueError) as error:
        raise UserError(folder / "model_index.json", f"not readable ({error})", todo) from None
    name = index.get("_class_name") if isinstance(index, dict) else None
    if name != PIPELINE:
        raise UserError(folder, f"a {name}, not a {PIPELINE}", todo)


def open_pipeline(folder: Path, dtype: torch.dtype) -> StableDiffusionXLPipeline:
    """The pipeline in ``folder``, on the CPU, without a watermark and without a word.

    Raises:
        UserError: when the folder holds no complete SDXL pipeline.
    """
    check_base(folder)
    diffusers_logging.disable_progress_bar()
    transformers_logging.disable_progress_bar()
    try:
        pipeline = StableDiffusionXLPipeline.from_pretrained(
            folder, torch_dtype=dtype, add_watermarker=False, local_files_only=True
        )
    except (OSError, ValueError) as error:
        raise UserError(folder, f"cannot be loaded ({error})", "fetch it again") from None
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def compile_blocks(unet: UNet2DConditionModel, backend: str = "inductor") -> None:
    """Compile the UNet's transformer blocks, for each shape by itself.

    No kernel depends on which shapes came before, so that a training that goes on does so with the same ones.

    Raises:
        UserError: when there is no compiler for the kernels.
    """
    try:
        get_cpp_compiler()
    except InvalidCxxCompiler:
        todo = "install g++ or name one in the variable CXX, or set machine.compile=false"
        raise UserError("machine.compile", "there is no C++ compiler", todo) from None
    torch._dynamo.config.recompile_limit = VARIANTS
    unet.compile_repeated_blocks(backend=backend, dynamic=False)


def open_skeleton(folder: Path) -> dict[str, torch.nn.Module]:
    """The models of ``folder`` that a LoRA can change, by component: shapes without values, from their configurations.

    Raises:
        UserError: when a configuration is missing or cannot be read.
    """
    try:
        unet = UNet2DConditionModel.load_config(folder / UNET, local_files_only=True)
        first, second = (
            CLIPTextConfig.from_pretrained(folder / name, local_files_only=True)
            for name in (TEXT_ENCODER, TEXT_ENCODER_2)
        )
        with torch.device("meta"):
            return {
                UNET: UNet2DConditionModel.from_config(unet), TEXT_ENCODER: CLIPTextModel(first),
                TEXT_ENCODER_2: CLIPTextModelWithProjection(second),
            }  # fmt: skip
    except (OSError, ValueError) as error:
        raise UserError(folder, f"cannot be loaded ({error})", "fetch it again") from None
