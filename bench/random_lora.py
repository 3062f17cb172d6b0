"""Make a random LoRA of the random SDXL with the project's own exporter: rank 4 in the UNet and both text encoders.

    python -m bench.random_lora --out FILE [--seed 0] [--layers transformer] [--dora]

For measuring, not for drawing: its pictures are as random as the base's.
"""

import argparse
import math
from pathlib import Path
from typing import Any

import torch

from bench.random_sdxl import BUILDERS
from stages.backends.train.adapters import ADAPTER, add_lora, export_lora, lora_layers
from stages.contracts.lora import write_lora
from stages.contracts.lora_names import TEXT_ENCODER, TEXT_ENCODER_2, UNET
from stages.contracts.settings import Train

EFFECT = 0.3  # length of what a layer's LoRA adds, in lengths of the layer's own weight


def add_random_lora(component: str, model: torch.nn.Module, train: Train, generator: torch.Generator) -> None:
    """Put a LoRA with random weights into a model that may have none itself (device ``meta``)."""
    add_lora(component, model, train)
    for _, found in lora_layers(model):
        layer: Any = found  # peft types everything as modules
        for half, size in ((layer.lora_A, 1.0), (layer.lora_B, EFFECT)):
            weight = half[ADAPTER].weight
            scale = size / math.sqrt(weight[0].numel())
            half[ADAPTER].weight = torch.nn.Parameter(scale * torch.randn(weight.shape, generator=generator))
        for vector in layer.lora_magnitude_vector.values():
            vector.weight = torch.nn.Parameter(1 + 0.1 * torch.randn(vector.weight.shape, generator=generator))


def write_random_lora(path: Path, seed: int, layers: str = "transformer", dora: bool = False) -> None:
    """A LoRA file as training writes it, with random weights."""
    train = Train(version="random", base=Path(), rank=4, layers=layers, dora=dora)
    generator, models = torch.Generator().manual_seed(seed), {}
    for component in (UNET, TEXT_ENCODER, TEXT_ENCODER_2):
        with torch.device("meta"):
            models[component] = BUILDERS[component]()
        add_random_lora(component, models[component], train, generator)
    write_lora(path, export_lora(models), {"modelspec.title": path.stem})


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="the file to write")
    parser.add_argument("--seed", type=int, default=0, help="other weights")
    parser.add_argument("--layers", default="transformer", help="train.layers")
    parser.add_argument("--dora", action="store_true", help="train.dora")
    arguments = parser.parse_args()
    write_random_lora(arguments.out, arguments.seed, arguments.layers, arguments.dora)


if __name__ == "__main__":
    main()
