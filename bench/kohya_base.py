"""Write a base model of SDXL's full shape with random weights: sd-scripts fit no other shape.

    python -m bench.kohya_base --out FOLDER --tokenizer COMFYUI/comfy/sd1_tokenizer      # 7 GB, bfloat16

It draws nothing that anybody would look at: it is for whether files load and trainings run.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import torch
from diffusers import UNet2DConditionModel

from bench.random_sdxl import BUILDERS, INDEX, NOISE, write_tokenizers
from stages.contracts.lora_names import UNET
from stages.runtime.files import write_json

UNET_CONFIG = Path(__file__).parents[1] / "tests" / "data" / "sdxl_unet.json"


def open_unet() -> UNet2DConditionModel:
    """SDXL's UNet as its published configuration says; under device ``meta`` all shape and no values."""
    unet: UNet2DConditionModel = UNet2DConditionModel.from_config(json.loads(UNET_CONFIG.read_text(encoding="utf-8")))
    return unet


@torch.no_grad()
def build_component(name: str) -> torch.nn.Module:
    """One of the pipeline's models in bfloat16: norms that pass everything through, other weights small."""
    with torch.device("meta"):
        model = open_unet() if name == UNET else BUILDERS[name]()
    model = model.to(torch.bfloat16).to_empty(device="cpu")
    for key, parameter in model.named_parameters():
        if parameter.ndim > 1:
            parameter.normal_(0, 0.02)
        else:
            parameter.fill_(1.0 if key.endswith("weight") else 0.0)
    for key, buffer in model.named_buffers():
        if key.endswith("position_ids"):
            buffer.copy_(torch.arange(buffer.shape[-1]).expand_as(buffer))
    return model


def main() -> None:
    """Write the folder, a model at a time."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder to write")
    parser.add_argument("--tokenizer", type=Path, required=True, help="folder with CLIP's vocab.json and merges.txt")
    arguments = parser.parse_args()
    torch.manual_seed(0)
    write_tokenizers(arguments.tokenizer, arguments.out)
    write_json(arguments.out / "model_index.json", INDEX)
    write_json(arguments.out / "scheduler" / "scheduler_config.json", NOISE)
    for name in BUILDERS:
        component: Any = build_component(name)
        component.save_pretrained(arguments.out / name)
        print(f"{name}: written", flush=True)


if __name__ == "__main__":
    main()
