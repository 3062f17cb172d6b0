"""One file in SAI's layout holds the pipeline's tensors whole: diffusers' own reader of such files gives them back."""

from collections.abc import Callable, Mapping
from typing import Any

import pytest
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from diffusers.loaders import single_file_utils as reader
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from bench.random_sdxl import CLIP_CONFIG, OPEN_CLIP_CONFIG, UNET_CONFIG, VAE_CONFIG, draw_weight
from bench.sai_layout import name_as_sai
from stages.contracts.lora_names import TEXT_ENCODER, TEXT_ENCODER_2, UNET

TINY_TEXT = {"hidden_size": 8, "intermediate_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2,
             "projection_dim": 8, "vocab_size": 20}  # fmt: skip
Tensors = Mapping[str, torch.Tensor]


def drawn(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    """The model's tensors by name, each with values of its own."""
    generator = torch.Generator().manual_seed(0)
    return {name: draw_weight(name, value, generator) for name, value in model.state_dict().items()}


def same(a: Tensors, b: Tensors) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def tiny_vae() -> Any:
    return AutoencoderKL(**VAE_CONFIG | {"block_out_channels": (4, 4, 4, 8), "norm_num_groups": 4})


def tiny_unet() -> Any:
    small = {
        "block_out_channels": (4, 4, 4), "norm_num_groups": 4, "attention_head_dim": (1, 1, 1),
        "cross_attention_dim": 8, "addition_time_embed_dim": 4, "projection_class_embeddings_input_dim": 32,
    }  # fmt: skip
    return UNet2DConditionModel(**UNET_CONFIG | small)


def tiny_text(config: dict[str, Any], kind: type) -> Any:
    return kind(CLIPTextConfig(**config | TINY_TEXT | {"bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 1}))


def plain(tensors: Tensors) -> dict[str, torch.Tensor]:
    """Without transformers' prefix, which its releases do not agree on."""
    return {name.removeprefix("text_model."): value for name, value in tensors.items()}


def read_vae(model: Any, file: Tensors) -> Tensors:
    found = reader.convert_ldm_vae_checkpoint(dict(file), model.config)
    return {name: value.reshape(model.state_dict()[name].shape) for name, value in found.items()}


def read_unet(model: Any, file: Tensors) -> Tensors:
    return reader.convert_ldm_unet_checkpoint(dict(file), dict(model.config))


def read_text(model: Any, file: Tensors) -> Tensors:
    return plain(reader.convert_ldm_clip_checkpoint(dict(file)))


def read_open_clip(model: Any, file: Tensors) -> Tensors:
    return plain(reader.convert_open_clip_checkpoint(model, dict(file), prefix="conditioner.embedders.1.model."))


@pytest.mark.parametrize(
    ("component", "build", "read"),
    [
        ("vae", tiny_vae, read_vae),
        (UNET, tiny_unet, read_unet),
        (TEXT_ENCODER, lambda: tiny_text(CLIP_CONFIG, CLIPTextModel), read_text),
        (TEXT_ENCODER_2, lambda: tiny_text(OPEN_CLIP_CONFIG, CLIPTextModelWithProjection), read_open_clip),
    ],
)
def test_every_tensor_comes_back(
    component: str, build: Callable[[], Any], read: Callable[[Any, Tensors], Tensors]
) -> None:
    model = build()
    tensors = drawn(model)
    file = name_as_sai(component, tensors)
    assert len({value.data_ptr() for value in file.values()}) == len(file)
    assert same(read(model, file), plain(tensors))


def test_a_tensor_that_sdxl_does_not_have_is_noticed() -> None:
    with pytest.raises(KeyError):
        name_as_sai(UNET, {"down_blocks.0.resnets.0.conv1.weight": torch.ones(1), "extra.weight": torch.ones(1)})
