"""The LoRA itself (Hu et al. 2021, arXiv:2106.09685): put into the models, and taken out as a file's tensors."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from peft import LoraConfig, inject_adapter_in_model
from peft.tuners.lora import LoraLayer

from stages.contracts.lora_names import UNET, kohya_names, module_table
from stages.contracts.settings import Train
from stages.runtime.seeds import derive_seed

ATTENTION = ("to_q", "to_k", "to_v", "to_out.0")
FEED_FORWARD = ("ff.net.0.proj", "ff.net.2")
PROJECTIONS = ("proj_in", "proj_out")
# kohya's conv_dim (LoCon, arXiv:2309.14859): residual blocks and the layers between resolutions.
CONVOLUTIONS = ("conv1", "conv2", "conv_shortcut", "time_emb_proj", "downsamplers.0.conv", "upsamplers.0.conv")
TEXT_ATTENTION = ("q_proj", "k_proj", "v_proj", "out_proj")
TEXT_FEED_FORWARD = ("fc1", "fc2")
ADAPTER = "default"


def target_layers(component: str, layers: str) -> list[str]:
    """Endings of the module names that get a LoRA; the text encoders follow the UNet's choice."""
    if component != UNET:
        return [*TEXT_ATTENTION, *(() if layers == "attention" else TEXT_FEED_FORWARD)]
    match layers:
        case "attention":
            return [*ATTENTION]
        case "attention+feed_forward":
            return [*ATTENTION, *FEED_FORWARD]
        case "transformer":
            return [*ATTENTION, *FEED_FORWARD, *PROJECTIONS]
        case _:
            return [*ATTENTION, *FEED_FORWARD, *PROJECTIONS, *CONVOLUTIONS]


def add_lora(component: str, model: torch.nn.Module, train: Train) -> list[torch.nn.Parameter]:
    """Freeze ``model``, put a fresh LoRA into it (its effect is zero) and return the LoRA's parameters, float32."""
    model.requires_grad_(False)
    alpha: Any = train.alpha or train.rank  # peft takes a fraction too, whatever its annotation says
    config = LoraConfig(
        r=train.rank, lora_alpha=alpha, target_modules=target_layers(component, train.layers), use_dora=train.dora,
        use_rslora=train.rslora,
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]):  # peft draws its first values from the global generator
        torch.manual_seed(derive_seed(train.seed, "adapter", component))
        inject_adapter_in_model(config, model, ADAPTER)
    parameters = [parameter for name, parameter in model.named_parameters() if "lora_" in name]
    for parameter in parameters:
        parameter.requires_grad_(True)
    return parameters


def lora_layers(model: torch.nn.Module) -> Iterator[tuple[str, LoraLayer]]:
    """Every layer with a LoRA, by the name that its module has without one."""
    for name, module in model.named_modules():
        if isinstance(module, LoraLayer):
            yield name, module


def plain_names(model: torch.nn.Module) -> list[str]:
    """The module names of ``model`` as they were before a LoRA was put in."""
    layers = {name for name, _ in lora_layers(model)}

    def is_inside(name: str) -> bool:
        parts = name.split(".")
        return any(".".join(parts[:end]) in layers for end in range(1, len(parts)))

    return [name for name, _ in model.named_modules() if not is_inside(name)]


def named_layers(component: str, model: torch.nn.Module) -> Iterator[tuple[str, LoraLayer]]:
    """Every layer with a LoRA, by its name in a LoRA file; a name that leads back to another module is a bug."""
    modules = plain_names(model)
    names, back = kohya_names(component, modules), module_table(component, modules)
    for module, layer in lora_layers(model):
        name = names[module]
        if back[name] != module:
            raise AssertionError(f"{name} maps back to {back[name]}, not to {module}")
        yield name, layer


def export_lora(models: Mapping[str, torch.nn.Module], dtype: torch.dtype = torch.float16) -> dict[str, np.ndarray]:
    """The tensors of a LoRA file: ``<name>.lora_down.weight``, ``.lora_up.weight`` and ``.alpha`` per layer.

    Readers scale by alpha / rank, so what is written as alpha is the layer's true scale times its rank (rsLoRA's is
    alpha / sqrt(rank)).  DoRA adds ``.dora_scale``, the length of every row of the weight, (out, 1, ...).

    float16, as kohya saves by default: half the size, and its rounding (5e-4 of a value) is far below a step's noise.
    """
    tensors: dict[str, np.ndarray] = {}
    for component, model in models.items():
        for name, layer in named_layers(component, model):
            known: Any = layer  # peft types everything as modules
            down, up = known.lora_A[ADAPTER].weight, known.lora_B[ADAPTER].weight
            alpha = torch.tensor(float(known.scaling[ADAPTER]) * known.r[ADAPTER])
            parts: dict[str, Any] = {"lora_down.weight": down, "lora_up.weight": up, "alpha": alpha}
            if known.use_dora[ADAPTER]:
                magnitude = known.lora_magnitude_vector[ADAPTER].weight
                parts["dora_scale"] = magnitude.reshape(-1, *[1] * (down.ndim - 1))
            for part, tensor in parts.items():
                tensors[f"{name}.{part}"] = tensor.detach().to("cpu", dtype).contiguous().numpy()
    return tensors
