"""Doubles of ComfyUI with what the generator needs on them, and what it should draw there."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from comfyui.server import Double, open_double

from stages.backends.generate.comfyui import post, run
from stages.contracts.comfyui_settings import PLAIN, ComfyUI
from stages.contracts.generation import ImageRequest
from stages.contracts.lora import write_lora

ROOT = Path(__file__).parent.parent
WORKFLOWS = ROOT / "conf/workflows"
CONDITIONERS = {
    "instantid": "ip-adapter.bin",
    "controlnet": "instantid/diffusion_pytorch_model.safetensors",
    "ipadapter": "ip-adapter-faceid-plusv2_sdxl.bin",
    "clip_vision": "CLIP-ViT-H-14-laion2B-s32B-b79K.safetensors",
}
FACE_LORA = "ip-adapter-faceid-plusv2_sdxl_lora.safetensors"
HASTE = {"POLL": 0.005, "MOVE_ON": 0.05}  # seconds; so patient as a loopback server needs


def settings(base: Path, **changes: object) -> ComfyUI:
    """Where the workflows lie, and what the servers call ``base``."""
    workflows = {
        PLAIN: WORKFLOWS / "text_to_image.json", "lora": WORKFLOWS / "lora.json",
        "lora+instantid": WORKFLOWS / "lora_instantid.json",
        "lora+ipadapter": WORKFLOWS / "lora_ipadapter_faceid.json",
    }  # fmt: skip
    return ComfyUI(**{"checkpoints": {base.as_posix(): "base.safetensors"}, "workflows": workflows} | changes)  # type: ignore[arg-type]


def equip(double: Double) -> None:
    """Put the model files on a double: stand-ins, which nobody opens."""
    files = {"checkpoints": "base.safetensors"} | CONDITIONERS
    for kind, name in files.items():
        place = double.folders.paths(kind)[0] / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(b"stand-in")
    write_stand_in_lora(double.loras / FACE_LORA)


@contextmanager
def open_server(folder: Path, **options: object) -> Iterator[Double]:
    """A double that can draw in every mode."""
    with open_double(folder, **options) as double:  # type: ignore[arg-type]
        equip(double)
        yield double


def write_stand_in_lora(path: Path, steps: int = 200, key: str = "lora_unet_input_blocks_1_0_in_layers_2") -> Path:
    """A LoRA in kohya's names that no model has ever seen."""
    tensors = {f"{key}.lora_down.weight": np.ones((1, 4), np.float32), f"{key}.lora_up.weight": np.ones((4, 1))}
    tensors = {name: tensor.astype(np.float32) for name, tensor in tensors.items()}
    write_lora(path, tensors, {"ss_steps": str(steps), "ss_network_dim": "1"})
    return path


def hurry(monkeypatch) -> None:  # type: ignore[no-untyped-def]
    """Let nobody wait longer than a test should."""
    for name, value in HASTE.items():
        monkeypatch.setattr(run, name, value)
    monkeypatch.setattr(post, "REST", (0.005, 0.02))


def request(base: Path, **changes: object) -> ImageRequest:
    """A small picture of the persona."""
    values = {"prompt": "amira, a woman", "seed": 1, "base": base, "lora": None, "guidance": 3.0, "sampler": "ddim",
              "steps": 2, "width": 64, "height": 64}  # fmt: skip
    return ImageRequest(**values | changes)  # type: ignore[arg-type]
