"""Captions by BLIP-2 (Li et al. 2023, arXiv:2301.12597) through transformers, from a local folder."""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from PIL import Image
from transformers import Blip2ForConditionalGeneration, Blip2Processor

from stages.backends.caption.folders import Family, in_batches, open_model
from stages.contracts.settings import Caption, Dataset, Machine

BLIP2 = Family(
    name="BLIP-2", model=Blip2ForConditionalGeneration, processor=Blip2Processor, image_token="image_token_index",
    todo="set caption.model to a local BLIP-2 folder",
)  # fmt: skip


class Blip2Captioner:
    """Greedy or beam-searched captions in micro-batches of one fixed size."""

    def __init__(self, caption: Caption, dataset: Dataset, machine: Machine) -> None:
        """Load the model: float16 on a GPU, float32 on a CPU.

        Raises:
            UserError: when ``caption.model`` is not the folder of a BLIP-2, or the device is not there.
        """
        self.model, self.processor = open_model(BLIP2, caption, machine)
        self.processor.num_query_tokens = self.model.config.num_query_tokens
        self.settings = caption

    def captions(self, images: Sequence[np.ndarray]) -> Iterator[str]:
        """Yield one caption on one line, without the prompt and the trigger, per uint8 (H, W, 3) RGB picture."""
        return in_batches(images, self.settings.micro_batch, self._ask)

    def _ask(self, pictures: list[Image.Image]) -> list[str]:
        settings, model = self.settings, self.model
        text = [settings.prompt] * len(pictures) if settings.prompt else None
        inputs = self.processor(images=pictures, text=text, return_tensors="pt").to(model.device, model.dtype)
        with torch.no_grad():
            tokens = model.generate(
                **inputs, max_new_tokens=settings.max_new_tokens, do_sample=False, num_beams=settings.beams
            )
        # A decoder-only language model repeats what it was given: picture tokens, then the prompt or its start token.
        given = inputs["input_ids"].shape[1] if text else model.config.num_query_tokens + 1
        said = tokens if model.language_model.config.is_encoder_decoder else tokens[:, given:]
        decoded: list[str] = self.processor.batch_decode(said, skip_special_tokens=True)
        return decoded
