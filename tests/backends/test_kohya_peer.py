"""Against the real sd-scripts, where PISTACHIO_KOHYA names their folder (PISTACHIO_KOHYA_PYTHON: their Python)."""

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import UNet2DConditionModel
from safetensors.numpy import save_file
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from stages.backends.generate.lora import read_layers
from stages.backends.train.adapters import add_lora, named_layers
from stages.contracts.lora_names import TEXT_ENCODER, TEXT_ENCODER_2, UNET
from stages.contracts.settings import Train

DATA = Path(__file__).parent.parent / "data"
SCRIPTS = os.environ.get("PISTACHIO_KOHYA", "")
RECORDED: dict[str, Any] = json.loads((DATA / "kohya_lora.json").read_text())


@pytest.fixture(scope="module")
def sdxl() -> dict[str, torch.nn.Module]:
    """SDXL's UNet and text encoders in full size, without values."""
    with torch.device("meta"):
        return {
            UNET: UNet2DConditionModel.from_config(json.loads((DATA / "sdxl_unet.json").read_text())),
            TEXT_ENCODER: CLIPTextModel(CLIPTextConfig(**RECORDED["text_encoders"]["text_encoder"])),
            TEXT_ENCODER_2: CLIPTextModelWithProjection(CLIPTextConfig(**RECORDED["text_encoders"]["text_encoder_2"])),
        }


def test_we_train_the_modules_that_sd_scripts_train(sdxl: dict[str, torch.nn.Module]) -> None:
    train = Train(version="t", base=Path("base"), rank=4, layers="transformer")
    names = []
    for component, model in sdxl.items():
        with torch.device("meta"):
            add_lora(component, model, train)
        names += [name for name, _ in named_layers(component, model)]
    assert len(names) == RECORDED["modules"] == 986
    assert hashlib.sha256("\n".join(sorted(names)).encode()).hexdigest() == RECORDED["names_sha256"]


def test_a_file_of_theirs_is_read_with_its_shapes_and_its_alpha(tmp_path: Path) -> None:
    import numpy as np

    tensors = {
        key: np.full(shape, RECORDED["alpha"] if key.endswith(".alpha") else 0.01, np.float16)
        for key, shape in RECORDED["some"].items()
    }
    path = tmp_path / "theirs.safetensors"
    save_file(tensors, path, {"ss_network_dim": "4"})
    with torch.device("meta"):
        models = {
            UNET: UNet2DConditionModel.from_config(json.loads((DATA / "sdxl_unet.json").read_text())),
            TEXT_ENCODER: CLIPTextModel(CLIPTextConfig(**RECORDED["text_encoders"]["text_encoder"])),
            TEXT_ENCODER_2: CLIPTextModelWithProjection(CLIPTextConfig(**RECORDED["text_encoders"]["text_encoder_2"])),
        }
    layers = read_layers(path, models)
    assert len(layers) * 3 == len(tensors)
    assert {layer.component for layer in layers} == {UNET, TEXT_ENCODER, TEXT_ENCODER_2}
    assert {layer.scale for layer in layers} == {0.5}


@pytest.mark.slow
@pytest.mark.skipif(not SCRIPTS, reason="PISTACHIO_KOHYA names no folder of sd-scripts")
def test_the_real_network_loads_our_files_whole_and_we_load_theirs(tmp_path: Path) -> None:
    from bench.kohya_names import measure

    python = Path(os.environ.get("PISTACHIO_KOHYA_PYTHON") or Path(SCRIPTS) / "venv/bin/python")
    for figures, modules in zip(measure(Path(SCRIPTS), python, tmp_path)["files"], (986, 1052), strict=True):
        assert (figures["missing"], figures["unexpected"], figures["modules"]) == ([], [], modules)
        for who in ("ours, read by us", "theirs, read by us"):
            assert figures[who]["modules"] == figures[who]["modules in the file"] == modules
            assert figures[who]["largest difference"] == 0
        assert figures["modules that only one of us trains"] == 0
