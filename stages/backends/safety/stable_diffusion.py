"""The safety checker of Stable Diffusion, as diffusers loads it, in float32.

It says "yes" where the cosine of a picture's and a concept's embedding lies above the concept's own limit; the limits
come with the weights.  Its own ``forward`` paints such pictures black and tells nothing but the yes, so the same
arithmetic stands here: cosine minus limit, and .01 more for a picture near one of three concepts of special care.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker
from PIL import Image
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.utils.logging import disable_progress_bar

from stages.contracts.settings import Machine
from stages.runtime.errors import UserError

MICRO_BATCH = 4
SPECIAL_CARE = 0.01
FILES = ("config.json", "model.safetensors", "preprocessor_config.json")


class StableDiffusionJudge:
    """How far a picture lies above the limits of the concepts."""

    def __init__(self, folder: Path, machine: Machine) -> None:
        """Load the classifier.

        Raises:
            UserError: when a file of it is missing, or it holds other weights.
        """
        missing = [name for name in FILES if not (folder / name).is_file()]
        if missing:
            todo = f"`pistachio models get {folder.name}`, or policy.classifier: null"
            raise UserError(folder, f"holds no safety classifier ({', '.join(missing)} missing)", todo)
        torch.set_num_threads(machine.threads)
        self._device = torch.device(machine.device)
        disable_progress_bar()
        load: Any = StableDiffusionSafetyChecker.from_pretrained
        model, said = load(folder, dtype=torch.float32, local_files_only=True, output_loading_info=True)
        if said["missing_keys"]:
            what = f"its weights lack {len(said['missing_keys'])} tensors: they are another model's"
            raise UserError(folder, what, f"`pistachio models get {folder.name}`")
        self._model: Any = model.eval().to(self._device)
        self._pictures: Any = CLIPImageProcessorPil.from_pretrained(folder, local_files_only=True)

    def flag(self, images: Sequence[np.ndarray]) -> list[float]:
        """Cosine above the limit of a concept, the largest, of each uint8 (H, W, 3) RGB picture; above 0 is a yes."""
        starts = range(0, len(images), MICRO_BATCH)
        return [score for start in starts for score in self._judged(images[start : start + MICRO_BATCH])]

    @torch.inference_mode()
    def _judged(self, images: Sequence[np.ndarray]) -> list[float]:
        filled = [*images, *[images[-1]] * (MICRO_BATCH - len(images))]  # one batch size, one arithmetic
        pixels = self._pictures([Image.fromarray(image) for image in filled], return_tensors="pt")["pixel_values"]
        model = self._model
        seen = model.visual_projection(model.vision_model(pixels.to(self._device))[1])
        special = _cosines(seen, model.special_care_embeds) - model.special_care_embeds_weights
        above = _cosines(seen, model.concept_embeds) - model.concept_embeds_weights
        stricter = SPECIAL_CARE * (special > 0).any(dim=1)
        scores: list[float] = (above.amax(dim=1) + stricter).float().cpu().tolist()
        return scores[: len(images)]


def _cosines(pictures_ND: torch.Tensor, concepts_KD: torch.Tensor) -> torch.Tensor:
    unit = torch.nn.functional.normalize
    return unit(pictures_ND) @ unit(concepts_KD).T
