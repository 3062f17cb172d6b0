"""Captions by BLIP-2 (Li et al. 2023, arXiv:2301.12597) through transformers, from a local folder."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from safetensors import SafetensorError
from transformers import Blip2ForConditionalGeneration, Blip2Processor
from transformers.utils.logging import disable_progress_bar

from stages.contracts.captions import clean_text
from stages.contracts.settings import Caption, Dataset, Machine
from stages.runtime.errors import UserError

TODO = "set caption.model to a local BLIP-2 folder"


def _model_folder(folder: Path | None) -> Path:
    if folder is None:
        raise UserError("caption.model", "not set", TODO)
    if not (folder / "config.json").is_file():
        # Asked for a folder that is not there, transformers would look for a hub repository of that name.
        raise UserError(folder, "no model folder (caption.model; it has no config.json)", TODO)
    return folder


def _load(folder: Path, device: torch.device) -> tuple[Blip2ForConditionalGeneration, Blip2Processor]:
    dtype = torch.float16 if device.type == "cuda" else torch.float32
    try:
        loaded: Any = Blip2ForConditionalGeneration.from_pretrained(
            folder, dtype=dtype, local_files_only=True, output_loading_info=True
        )
        # PIL, whether torchvision is there or not: it decides the last bits of the pixels.
        processor = Blip2Processor.from_pretrained(folder, backend="pil", local_files_only=True)
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        raise UserError(folder, f"not a BLIP-2 model that can be loaded ({error})", TODO) from None
    model, report = loaded
    if report["missing_keys"]:  # transformers fills them with noise and only warns
        raise UserError(folder, f"not a BLIP-2 model: {len(report['missing_keys'])} weights are missing", TODO)
    if model.config.image_token_index is None:
        raise UserError(folder, "a BLIP-2 of before its image token (config.json: image_token_index)", TODO)
    processor.num_query_tokens = model.config.num_query_tokens
    return model.eval().to(device), processor


class Blip2Captioner:
    """Greedy captions in micro-batches of one fixed size, so that a caption depends on its picture alone."""

    def __init__(self, caption: Caption, dataset: Dataset, machine: Machine) -> None:
        """Load the model: float16 on a GPU, float32 on a CPU.

        Raises:
            UserError: when ``caption.model`` is not the folder of a BLIP-2, or the device is not there.
        """
        folder = _model_folder(caption.model)
        if machine.device.startswith("cuda") and not torch.cuda.is_available():
            raise UserError("machine.device", f"{machine.device}: no GPU that torch can use", "set machine.device=cpu")
        torch.set_num_threads(machine.threads)
        disable_progress_bar()  # of loading weights; a log wants the stage's own lines only
        self.device = torch.device(machine.device)
        self.model, self.processor = _load(folder, self.device)
        self.prompt, self.max_new_tokens, self.batch = caption.prompt, caption.max_new_tokens, caption.micro_batch

    def captions(self, images: Sequence[np.ndarray]) -> Iterator[str]:
        """Yield one caption on one line, without the prompt and the trigger, per uint8 (H, W, 3) RGB picture."""
        for start in range(0, len(images), self.batch):
            group = list(images[start : start + self.batch])
            padding = [group[-1]] * (self.batch - len(group))
            yield from self._caption_batch(group + padding)[: len(group)]

    def _caption_batch(self, images: list[np.ndarray]) -> list[str]:
        text = [self.prompt] * len(images) if self.prompt else None
        pictures = [Image.fromarray(image) for image in images]
        inputs = self.processor(images=pictures, text=text, return_tensors="pt").to(self.device, self.model.dtype)
        with torch.no_grad():
            tokens = self.model.generate(**inputs, max_new_tokens=self.max_new_tokens, do_sample=False, num_beams=1)
        # A decoder-only language model repeats what it was given: picture tokens, then the prompt or its start token.
        given = inputs["input_ids"].shape[1] if text else self.model.config.num_query_tokens + 1
        said = tokens if self.model.language_model.config.is_encoder_decoder else tokens[:, given:]
        return [clean_text(line) for line in self.processor.batch_decode(said, skip_special_tokens=True)]
