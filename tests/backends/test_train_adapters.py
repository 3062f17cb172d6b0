"""The LoRA starts without effect, sits where it should, and leaves under names that ComfyUI knows."""

from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from stages.backends.sdxl import open_pipeline
from stages.backends.train.adapters import add_lora, export_lora, lora_layers, plain_names
from stages.contracts.lora_names import TEXT_ENCODER, TEXT_ENCODER_2, UNET
from stages.contracts.settings import Train

ACCEPTED = frozenset((Path(__file__).parent.parent / "data" / "sdxl_lora_module_names.txt").read_text().split())


def recipe(base: Path, **changes: object) -> Train:
    return Train.model_validate({"version": "t", "base": base, "rank": 4, "layers": "all", **changes})


def shrunken_sdxl() -> UNet2DConditionModel:
    """SDXL's UNet with all its modules and an eighth of its widths, so that a LoRA fits into a test."""
    return UNet2DConditionModel(
        sample_size=16, block_out_channels=(32, 64, 64), layers_per_block=2, cross_attention_dim=64, norm_num_groups=8,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"), attention_head_dim=(2, 4, 4),
        transformer_layers_per_block=(1, 2, 10), use_linear_projection=True, addition_embed_type="text_time",
        addition_time_embed_dim=8, projection_class_embeddings_input_dim=80,
    )  # fmt: skip


def modules_of(tensors: dict[str, np.ndarray]) -> set[str]:
    return {name.split(".")[0] for name in tensors}


def test_a_lora_on_full_depth_sdxl_has_only_names_that_comfyui_loads(tmp_path: Path) -> None:
    text = {"hidden_size": 16, "intermediate_size": 16, "num_attention_heads": 2, "vocab_size": 64}
    models = {
        UNET: shrunken_sdxl(),
        TEXT_ENCODER: CLIPTextModel(CLIPTextConfig(num_hidden_layers=12, **text)),
        TEXT_ENCODER_2: CLIPTextModelWithProjection(CLIPTextConfig(num_hidden_layers=32, **text)),
    }
    for name, model in models.items():
        add_lora(name, model, recipe(tmp_path))
    exported = modules_of(export_lora(models))
    assert exported <= ACCEPTED
    counts = [sum(name.startswith(prefix) for name in exported) for prefix in ("lora_unet", "lora_te1", "lora_te2")]
    assert counts == [787, 72, 192]  # kohya with conv_dim makes 788 of SDXL: here two widths are equal


@pytest.mark.parametrize(
    ("layers", "expected"), [("attention", 560), ("attention+feed_forward", 700), ("transformer", 722), ("all", 787)]
)
def test_the_layers_setting_decides_how_many_modules_are_trained(tmp_path: Path, layers: str, expected: int) -> None:
    unet = shrunken_sdxl()
    add_lora(UNET, unet, recipe(tmp_path, layers=layers))
    assert len(list(lora_layers(unet))) == expected


def test_a_fresh_lora_changes_nothing_and_only_it_can_learn(tiny_base: Path) -> None:
    text_encoder = open_pipeline(tiny_base, torch.float32).text_encoder
    ids = torch.arange(10)[None]
    before = text_encoder(ids).last_hidden_state.detach()
    names = [name for name, _ in text_encoder.named_modules()]
    parameters = add_lora(TEXT_ENCODER, text_encoder, recipe(tiny_base))
    assert torch.equal(text_encoder(ids).last_hidden_state, before)
    assert {id(p) for p in text_encoder.parameters() if p.requires_grad} == {id(p) for p in parameters}
    assert plain_names(text_encoder) == names


def test_the_same_seed_gives_the_same_first_values_and_leaves_the_global_generator_alone(tiny_base: Path) -> None:
    firsts = []
    for seed in (1, 1, 2):
        unet = open_pipeline(tiny_base, torch.float32).unet
        torch.manual_seed(seed * 100)
        state = torch.get_rng_state()
        firsts.append(add_lora(UNET, unet, recipe(tiny_base, seed=seed))[0])
        assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(firsts[0], firsts[1])
    assert not torch.equal(firsts[0], firsts[2])


def test_alpha_is_the_rank_unless_it_is_set(tiny_base: Path) -> None:
    for alpha, expected in ((None, 4.0), (1.5, 1.5)):
        unet = open_pipeline(tiny_base, torch.float32).unet
        add_lora(UNET, unet, recipe(tiny_base, alpha=alpha))
        tensors = export_lora({UNET: unet})
        assert {float(value) for name, value in tensors.items() if name.endswith(".alpha")} == {expected}
        assert {value.dtype for value in tensors.values()} == {np.dtype(np.float16)}
        assert tensors["lora_unet_middle_block_1_proj_in.lora_down.weight"].shape == (4, 32)
