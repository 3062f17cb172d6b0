"""Captions by Florence-2 (Xiao et al. 2023, arXiv:2311.06242) through transformers, from a local folder.

Not yet run with the published weights.  They must have transformers' own layout (florence-community/Florence-2-large);
Microsoft's folders of the same name hold the layout of the code that came with them.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from PIL import Image
from transformers import Florence2ForConditionalGeneration, Florence2Processor

from stages.backends.caption.folders import Family, in_batches, open_model
from stages.contracts.settings import Caption, Dataset, Machine

FLORENCE2 = Family(
    name="Florence-2", model=Florence2ForConditionalGeneration, processor=Florence2Processor,
    image_token="image_token_id",
    todo="set caption.model to a local Florence-2 folder in transformers' layout (florence-community/Florence-2-large)",
)  # fmt: skip


class Florence2Captioner:
    """Greedy or beam-searched captions in micro-batches of one fixed size; ``caption.task`` says how long they are."""

    def __init__(self, caption: Caption, dataset: Dataset, machine: Machine) -> None:
        """Load the model: float16 on a GPU, float32 on a CPU.

        Raises:
            UserError: when ``caption.model`` is not the folder of a Florence-2, or the device is not there.
        """
        self.model, self.processor = open_model(FLORENCE2, caption, machine)
        self.settings = caption

    def captions(self, images: Sequence[np.ndarray]) -> Iterator[str]:
        """Yield one caption on one line, without the task and the trigger, per uint8 (H, W, 3) RGB picture."""
        return in_batches(images, self.settings.micro_batch, self._ask)

    def _ask(self, pictures: list[Image.Image]) -> list[str]:
        settings, model = self.settings, self.model
        # The processor turns the task into the question that the model was trained on.
        inputs = self.processor(images=pictures, text=[settings.task] * len(pictures), return_tensors="pt")
        with torch.no_grad():
            tokens = model.generate(
                **inputs.to(model.device, model.dtype), max_new_tokens=settings.max_new_tokens, do_sample=False,
                num_beams=settings.beams,
            )  # fmt: skip
        # Not post_process_generation: of these tasks it only strips <s> and </s>, and leaves a batch's <pad> in.
        decoded: list[str] = self.processor.batch_decode(tokens, skip_special_tokens=True)
        return decoded
