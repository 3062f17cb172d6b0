"""CLIP (Radford et al., arXiv:2103.00020) as a judge of prompt adherence, in float32."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from transformers import CLIPModel, CLIPTokenizer
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.utils.logging import disable_progress_bar

from stages.contracts.settings import Judge, Machine
from stages.runtime.errors import UserError

MICRO_BATCH = 8


class Clip:
    """Cosine similarity of picture and text embeddings."""

    def __init__(self, judge: Judge, machine: Machine) -> None:
        """Load the model; pictures are prepared with PIL, so that results do not depend on torchvision being installed.

        Raises:
            UserError: when the folder holds no CLIP model.
        """
        if not (judge.path / "config.json").is_file():
            raise UserError(judge.path, "no CLIP model there", "set judges.text_image.path to its folder")
        torch.set_num_threads(machine.threads)
        self._device = torch.device(machine.device)
        disable_progress_bar()  # of loading weights; a log wants the stage's own lines only
        local: dict[str, Any] = {"local_files_only": True}
        model: Any = CLIPModel.from_pretrained(judge.path, dtype=torch.float32, **local)
        self._model = model.eval().to(self._device)
        self._pictures: Any = CLIPImageProcessorPil.from_pretrained(judge.path, **local)
        self._tokens: Any = CLIPTokenizer.from_pretrained(judge.path, **local)
        self._length = self._model.config.text_config.max_position_embeddings

    def adherence(self, images: Sequence[np.ndarray], prompts: Sequence[str]) -> np.ndarray:
        """Cosine similarity of picture i and prompt i: float32 (N,), -1..1."""
        parts = [
            self._cosines(images[start : start + MICRO_BATCH], prompts[start : start + MICRO_BATCH])
            for start in range(0, len(images), MICRO_BATCH)
        ]
        return np.concatenate(parts) if parts else np.zeros(0, np.float32)

    def embed_images(self, images: Sequence[np.ndarray]) -> np.ndarray:
        """What each uint8 (H, W, 3) RGB picture shows: unit vectors float32 (N, D)."""
        starts = range(0, len(images), MICRO_BATCH)
        parts = [self._embedded(images[start : start + MICRO_BATCH]) for start in starts]
        return np.concatenate(parts) if parts else np.zeros((0, self._model.config.projection_dim), np.float32)

    @torch.inference_mode()
    def _embedded(self, images: Sequence[np.ndarray]) -> np.ndarray:
        filled = [*images, *[images[-1]] * (MICRO_BATCH - len(images))]  # one batch size, one arithmetic
        pixels = self._pictures([Image.fromarray(image) for image in filled], return_tensors="pt")["pixel_values"]
        seen = self._model.get_image_features(pixel_values=pixels.to(self._device)).pooler_output
        vectors = torch.nn.functional.normalize(seen, dim=-1)
        embedded: np.ndarray = vectors.float().cpu().numpy()
        return embedded[: len(images)]

    @torch.inference_mode()
    def _cosines(self, images: Sequence[np.ndarray], prompts: Sequence[str]) -> np.ndarray:
        count = len(images)
        fill = MICRO_BATCH - count  # the last pair again: one batch size, one arithmetic
        pixels = self._pictures([Image.fromarray(i) for i in [*images, *[images[-1]] * fill]], return_tensors="pt")
        texts = self._tokens(
            [*prompts, *[prompts[-1]] * fill], padding="max_length", max_length=self._length, truncation=True,
            return_tensors="pt",
        )  # fmt: skip
        out = self._model(
            pixel_values=pixels["pixel_values"].to(self._device), input_ids=texts["input_ids"].to(self._device),
            attention_mask=texts["attention_mask"].to(self._device),
        )  # fmt: skip
        cosines: np.ndarray = (out.image_embeds * out.text_embeds).sum(-1).float().cpu().numpy()
        return cosines[:count]
