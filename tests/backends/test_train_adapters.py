"""The LoRA starts without effect, sits where it should, and leaves under names that ComfyUI knows."""

import copy
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from stages.backends.sdxl import open_pipeline
from stages.backends.train.adapters import add_lora, export_lora, named_layers, plain_names
from stages.contracts.lora_names import TEXT_ENCODER, TEXT_ENCODER_2, UNET
from stages.contracts.settings import Train

DATA = Path(__file__).parent.parent / "data"
ACCEPTED = frozenset((DATA / "sdxl_lora_module_names.txt").read_text().split())


def recipe(base: Path, **changes: object) -> Train:
    return Train.model_validate({"version": "t", "base": base, "rank": 4, "layers": "all", **changes})


@pytest.fixture(scope="module")
def sdxl() -> dict[str, torch.nn.Module]:
    """SDXL 1.0's UNet and both text encoders in full size, shapes without values: CLIP ViT-L and OpenCLIP ViT-bigG."""
    small = CLIPTextConfig(
        hidden_size=768, intermediate_size=3072, num_hidden_layers=12, num_attention_heads=12, hidden_act="quick_gelu",
        projection_dim=768,
    )  # fmt: skip
    large = CLIPTextConfig(
        hidden_size=1280, intermediate_size=5120, num_hidden_layers=32, num_attention_heads=20, hidden_act="gelu",
        projection_dim=1280,
    )  # fmt: skip
    with torch.device("meta"):
        unet = UNet2DConditionModel.from_config(json.loads((DATA / "sdxl_unet.json").read_text()))
        return {UNET: unet, TEXT_ENCODER: CLIPTextModel(small), TEXT_ENCODER_2: CLIPTextModelWithProjection(large)}


@pytest.mark.parametrize(
    ("layers", "expected"),
    [
        ("attention", [560, 48, 128]),
        ("attention+feed_forward", [700, 72, 192]),
        ("transformer", [722, 72, 192]),
        ("all", [788, 72, 192]),  # what kohya makes of SDXL with conv_dim
    ],
)
def test_a_lora_on_sdxl_has_only_names_that_comfyui_loads(
    sdxl: dict[str, torch.nn.Module], tmp_path: Path, layers: str, expected: list[int]
) -> None:
    counts = []
    for component, model in sdxl.items():
        with torch.device("meta"):
            model = copy.deepcopy(model)
            add_lora(component, model, recipe(tmp_path, layers=layers))
        assert {parameter.device.type for parameter in model.parameters()} == {"meta"}
        names = [name for name, _ in named_layers(component, model)]
        assert set(names) <= ACCEPTED
        assert {name.split("_")[1] for name in names} == {{UNET: "unet", TEXT_ENCODER: "te1"}.get(component, "te2")}
        assert len(set(names)) == len(names)
        counts.append(len(names))
    assert counts == expected


def test_the_file_s_tensors_carry_the_layers_names(tiny_base: Path) -> None:
    unet = open_pipeline(tiny_base, torch.float32).unet
    add_lora(UNET, unet, recipe(tiny_base))
    names = [name for name, _ in named_layers(UNET, unet)]
    parts = ("lora_down.weight", "lora_up.weight", "alpha")
    assert set(export_lora({UNET: unet})) == {f"{name}.{part}" for name in names for part in parts}


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


@pytest.mark.parametrize("rslora", [False, True])
def test_what_a_reader_scales_by_is_the_scale_that_was_trained(tiny_base: Path, rslora: bool) -> None:
    unet = open_pipeline(tiny_base, torch.float32).unet
    add_lora(UNET, unet, recipe(tiny_base, alpha=2.0, rslora=rslora))
    name, layer = next(named_layers(UNET, unet))
    torch.nn.init.ones_(layer.lora_B["default"].weight)
    own = layer.get_delta_weight("default").detach().numpy()
    part = {key: value.astype(np.float32) for key, value in export_lora({UNET: unet}, torch.float32).items()}
    down, up = part[f"{name}.lora_down.weight"], part[f"{name}.lora_up.weight"]
    product = np.tensordot(up.reshape(len(up), -1), down, 1).reshape(own.shape)
    np.testing.assert_allclose(product * part[f"{name}.alpha"] / len(down), own, rtol=1e-6)
