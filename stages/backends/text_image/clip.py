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
        cosines: np.ndarray = (self.embed_images(images) * self.embed_texts(prompts)).sum(axis=1)
        return cosines

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

    def embed_texts(self, texts: Sequence[str]) -> np.ndarray:
        """What each text says: unit vectors float32 (N, D)."""
        starts = range(0, len(texts), MICRO_BATCH)
        parts = [self._said(texts[start : start + MICRO_BATCH]) for start in starts]
        return np.concatenate(parts) if parts else np.zeros((0, self._model.config.projection_dim), np.float32)

    def choose(self, pictures_ND: np.ndarray, texts: Sequence[str]) -> np.ndarray:
        """How probable each text is for each embedded picture: float32 (N, T), every row sums to 1.

        Zero-shot classification (section 3.1.2 of the paper): softmax of the cosines times CLIP's own learnt scale.
        """
        scale = float(self._model.logit_scale.detach().exp())
        logits = scale * pictures_ND @ self.embed_texts(texts).T
        odds = np.exp(logits - logits.max(axis=1, keepdims=True))
        probability: np.ndarray = odds / odds.sum(axis=1, keepdims=True)
        return probability

    @torch.inference_mode()
    def _said(self, texts: Sequence[str]) -> np.ndarray:
        filled = [*texts, *[texts[-1]] * (MICRO_BATCH - len(texts))]  # one batch size, one arithmetic
        tokens = self._tokens(
            filled, padding="max_length", max_length=self._length, truncation=True, return_tensors="pt"
        )
        said = self._model.get_text_features(
            input_ids=tokens["input_ids"].to(self._device), attention_mask=tokens["attention_mask"].to(self._device)
        ).pooler_output
        embedded: np.ndarray = torch.nn.functional.normalize(said, dim=-1).float().cpu().numpy()
        return embedded[: len(texts)]
