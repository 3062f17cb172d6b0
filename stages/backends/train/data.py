"""Pictures become latents and captions become embeddings, once, before the first step."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from diffusers import AutoencoderKL, StableDiffusionXLPipeline

from stages.contracts.training import Example
from stages.runtime.errors import UserError
from stages.runtime.pictures import read_picture, resize
from stages.runtime.progress import track

UPPER = 0.25  # of what is cut from a tall picture goes from above: faces are in the upper part


@dataclass(frozen=True)
class Pictures:
    """Encoded pictures; ``latents`` holds each picture and, with ``flip``, its mirror image."""

    latents: torch.Tensor  # float32 (N, 1 or 2, C, H, W), scaled as the UNet wants them
    time_ids: torch.Tensor  # float32 (N, 6): original height, width; crop top, left; target height, width
    captions: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.captions)


def crop_square(pixels_HWC: np.ndarray, size: int) -> tuple[np.ndarray, tuple[int, ...]]:
    """The picture cropped square and resized to ``size`` px, and SDXL's six time ids (arXiv:2307.01952, section 2.2).

    A wide picture loses its sides equally; a tall one loses a quarter of the surplus above and the rest below.
    """
    height, width = pixels_HWC.shape[:2]
    side = min(height, width)
    top, left = round((height - side) * UPPER), (width - side) // 2
    square = pixels_HWC[top : top + side, left : left + side]
    scale = size / side  # the crop corner is told in pixels of the resized picture
    return resize(square, size, size), (height, width, round(top * scale), round(left * scale), size, size)


@torch.no_grad()
def encode_picture(vae: AutoencoderKL, pixels_HWC: np.ndarray) -> torch.Tensor:
    """uint8 (H, W, 3) to float32 (C, H/f, W/f): the posterior's mean, so that a picture has one latent, scaled."""
    picture = torch.from_numpy(pixels_HWC.copy()).permute(2, 0, 1)[None].float() / 127.5 - 1
    latent = vae.encode(picture.to(vae.device, vae.dtype)).latent_dist.mean[0]
    shift = getattr(vae.config, "shift_factor", None) or 0.0
    return ((latent - shift) * vae.config.scaling_factor).float().cpu()


def encode_pictures(
    vae: AutoencoderKL, examples: Sequence[Example], size: int, label: str, *, flip: bool = False
) -> Pictures:
    """Read, crop and encode ``examples``, one at a time, with progress."""
    if not examples:
        return Pictures(torch.empty(0), torch.empty(0, 6), ())
    latents, time_ids = [], []
    for example in track(examples, label, len(examples), unit="picture"):
        square, ids = crop_square(read_picture(example.picture), size)
        views = [square, square[:, ::-1]] if flip else [square]
        latents.append(torch.stack([encode_picture(vae, view) for view in views]))
        time_ids.append(ids)
    return Pictures(
        torch.stack(latents), torch.tensor(time_ids, dtype=torch.float32), tuple(e.caption for e in examples)
    )


def check_size(size: int, pipeline: StableDiffusionXLPipeline) -> None:
    """Refuse a resolution that the UNet cannot halve as often as it must.

    Raises:
        UserError: naming the step that the resolution has to be a multiple of.
    """
    step = pipeline.vae_scale_factor * 2 ** (len(pipeline.unet.config.block_out_channels) - 1)
    if size % step:
        todo = f"try {max(step, size // step * step)}"
        raise UserError("train.resolution", f"{size} is not a multiple of {step}", todo)


class Prompts:
    """Captions as the UNet reads them: the embeddings of both text encoders, and the second one's pooled."""

    def __init__(self, pipeline: StableDiffusionXLPipeline, device: torch.device) -> None:
        self.pipeline, self.device = pipeline, device
        self.known: dict[str, tuple[torch.Tensor, torch.Tensor]] = {}

    def encode(self, captions: Sequence[str]) -> tuple[torch.Tensor, torch.Tensor]:
        """Context (B, tokens, channels) and pooled (B, channels): from memory, or else with gradients."""
        if all(caption in self.known for caption in captions):
            pairs = [self.known[caption] for caption in captions]
            return torch.cat([p[0] for p in pairs]).to(self.device), torch.cat([p[1] for p in pairs]).to(self.device)
        context, _, pooled, _ = self.pipeline.encode_prompt(
            list(captions), device=self.device, do_classifier_free_guidance=False
        )
        return context, pooled

    @torch.no_grad()
    def remember(self, captions: Sequence[str]) -> None:
        """Encode each caption once, alone, so that its embedding does not depend on the others."""
        for caption in dict.fromkeys(captions):
            context, pooled = self.encode([caption])
            self.known[caption] = (context.float().cpu(), pooled.float().cpu())
