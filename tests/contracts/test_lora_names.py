"""Every name that we write is one that ComfyUI loads, and means one module."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from diffusers import UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from stages.contracts.lora_names import TEXT_ENCODER, TEXT_ENCODER_2, UNET, kohya_names, module_table

ACCEPTED = frozenset((Path(__file__).parent.parent / "data" / "sdxl_lora_module_names.txt").read_text().split())
# Modules that ComfyUI trains and loads under other names, or not at all: no LoRA of ours touches them.
OUTSIDE = {"time_embedding", "add_embedding", "conv_norm_out", "conv_out"}


@pytest.fixture(scope="module")
def sdxl_unet() -> UNet2DConditionModel:
    """The UNet of SDXL 1.0 as its published configuration says, without weights."""
    with torch.device("meta"):
        return UNet2DConditionModel(
            sample_size=128, block_out_channels=(320, 640, 1280), layers_per_block=2, cross_attention_dim=2048,
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"), attention_head_dim=(5, 10, 20),
            transformer_layers_per_block=(1, 2, 10), use_linear_projection=True, addition_embed_type="text_time",
            addition_time_embed_dim=256, projection_class_embeddings_input_dim=2816,
        )  # fmt: skip


@pytest.fixture(scope="module")
def sdxl_text_encoders() -> dict[str, torch.nn.Module]:
    """SDXL's two text encoders without weights: CLIP ViT-L and OpenCLIP ViT-bigG."""
    small = CLIPTextConfig(hidden_size=768, intermediate_size=3072, num_hidden_layers=12, num_attention_heads=12)
    large = CLIPTextConfig(
        hidden_size=1280, intermediate_size=5120, num_hidden_layers=32, num_attention_heads=20, projection_dim=1280
    )
    with torch.device("meta"):
        return {TEXT_ENCODER: CLIPTextModel(small), TEXT_ENCODER_2: CLIPTextModelWithProjection(large)}


def with_weights(model: torch.nn.Module) -> Iterator[str]:
    """The modules of ``model`` that hold parameters themselves."""
    for name, module in model.named_modules():
        if next(module.parameters(recurse=False), None) is not None:
            yield name


def all_names(model: torch.nn.Module) -> list[str]:
    return [name for name, _ in model.named_modules()]


def test_a_unet_module_has_the_name_that_comfyui_knows(sdxl_unet: UNet2DConditionModel) -> None:
    names = kohya_names(UNET, all_names(sdxl_unet))
    ours = {names[module] for module in with_weights(sdxl_unet) if module.split(".")[0] not in OUTSIDE}
    assert ours == {name for name in ACCEPTED if name.startswith("lora_unet_")}


def test_a_text_encoder_s_layer_has_the_name_that_comfyui_knows(sdxl_text_encoders: dict[str, torch.nn.Module]) -> None:
    for component, model in sdxl_text_encoders.items():
        names = kohya_names(component, all_names(model))
        layers = {names[module] for module, layer in model.named_modules() if isinstance(layer, torch.nn.Linear)}
        assert layers
        assert layers <= ACCEPTED


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("down_blocks.1.attentions.0.transformer_blocks.0.attn1.to_q",
         "input_blocks_4_1_transformer_blocks_0_attn1_to_q"),
        ("down_blocks.2.attentions.1.proj_in", "input_blocks_8_1_proj_in"),
        ("mid_block.attentions.0.transformer_blocks.9.ff.net.0.proj",
         "middle_block_1_transformer_blocks_9_ff_net_0_proj"),
        ("up_blocks.0.attentions.2.transformer_blocks.3.attn2.to_out.0",
         "output_blocks_2_1_transformer_blocks_3_attn2_to_out_0"),
        ("up_blocks.1.upsamplers.0.conv", "output_blocks_5_2_conv"),
        ("down_blocks.0.downsamplers.0.conv", "input_blocks_3_0_op"),
    ],
)  # fmt: skip
def test_a_known_module_of_sdxl_is_named_as_kohya_names_it(
    sdxl_unet: UNet2DConditionModel, module: str, name: str
) -> None:
    assert kohya_names(UNET, all_names(sdxl_unet))[module] == f"lora_unet_{name}"


def test_every_name_leads_back_to_its_module(sdxl_unet: UNet2DConditionModel) -> None:
    modules = all_names(sdxl_unet)
    table = module_table(UNET, modules)
    assert all(table[name] == module for module, name in kohya_names(UNET, modules).items())


def test_diffusers_own_names_after_the_prefix_are_understood_too(sdxl_unet: UNet2DConditionModel) -> None:
    module = "down_blocks.1.attentions.0.transformer_blocks.0.attn1.to_q"
    assert module_table(UNET, all_names(sdxl_unet))[f"lora_unet_{module.replace('.', '_')}"] == module


def test_a_text_encoder_with_and_without_its_prefix_has_the_same_names() -> None:
    bare, prefixed = ["", "encoder.layers.0.mlp.fc1"], ["", "text_model", "text_model.encoder.layers.0.mlp.fc1"]
    expected = "lora_te1_text_model_encoder_layers_0_mlp_fc1"
    assert kohya_names(TEXT_ENCODER, bare)["encoder.layers.0.mlp.fc1"] == expected
    assert kohya_names(TEXT_ENCODER, prefixed)["text_model.encoder.layers.0.mlp.fc1"] == expected


def test_two_modules_under_one_name_are_refused() -> None:
    with pytest.raises(ValueError, match="share a name"):
        kohya_names(TEXT_ENCODER, ["a.b", "a_b"])
