"""Make a random SDXL twice, as diffusers' folder and as one file for ComfyUI: the same weights, so the same pictures.

    python -m bench.random_sdxl --out FOLDER --tokenizer COMFYUI/comfy/sd1_tokenizer [--seed 0]

writes FOLDER/random_sdxl_SEED/ and FOLDER/random_sdxl_SEED.safetensors, float16.  The UNet has SDXL's modules, under
SDXL's names, at a tenth of its weight: every block is as wide as the first.  Text encoders and VAE have SDXL's size.
Its pictures are noise; they follow seed, prompt and LoRA, and that is all that they are for.
"""

import argparse
import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from safetensors.torch import save_file
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

from bench.sai_layout import name_as_sai
from stages.contracts.lora_names import TEXT_ENCODER, TEXT_ENCODER_2, UNET
from stages.runtime.files import write_json

UNET_CONFIG: dict[str, Any] = {
    "sample_size": 128, "block_out_channels": (320, 320, 320), "attention_head_dim": (5, 5, 5),
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
    "transformer_layers_per_block": (1, 2, 10), "cross_attention_dim": 2048, "use_linear_projection": True,
    "addition_embed_type": "text_time", "addition_time_embed_dim": 256, "projection_class_embeddings_input_dim": 2816,
}  # fmt: skip
VAE_CONFIG: dict[str, Any] = {
    "down_block_types": ("DownEncoderBlock2D",) * 4, "up_block_types": ("UpDecoderBlock2D",) * 4,
    "block_out_channels": (128, 256, 512, 512), "layers_per_block": 2, "latent_channels": 4, "sample_size": 1024,
    "scaling_factor": 0.13025,
}  # fmt: skip
TOKENS: dict[str, Any] = {
    "vocab_size": 49408,
    "bos_token_id": 49406,
    "eos_token_id": 49407,
    "max_position_embeddings": 77,
}
CLIP_CONFIG: dict[str, Any] = {
    "hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12,
    "projection_dim": 768, "hidden_act": "quick_gelu", "pad_token_id": 49407, **TOKENS,
}  # fmt: skip
OPEN_CLIP_CONFIG: dict[str, Any] = {
    "hidden_size": 1280, "intermediate_size": 5120, "num_hidden_layers": 32, "num_attention_heads": 20,
    "projection_dim": 1280, "hidden_act": "gelu", "pad_token_id": 0, **TOKENS,
}  # fmt: skip
NOISE: dict[str, Any] = {  # as SDXL 1.0's scheduler_config.json
    "_class_name": "EulerDiscreteScheduler", "beta_start": 0.00085, "beta_end": 0.012,
    "beta_schedule": "scaled_linear", "clip_sample": False, "interpolation_type": "linear",
    "num_train_timesteps": 1000, "prediction_type": "epsilon", "sample_max_value": 1.0, "set_alpha_to_one": False,
    "skip_prk_steps": True, "steps_offset": 1, "timestep_spacing": "leading", "trained_betas": None,
    "use_karras_sigmas": False,
}  # fmt: skip
BUILDERS: dict[str, Callable[[], Any]] = {
    UNET: lambda: UNet2DConditionModel(**UNET_CONFIG),
    "vae": lambda: AutoencoderKL(**VAE_CONFIG),
    TEXT_ENCODER: lambda: CLIPTextModel(CLIPTextConfig(**CLIP_CONFIG)),
    TEXT_ENCODER_2: lambda: CLIPTextModelWithProjection(CLIPTextConfig(**OPEN_CLIP_CONFIG)),
}
INDEX: dict[str, Any] = {
    "_class_name": "StableDiffusionXLPipeline", "force_zeros_for_empty_prompt": True, "add_watermarker": None,
    "scheduler": ["diffusers", "EulerDiscreteScheduler"], UNET: ["diffusers", "UNet2DConditionModel"],
    "vae": ["diffusers", "AutoencoderKL"], TEXT_ENCODER: ["transformers", "CLIPTextModel"],
    TEXT_ENCODER_2: ["transformers", "CLIPTextModelWithProjection"], "tokenizer": ["transformers", "CLIPTokenizer"],
    "tokenizer_2": ["transformers", "CLIPTokenizer"],
}  # fmt: skip


def draw_weight(name: str, like: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """A tensor of ``like``'s shape, float16: matrices keep the length of what they multiply, norms begin as nothing."""
    if like.ndim > 1:
        return (torch.randn(like.shape, generator=generator) / math.sqrt(like[0].numel())).half()
    start = 1.0 if "norm" in name and name.endswith("weight") else 0.0
    return (start + 0.1 * torch.randn(like.shape, generator=generator)).half()


def build_component(name: str, seed: int) -> Any:
    """One of the pipeline's models with random weights, float16."""
    generator = torch.Generator().manual_seed(seed)
    with torch.device("meta"):
        model = BUILDERS[name]()
    drawn = {key: draw_weight(key, value, generator) for key, value in model.state_dict().items()}
    model.load_state_dict(drawn, assign=True)
    return model


def write_tokenizers(source: Path, folder: Path) -> None:
    """CLIP's two tokenizers: the first pads with its end token, the second with token 0, as SDXL's do."""
    vocabulary, merges = source / "vocab.json", source / "merges.txt"
    zeroth = next(word for word, number in json.loads(vocabulary.read_text(encoding="utf-8")).items() if number == 0)
    for name, padding in (("tokenizer", "<|endoftext|>"), ("tokenizer_2", zeroth)):
        target = folder / name
        target.mkdir(parents=True)
        shutil.copy(vocabulary, target)
        shutil.copy(merges, target)
        tokenizer = CLIPTokenizer.from_pretrained(target, pad_token=padding, model_max_length=77)
        tokenizer.save_pretrained(target)


def write_checkpoint(folder: Path, tokenizer: Path, seed: int) -> Path:
    """Write both forms; the folder is ``random_sdxl_SEED``, the file beside it has its name and is returned."""
    place = folder / f"random_sdxl_{seed}"
    shutil.rmtree(place, ignore_errors=True)
    write_tokenizers(tokenizer, place)
    write_json(place / "model_index.json", INDEX)
    write_json(place / "scheduler" / "scheduler_config.json", NOISE)
    single: dict[str, torch.Tensor] = {}
    for number, name in enumerate(BUILDERS):
        model = build_component(name, 10 * seed + number)
        model.save_pretrained(place / name)
        single |= name_as_sai(name, model.state_dict())
    file = place.with_suffix(".safetensors")
    save_file({name: value.contiguous() for name, value in single.items()}, file)
    return file


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder for both forms")
    parser.add_argument("--tokenizer", type=Path, required=True, help="folder with CLIP's vocab.json and merges.txt")
    parser.add_argument("--seed", type=int, default=0, help="other weights")
    arguments = parser.parse_args()
    print(write_checkpoint(arguments.out, arguments.tokenizer, arguments.seed))


if __name__ == "__main__":
    main()
