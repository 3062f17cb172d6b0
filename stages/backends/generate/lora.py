"""A LoRA file added to a model's weights, and taken out again without a trace.

weight + strength * alpha / rank * up @ down (arXiv:2106.09685) is computed once per change: drawing costs nothing more.
DoRA (arXiv:2402.09353) gives every row of that sum a length of its own; strength then says how far to go there.
"""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from stages.contracts.lora_names import PREFIXES, TEXT_ENCODER, TEXT_ENCODER_2, module_table
from stages.runtime.errors import UserError

PARTS = (".lora_down.weight", ".lora_up.weight", ".alpha", ".dora_scale")
SHOWN = 3  # keys named in an error
Models = Mapping[str, torch.nn.Module]


@dataclass(frozen=True)
class Layer:
    """The LoRA of one module: down (rank, in, ...), up (out, rank, ...), float32, and alpha / rank.

    With DoRA also the length of every row, float32 (out,).
    """

    component: str
    module: str
    down: torch.Tensor
    up: torch.Tensor
    scale: float
    lengths: torch.Tensor | None = None

    def delta(self, weight: torch.Tensor) -> torch.Tensor:
        """What is added to the base's own ``weight`` at strength 1, float32, in its shape and on its device."""
        down, up = self.down.to(weight.device).flatten(1), self.up.to(weight.device).flatten(1)
        change = (up @ down) * self.scale
        if self.lengths is None:
            return change.reshape(weight.shape)
        own = weight.float().flatten(1)
        moved = own + change
        lengths = self.lengths.to(weight.device)[:, None]
        return (moved * (lengths / moved.norm(dim=1, keepdim=True)) - own).reshape(weight.shape)


def _some(keys: list[str]) -> str:
    more = f" and {len(keys) - SHOWN} more" if len(keys) > SHOWN else ""
    return ", ".join(keys[:SHOWN]) + more


def _read(path: Path) -> dict[str, dict[str, torch.Tensor]]:
    """The file's tensors by module name and part."""
    try:
        tensors = load_file(path)
    except FileNotFoundError:
        raise UserError(path, "no such LoRA file", "run `dvc repro train`") from None
    except (SafetensorError, OSError) as error:
        raise UserError(path, f"not a safetensors file ({error})") from None
    layers: dict[str, dict[str, torch.Tensor]] = defaultdict(dict)
    strange = []
    for key in sorted(tensors):
        part = next((part for part in PARTS if key.endswith(part)), None)
        if part is None:
            strange.append(key)
        else:
            layers[key.removesuffix(part)][part] = tensors[key].float()
    if strange or not layers:
        what = f"holds keys that are no LoRA in kohya's form: {_some(strange)}" if strange else "holds no LoRA"
        raise UserError(path, what, "convert it to kohya's names (lora_unet_... .lora_down.weight)")
    return layers


def _weight(models: Models, component: str, module: str) -> torch.Tensor | None:
    """The module's matrix or kernel; None where it has none."""
    weight = getattr(models[component].get_submodule(module), "weight", None)
    return weight if isinstance(weight, torch.Tensor) else None


def _match(name: str, parts: dict[str, torch.Tensor], models: Models, tables: dict[str, dict[str, str]]) -> Layer | str:
    """The layer that ``name`` means, or what is wrong with it."""
    component = next((c for c, prefix in PREFIXES.items() if name.startswith(f"{prefix}_")), "")
    module = tables.get(component, {}).get(name)
    weight = _weight(models, component, module) if module else None
    if module is None or weight is None:
        return "holds keys that this base has no module for"
    down, up = parts.get(PARTS[0]), parts.get(PARTS[1])
    if down is None or up is None:
        return "holds only one half of"
    rank = down.shape[0]
    if (up.shape[0], down[0].numel(), up[0].numel()) != (weight.shape[0], weight[0].numel(), rank):
        return "was made for a base of another shape"
    lengths = parts[PARTS[3]].flatten() if PARTS[3] in parts else None
    if lengths is not None and len(lengths) != weight.shape[0]:
        return "has DoRA lengths that are not one per output of"
    scale = float(parts[PARTS[2]]) / rank if PARTS[2] in parts else 1.0
    return Layer(component, module, down, up, scale, lengths)


def read_layers(path: Path, models: Models) -> list[Layer]:
    """The layers of a LoRA file in kohya's form, each matched to a module of ``models`` (component -> model).

    Raises:
        UserError: naming the keys that mean no module, lack their other half, or have another shape.
    """
    tables = {name: module_table(name, (path for path, _ in model.named_modules())) for name, model in models.items()}
    layers, wrong = [], defaultdict(list)
    for name, parts in _read(path).items():
        match _match(name, parts, models, tables):
            case Layer() as layer:
                layers.append(layer)
            case what:
                wrong[what].append(name)
    for what, names in wrong.items():
        raise UserError(path, f"{what}: {_some(names)}", "use a LoRA of this base, in kohya's form")
    return layers


class Blend:
    """A model's weights with at most one LoRA in them."""

    def __init__(self, models: Models) -> None:
        self.models = models
        self.kept: dict[tuple[str, str], torch.Tensor] = {}  # the base's own weights of every module that was changed

    @torch.no_grad()
    def set(self, layers: list[Layer], strength: float) -> None:
        """Make the weights the base's plus ``layers`` at ``strength``; no layers: the base's, bit for bit."""
        for place, own in self.kept.items():
            self._at(place).copy_(own)
        for layer in layers:
            place = (layer.component, layer.module)
            weight = self._at(place)
            if place not in self.kept:
                self.kept[place] = weight.clone()
            weight.copy_(weight.float() + strength * layer.delta(weight))

    def _at(self, place: tuple[str, str]) -> torch.Tensor:
        weight = _weight(self.models, *place)
        assert weight is not None  # read_layers matched it
        return weight


def touches_text(layers: list[Layer]) -> bool:
    """Whether prompts mean something else under this LoRA."""
    return any(layer.component in (TEXT_ENCODER, TEXT_ENCODER_2) for layer in layers)
