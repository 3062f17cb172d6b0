"""Write a base model of SDXL's full shape with random weights, for peers whose code fits no other shape.

    python bench/random_sdxl.py FOLDER      # 7 GB in bfloat16

It draws nothing that anybody would look at: it is for whether files load and trainings run.
"""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, EulerDiscreteScheduler, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from miniature.tokenizer import build_tokenizer

UNET = Path(__file__).parents[1] / "tests" / "data" / "sdxl_unet.json"
TEXT = {
    "text_encoder": {"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12,
                     "hidden_act": "quick_gelu", "projection_dim": 768},
    "text_encoder_2": {"hidden_size": 1280, "intermediate_size": 5120, "num_hidden_layers": 32,
                       "num_attention_heads": 20, "hidden_act": "gelu", "projection_dim": 1280},
}  # fmt: skip
VAE = {
    "block_out_channels": (128, 256, 512, 512), "down_block_types": ("DownEncoderBlock2D",) * 4, "latent_channels": 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4, "layers_per_block": 2, "sample_size": 1024, "scaling_factor": 0.13025,
}  # fmt: skip


def open_models() -> dict[str, Callable[[], torch.nn.Module]]:
    """What makes each model, by its folder."""
    text = {"vocab_size": 49408, "max_position_embeddings": 77}
    unet: dict[str, Any] = json.loads(UNET.read_text(encoding="utf-8"))
    return {
        "unet": lambda: UNet2DConditionModel.from_config(unet),
        "vae": lambda: AutoencoderKL(**VAE),
        "text_encoder": lambda: CLIPTextModel(CLIPTextConfig(**text, **TEXT["text_encoder"])),
        "text_encoder_2": lambda: CLIPTextModelWithProjection(CLIPTextConfig(**text, **TEXT["text_encoder_2"])),
    }


@torch.no_grad()
def fill(make: Callable[[], torch.nn.Module]) -> torch.nn.Module:
    """The model in bfloat16: norms that pass everything through, other weights small."""
    with torch.device("meta"):
        model = make()
    model = model.to(torch.bfloat16).to_empty(device="cpu")
    for name, parameter in model.named_parameters():
        if parameter.ndim > 1:
            parameter.normal_(0, 0.02)
        else:
            parameter.fill_(1.0 if name.endswith("weight") else 0.0)
    for name, buffer in model.named_buffers():
        if name.endswith("position_ids"):
            buffer.copy_(torch.arange(buffer.shape[-1]).expand_as(buffer))
    return model


def main(folder: Path) -> None:
    """Write the folder, a model at a time."""
    torch.manual_seed(0)
    for name, make in open_models().items():
        fill(make).save_pretrained(folder / name)
        print(f"{name}: written", flush=True)
    for name in ("tokenizer", "tokenizer_2"):
        tokenizer = build_tokenizer()
        tokenizer.model_max_length = 77
        tokenizer.save_pretrained(folder / name)
    EulerDiscreteScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear").save_pretrained(
        folder / "scheduler"
    )
    parts = {"text_encoder": "CLIPTextModel", "text_encoder_2": "CLIPTextModelWithProjection",
             "tokenizer": "CLIPTokenizer", "tokenizer_2": "CLIPTokenizer"}  # fmt: skip
    index = {"_class_name": "StableDiffusionXLPipeline", "_diffusers_version": "0.32.1",
             "scheduler": ["diffusers", "EulerDiscreteScheduler"], "unet": ["diffusers", "UNet2DConditionModel"],
             "vae": ["diffusers", "AutoencoderKL"], "force_zeros_for_empty_prompt": True,
             **{name: ["transformers", kind] for name, kind in parts.items()}}  # fmt: skip
    (folder / "model_index.json").write_text(json.dumps(index, indent=2))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
