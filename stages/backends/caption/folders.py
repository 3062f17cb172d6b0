"""A captioning model in its local folder: opened whole or refused with one line, and asked in batches of one size."""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from huggingface_hub.errors import StrictDataclassError
from PIL import Image
from safetensors import SafetensorError
from transformers.utils.logging import disable_progress_bar

from stages.contracts.captions import clean_text
from stages.contracts.settings import Caption, Machine
from stages.runtime.errors import UserError

IMAGE_TOKEN = "<image>"
# What transformers raises for files that are not what it expects: one of these or another, depending on the file.
FOREIGN = (OSError, ValueError, KeyError, TypeError, AttributeError, RuntimeError, SafetensorError,
           StrictDataclassError)  # fmt: skip
SHOWN = 200  # characters of a library's message; some list every model there is


@dataclass(frozen=True)
class Family:
    """A kind of captioning model: its name, the classes that load it, and where it comes from."""

    name: str
    model: Any
    processor: Any
    image_token: str  # the key of config.json that holds the image token's number
    todo: str

    @property
    def model_type(self) -> str:
        """What config.json calls it."""
        return str(self.model.config_class.model_type)


def open_model(family: Family, caption: Caption, machine: Machine) -> tuple[Any, Any]:
    """The model, float16 on a GPU and float32 on a CPU, and its processor.

    Raises:
        UserError: when ``caption.model`` is not a whole folder of the family, or the device is not there.
    """
    folder = _find(family, caption.model)
    if machine.device.startswith("cuda") and not torch.cuda.is_available():
        raise UserError("machine.device", f"{machine.device}: no GPU that torch can use", "set machine.device=cpu")
    torch.set_num_threads(machine.threads)
    disable_progress_bar()  # of loading weights; a log wants the stage's own lines only
    device = torch.device(machine.device)
    model, processor = _load(family, folder, torch.float16 if device.type == "cuda" else torch.float32)
    return model.eval().to(device), processor


def _find(family: Family, folder: Path | None) -> Path:
    if folder is None:
        raise UserError("caption.model", "not set", family.todo)
    if not (folder / "config.json").is_file():
        # Asked for a folder that is not there, transformers would look for a hub repository of that name.
        raise UserError(folder, "no model folder (caption.model; it has no config.json)", family.todo)
    try:
        found = json.loads((folder / "config.json").read_text(encoding="utf-8"))["model_type"]
    except (OSError, ValueError, KeyError, TypeError):
        raise UserError(folder, f"not a {family.name} model (config.json names no model_type)", family.todo) from None
    if found != family.model_type:
        raise UserError(folder, f"not a {family.name} model (config.json says {found!r})", family.todo)
    return folder


def _load(family: Family, folder: Path, dtype: torch.dtype) -> tuple[Any, Any]:
    try:
        model, report = family.model.from_pretrained(
            folder, dtype=dtype, local_files_only=True, output_loading_info=True
        )
        # PIL, whether torchvision is there or not: it decides the last bits of the pixels.
        processor = family.processor.from_pretrained(folder, backend="pil", local_files_only=True)
    except FOREIGN as error:
        what = f"not a {family.name} model that can be loaded ({clean_text(str(error))[:SHOWN]})"
        raise UserError(folder, what, family.todo) from None
    if report["missing_keys"]:  # transformers fills them with noise and only warns
        what = f"not a {family.name} model: {len(report['missing_keys'])} weights are missing"
        raise UserError(folder, what, family.todo)
    stated = getattr(model.config, family.image_token)
    if stated is None:
        raise UserError(folder, f"of before its image token (config.json: {family.image_token})", family.todo)
    found = processor.tokenizer.convert_tokens_to_ids(IMAGE_TOKEN)
    if found != stated:  # without its files transformers makes an empty tokenizer and says nothing
        what = f"the tokenizer is not the model's: {IMAGE_TOKEN} is {found}, in config.json {stated}"
        raise UserError(folder, what, family.todo)
    return model, processor


def in_batches(
    images: Sequence[np.ndarray], size: int, ask: Callable[[list[Image.Image]], Sequence[str]]
) -> Iterator[str]:
    """Yield what ``ask`` says of every uint8 (H, W, 3) RGB picture, each on one line.

    ``ask`` always gets ``size`` pictures, the last one repeated, so that a caption depends on its picture alone.
    """
    for start in range(0, len(images), size):
        group = [Image.fromarray(image) for image in images[start : start + size]]
        said = ask(group + [group[-1]] * (size - len(group)))
        yield from (clean_text(text) for text in said[: len(group)])
