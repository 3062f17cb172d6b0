"""SDXL's shape with random weights, made on the device in seconds: what `bench.gpu` trains and draws with.

UNet and VAE are SDXL's by its published configurations; the text encoders have its widths and two layers, because
their outputs are remembered before the first step.  Only the weights' source differs from a real base: `Run` and
`DiffusersGenerator` ask `open_pipeline` for a base, and inside ``random_weights`` it answers with these.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderKL, EulerDiscreteScheduler, StableDiffusionXLPipeline, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

from bench.random_sdxl import CLIP_CONFIG, INDEX, NOISE, OPEN_CLIP_CONFIG, VAE_CONFIG
from stages.backends.generate import diffusers as drawing
from stages.backends.train import run as training
from stages.contracts.training import Example, Examples
from stages.runtime.files import write_json
from stages.runtime.pictures import write_png

ROOT = Path(__file__).parents[1]
TOKENS = 77  # of a prompt: what SDXL's attention to text costs depends on it
LAYERS = 2  # of each text encoder: SDXL reads the last but one
GAIN = 0.5  # of a random layer: deep sums stay far from float16's end


@dataclass(frozen=True)
class Shape:
    """The sizes of a base."""

    name: str
    unet: dict[str, Any]
    vae: dict[str, Any]
    texts: tuple[dict[str, Any], dict[str, Any]]
    resolution: int  # px

    def inputs(self, batch: int) -> tuple[tuple[torch.Tensor, ...], dict[str, torch.Tensor]]:
        """What the UNet is called with, empty, on the default device: positional, and added conditions."""
        side = self.resolution // 2 ** (len(self.vae["block_out_channels"]) - 1)
        pooled = self.unet["projection_class_embeddings_input_dim"] - 6 * self.unet["addition_time_embed_dim"]
        return (
            torch.empty(batch, self.vae["latent_channels"], side, side), torch.empty(batch, dtype=torch.long),
            torch.empty(batch, TOKENS, self.unet["cross_attention_dim"]),
        ), {"text_embeds": torch.empty(batch, pooled), "time_ids": torch.empty(batch, 6)}  # fmt: skip


def sdxl() -> Shape:
    """SDXL 1.0 at 1024 px."""
    unet = json.loads((ROOT / "tests" / "data" / "sdxl_unet.json").read_text(encoding="utf-8"))
    return Shape("SDXL", unet, VAE_CONFIG, (CLIP_CONFIG, OPEN_CLIP_CONFIG), 1024)


def toy() -> Shape:
    """The same parts, small enough for a test."""
    narrow: dict[str, Any] = {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_attention_heads": 2,
        "projection_dim": 32,
    }
    unet = sdxl().unet | {
        "block_out_channels": [32, 64], "attention_head_dim": [2, 4], "layers_per_block": 1,
        "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D"],
        "up_block_types": ["CrossAttnUpBlock2D", "UpBlock2D"], "transformer_layers_per_block": [1, 1],
        "cross_attention_dim": 64, "addition_time_embed_dim": 8, "projection_class_embeddings_input_dim": 80,
        "sample_size": 8,
    }  # fmt: skip
    vae = VAE_CONFIG | {"block_out_channels": (32, 32, 32, 32), "layers_per_block": 1, "sample_size": 64}
    return Shape("toy", unet, vae, (CLIP_CONFIG | narrow, OPEN_CLIP_CONFIG | narrow), 64)


def open_empty_unet(shape: Shape) -> UNet2DConditionModel:
    """All shape and no values."""
    with torch.device("meta"):
        unet: UNet2DConditionModel = UNet2DConditionModel.from_config(shape.unet)
    return unet


def _text_config(values: dict[str, Any], tokenizer: Any, *, whole: bool) -> CLIPTextConfig:
    layers = {} if whole else {"num_hidden_layers": LAYERS}
    ends = {f"{end}_token_id": getattr(tokenizer, f"{end}_token_id") for end in ("bos", "eos", "pad")}
    return CLIPTextConfig(**values | ends | layers)


@torch.no_grad()
def _fill(model: Any, dtype: torch.dtype, device: torch.device, seed: int) -> Any:
    """Values for a model without: the same numbers in every dtype, because all are exact in bfloat16."""
    torch.nn.Module.to(model, dtype)  # diffusers' own warns of layers kept in float32; SDXL has none
    model = model.to_empty(device=device).requires_grad_(False).eval()
    generator = torch.Generator(device).manual_seed(seed)
    for name, parameter in model.named_parameters():
        values = torch.randn(parameter.shape, generator=generator, device=device)
        if parameter.ndim > 1:
            values *= GAIN / parameter[0].numel() ** 0.5
        else:
            values = 0.05 * values + (1.0 if name.endswith("weight") else 0.0)
        parameter.copy_(values.bfloat16())
    for name, buffer in model.named_buffers():
        if name.endswith("position_ids"):
            buffer.copy_(torch.arange(buffer.shape[-1], device=device).expand_as(buffer))
    return model


def build_pipeline(
    shape: Shape, dtype: torch.dtype, device: torch.device, *, whole_texts: bool = False
) -> StableDiffusionXLPipeline:
    """A base with random weights, the same every time; ``whole_texts``: text encoders of SDXL's depth."""
    place = ROOT / "miniature" / "weights" / "base"
    tokenizers = [
        CLIPTokenizer.from_pretrained(place / name, model_max_length=TOKENS) for name in ("tokenizer", "tokenizer_2")
    ]
    first, second = (_text_config(v, t, whole=whole_texts) for v, t in zip(shape.texts, tokenizers, strict=True))
    with torch.device("meta"):
        empty = [AutoencoderKL(**shape.vae), CLIPTextModel(first), CLIPTextModelWithProjection(second)]
    models = [open_empty_unet(shape), *empty]
    unet, vae, one, two = (_fill(model, dtype, device, seed) for seed, model in enumerate(models))
    pipeline = StableDiffusionXLPipeline(
        unet=unet, vae=vae, text_encoder=one, text_encoder_2=two, tokenizer=tokenizers[0], tokenizer_2=tokenizers[1],
        scheduler=EulerDiscreteScheduler.from_config(NOISE), add_watermarker=False,
    )  # fmt: skip
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


@contextmanager
def random_weights(shape: Shape, device: torch.device, dtype: torch.dtype | None = None) -> Iterator[None]:
    """Let training and drawing open this base, whatever folder they name; ``dtype`` in place of what they ask for."""

    def open_random(_folder: Path, asked: torch.dtype) -> StableDiffusionXLPipeline:
        return build_pipeline(shape, dtype or asked, device)

    places: tuple[Any, ...] = (training, drawing)
    usual = training.open_pipeline
    for place in places:
        place.open_pipeline = open_random
    try:
        yield
    finally:
        for place in places:
            place.open_pipeline = usual


def write_folder(folder: Path, shape: Shape) -> Path:
    """What is read of a base besides its weights: that it is SDXL's, and the UNet's shape."""
    write_json(folder / "model_index.json", INDEX)
    write_json(folder / "unet" / "config.json", shape.unet | {"_class_name": "UNet2DConditionModel"})
    return folder


def draw_photos(folder: Path, count: int, side: int) -> Examples:
    """Photos of noise with a caption each."""
    draw = np.random.default_rng(0)
    made = []
    for number in range(count):
        path = folder / f"{number}.png"
        write_png(path, draw.integers(0, 256, (side, side, 3)).astype(np.uint8))
        made.append(Example(path, f"amiranoor, a woman, number {number}"))
    return Examples(tuple(made), (), ())
