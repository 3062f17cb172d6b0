"""Are our LoRA files loaded whole by sd-scripts' own network, and theirs by ours?  SDXL's full shape, every module.

    python -m bench.kohya_names FOLDER [PYTHON]     # kohya's sd-scripts, and the Python of their environment

Started with our Python; it starts itself with theirs for their half, in which nothing of ours is imported.  The base
has shapes and no values, so it needs no weights and about 2 GB.  Figures are appended to bench/results/kohya.json.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
RESULTS = HERE / "results" / "kohya.json"
RANK, ALPHA, CONV_RANK = 4, 2.0, 4
LAYERS = ("transformer", "all")  # as train.layers says; theirs: without and with conv_dim


def their_half(folder: Path) -> None:
    """In sd-scripts' environment: load ``ours-*.safetensors``, write what came of it, and write files of their own."""
    import torch
    from accelerate import init_empty_weights
    from library import sdxl_original_unet
    from networks import lora
    from safetensors.torch import save_file
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    def open_base() -> tuple[list[torch.nn.Module], torch.nn.Module]:
        shapes = json.loads((folder / "text.json").read_text())
        with init_empty_weights():
            first, second = (CLIPTextConfig(**shapes[name]) for name in ("text_encoder", "text_encoder_2"))
            encoders: list[torch.nn.Module] = [CLIPTextModel(first), CLIPTextModelWithProjection(second)]
            return encoders, sdxl_original_unet.SdxlUNet2DConditionModel()

    for layers in LAYERS:  # first, and the default first: reading a file adds the convolutions to a list of the class
        encoders, unet = open_base()
        conv = {"conv_dim": str(CONV_RANK), "conv_alpha": str(ALPHA)} if layers == "all" else {}
        network = lora.create_network(1.0, RANK, ALPHA, None, encoders, unet, **conv)
        network.apply_to(encoders, unet, True, True)
        torch.manual_seed(1)
        with torch.no_grad():
            for part in network.text_encoder_loras + network.unet_loras:
                part.lora_up.weight.normal_(0, 0.02)
        network.save_weights(str(folder / f"theirs-{layers}.safetensors"), torch.float16, {"ss_network_dim": str(RANK)})
    told: dict[str, Any] = {"torch": torch.__version__}
    for layers in LAYERS:
        path = folder / f"ours-{layers}.safetensors"
        encoders, unet = open_base()
        network, _ = lora.create_network_from_weights(1.0, str(path), None, encoders, unet)
        network.apply_to(encoders, unet, True, True)
        info = network.load_weights(str(path))
        scales = {part.lora_name: float(part.scale) for part in network.text_encoder_loras + network.unet_loras}
        told[f"loaded {layers}"] = {
            "missing": info.missing_keys, "unexpected": info.unexpected_keys, "modules": len(scales),
            "scales": sorted(set(scales.values())),
        }  # fmt: skip
        tensors = {key: value.contiguous() for key, value in network.state_dict().items()}
        save_file(tensors, folder / f"back-{layers}.safetensors")
    (folder / "told.json").write_text(json.dumps(told))


def our_files(folder: Path) -> dict[str, Any]:
    """Write ``ours-*.safetensors`` as our trainer would, with random values; the base's models, shapes only."""
    import numpy as np
    import torch

    from bench.kohya_base import open_unet
    from bench.random_sdxl import BUILDERS, CLIP_CONFIG, OPEN_CLIP_CONFIG
    from stages.backends.train.adapters import add_lora, named_layers
    from stages.contracts.lora import write_lora
    from stages.contracts.lora_names import TEXT_ENCODER, TEXT_ENCODER_2, UNET
    from stages.contracts.train_settings import Train

    def open_base() -> dict[str, torch.nn.Module]:
        with torch.device("meta"):
            return {UNET: open_unet(), **{name: BUILDERS[name]() for name in (TEXT_ENCODER, TEXT_ENCODER_2)}}

    (folder / "text.json").write_text(json.dumps({TEXT_ENCODER: CLIP_CONFIG, TEXT_ENCODER_2: OPEN_CLIP_CONFIG}))
    draw = np.random.default_rng(0)
    for layers in LAYERS:
        train = Train(version="bench", base=Path("base"), rank=RANK, alpha=ALPHA, layers=layers)
        tensors = {}
        for component, model in open_base().items():
            with torch.device("meta"):
                add_lora(component, model, train)
            for name, layer in named_layers(component, model):
                known: Any = layer
                for part, made in (("lora_down", known.lora_A), ("lora_up", known.lora_B)):
                    shape = tuple(made["default"].weight.shape)
                    tensors[f"{name}.{part}.weight"] = draw.normal(0, 0.02, shape).astype(np.float16)
                tensors[f"{name}.alpha"] = np.array(ALPHA, np.float16)
        write_lora(folder / f"ours-{layers}.safetensors", tensors, {"ss_network_dim": str(RANK)})
    return open_base()


def compare(folder: Path, base: dict[str, Any], layers: str, told: dict[str, Any]) -> dict[str, Any]:
    """The figures of one choice of layers; differences are of alpha / rank * up @ down, the largest of any module."""
    from safetensors.torch import load_file

    from stages.backends.generate.lora import read_layers
    from stages.contracts.lora import read_header
    from stages.contracts.lora_names import kohya_names

    names = {part: kohya_names(part, [name for name, _ in model.named_modules()]) for part, model in base.items()}
    figures: dict[str, Any] = {"layers": layers, **told[f"loaded {layers}"]}
    sets = {}
    for who, file in (("ours", f"ours-{layers}.safetensors"), ("theirs", f"theirs-{layers}.safetensors")):
        path = folder / file
        read, raw = (
            read_layers(path, base),
            load_file(path if who == "theirs" else folder / f"back-{layers}.safetensors"),
        )
        differences = []
        for layer in read:
            name = names[layer.component][layer.module]
            down, up = raw[f"{name}.lora_down.weight"].float(), raw[f"{name}.lora_up.weight"].float()
            theirs = (up.flatten(1) @ down.flatten(1)) * (float(raw[f"{name}.alpha"]) / down.shape[0])
            ours = (layer.up.flatten(1) @ layer.down.flatten(1)) * layer.scale
            differences.append(float((ours - theirs).abs().max()))
        sets[who] = {key.split(".")[0] for key in read_header(path).tensors}
        figures[f"{who}, read by us"] = {
            "modules": len(read), "modules in the file": len(sets[who]), "largest difference": max(differences),
            "by part": {part: sum(layer.component == part for layer in read) for part in base},
        }  # fmt: skip
    figures["modules that only one of us trains"] = len(sets["ours"] ^ sets["theirs"])
    return figures


def measure(scripts: Path, python: Path, folder: Path) -> dict[str, Any]:
    """Both halves, in ``folder``; what they found."""
    base = our_files(folder)
    environment = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(scripts), "HF_HUB_OFFLINE": "1"}
    command = [str(python), str(Path(__file__).resolve()), "--peer", str(folder)]
    done = subprocess.run(
        command, env=environment, cwd=scripts, capture_output=True, text=True, timeout=900, check=False
    )
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])
    told = json.loads((folder / "told.json").read_text())
    return {"torch of sd-scripts": told["torch"], "files": [compare(folder, base, layers, told) for layers in LAYERS]}


def main(arguments: list[str]) -> None:
    """Measure, print, and append to the results."""
    scripts = Path(arguments[0]).resolve()
    python = Path(arguments[1]) if len(arguments) > 1 else scripts / "venv" / "bin" / "python"
    from bench.results_file import append_result, describe_peer

    with tempfile.TemporaryDirectory() as folder:
        figures = measure(scripts, python.absolute(), Path(folder))
    append_result(RESULTS, "python -m bench.kohya_names", {"sd-scripts": describe_peer(scripts, python)}, figures)
    print(json.dumps(figures, indent=1))


if __name__ == "__main__":
    if sys.argv[1] == "--peer":
        their_half(Path(sys.argv[2]))
    else:
        main(sys.argv[1:])
