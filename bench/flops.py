"""Floating-point operations, counted on models that have shapes but no values: what a measured speed is a share of."""

from functools import cache
from pathlib import Path

import torch
from diffusers import AutoencoderKL
from torch.utils.flop_counter import FlopCounterMode

from bench.gpu_model import Shape, open_empty_unet, sdxl, toy
from stages.backends.train.adapters import add_lora
from stages.contracts.lora_names import UNET
from stages.contracts.train_settings import Train

SHAPES = {"SDXL": sdxl, "toy": toy}


def _count(shape: Shape, rank: int, *, checkpointing: bool, layers: str = "attention") -> float:
    """TFLOP of the UNet for one picture: forward, and with a LoRA (``rank`` > 0) backward too."""
    unet = open_empty_unet(shape).requires_grad_(False)
    if rank:
        with torch.device("meta"):
            recipe = {"version": "count", "base": Path(), "rank": rank, "layers": layers}
            add_lora(UNET, unet, Train.model_validate(recipe))
        unet.train()
    if checkpointing:
        unet.enable_gradient_checkpointing()
    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        inputs, added = shape.inputs(1)
        answer = unet(*inputs, added_cond_kwargs=added).sample
        if rank:
            answer.sum().backward()
    return counter.get_total_flops() / 1e12


@cache
def count_training(name: str, rank: int, *, checkpointing: bool, layers: str = "attention") -> float:
    """TFLOP of one training step on one picture whose latents are there; what is computed twice counts twice."""
    return _count(SHAPES[name](), rank, checkpointing=checkpointing, layers=layers)


@cache
def count_forward(name: str) -> float:
    """TFLOP of one UNet pass; a step of guided sampling has two."""
    return _count(SHAPES[name](), 0, checkpointing=False)


@cache
def count_decoding(name: str) -> float:
    """TFLOP of decoding one picture."""
    shape = SHAPES[name]()
    with torch.device("meta"), FlopCounterMode(display=False) as counter, torch.no_grad():
        AutoencoderKL(**shape.vae).decode(shape.inputs(1)[0][0])
    return counter.get_total_flops() / 1e12
