"""Pictures become latents and captions become embeddings, once, before the first step."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from diffusers import AutoencoderKL, StableDiffusionXLPipeline

from stages.backends.train.shapes import bucket_sizes, choose_crop, choose_size
from stages.backends.train.transfer import send
from stages.contracts.train_settings import Masks, Train
from stages.contracts.training import Example
from stages.runtime.errors import UserError
from stages.runtime.pictures import read_picture
from stages.runtime.progress import track


@dataclass(frozen=True)
class Picture:
    """An encoded picture: the picture itself and, with ``flip``, its mirror image."""

    latents: torch.Tensor  # float32 (1 or 2, C, H, W), scaled as the UNet wants them
    time_ids: torch.Tensor  # float32 (6,): original height, width; crop top, left; target height, width
    caption: str
    mask: torch.Tensor | None = None  # float32 (1 or 2, 1, H, W), mean 1: how much each place counts

    @property
    def shape(self) -> tuple[int, ...]:
        """(C, H, W)."""
        return tuple(self.latents.shape[1:])


@torch.no_grad()
def encode_picture(vae: AutoencoderKL, pixels_HWC: np.ndarray) -> torch.Tensor:
    """uint8 (H, W, 3) to float32 (C, H/f, W/f): the posterior's mean, so that a picture has one latent, scaled."""
    picture = torch.from_numpy(pixels_HWC.copy()).permute(2, 0, 1)[None].float() / 127.5 - 1
    latent = vae.encode(picture.to(vae.device, vae.dtype)).latent_dist.mean[0]
    shift = getattr(vae.config, "shift_factor", None) or 0.0
    return ((latent - shift) * vae.config.scaling_factor).float().cpu()


def draw_face_mask(height: int, width: int, face: Sequence[float], margin: float) -> np.ndarray:
    """uint8 (H, W), 255 inside: the ellipse around a face's box, larger by ``margin`` of its size on every side.

    ``face`` is left, top, right, bottom as fractions of the picture's width and height.
    """
    left, top, right, bottom = face
    rows, columns = np.mgrid[:height, :width]
    across = ((columns + 0.5) / width - (left + right) / 2) / max(1e-6, (right - left) * (0.5 + margin))
    down = ((rows + 0.5) / height - (top + bottom) / 2) / max(1e-6, (bottom - top) * (0.5 + margin))
    return np.where(across**2 + down**2 <= 1, 255, 0).astype(np.uint8)


def read_mask(example: Example, masks: Masks, height: int, width: int) -> np.ndarray | None:
    """The mask of an upright picture, uint8 (H, W); None where everything counts.

    Raises:
        UserError: when a mask file is not a picture of the photo's size.
    """
    if masks.source == "files" and example.mask is not None:
        mask = read_picture(example.mask)[..., 0]
        if mask.shape != (height, width):
            what = f"{mask.shape[1]}x{mask.shape[0]}, but the photo is {width}x{height}"
            raise UserError(example.mask, what, "draw it over the photo as it is seen, in the same size")
        return mask
    if masks.source == "faces" and example.face is not None:
        return draw_face_mask(height, width, example.face, masks.margin)
    return None


def weigh_places(mask: np.ndarray, outside: float, height: int, width: int) -> torch.Tensor:
    """A mask, uint8 (H', W'), as weights of a latent's places: float32 (1, height, width) with mean 1.

    The mean stays 1 so that a mask moves the loss's emphasis, not its size, and the learning rate means the same.
    """
    inside = torch.from_numpy(mask.copy()).float()[None, None] / 255
    inside = torch.nn.functional.adaptive_avg_pool2d(inside, (height, width))[0]
    weights = outside + (1 - outside) * inside
    return weights / weights.mean().clamp(min=1e-6)


class Encoder:
    """Turns examples into pictures in the shapes of the settings."""

    def __init__(self, vae: AutoencoderKL, train: Train) -> None:
        self.vae, self.train = vae, train

    def encode(self, examples: Sequence[Example], label: str, *, flip: bool = False) -> list[Picture]:
        """Read, crop and encode ``examples``, one at a time, with progress."""
        if not examples:
            return []
        return [self._one(example, flip) for example in track(examples, label, len(examples), unit="picture")]

    def _one(self, example: Example, flip: bool) -> Picture:
        pixels = read_picture(example.picture)
        height, width = pixels.shape[:2]
        crop = choose_crop(width, height, choose_size(width, height, self.train.resolution, self.train.buckets))
        cut = crop.apply(pixels)
        views = [cut, cut[:, ::-1]] if flip else [cut]
        latents = torch.stack([encode_picture(self.vae, view) for view in views])
        mask = read_mask(example, self.train.masks, height, width)
        weights = None
        if mask is not None:
            one = weigh_places(crop.apply(mask), self.train.masks.outside, *latents.shape[2:])
            weights = torch.stack([one, one.flip(-1)] if flip else [one])
        ids = torch.tensor(crop.time_ids(width, height), dtype=torch.float32)
        return Picture(latents, ids, example.caption, weights)


def check_sizes(train: Train, pipeline: StableDiffusionXLPipeline) -> None:
    """Refuse a resolution that the UNet cannot halve as often as it must.

    Raises:
        UserError: naming the step that the resolution, or a bucket's side, has to be a multiple of.
    """
    step = pipeline.vae_scale_factor * 2 ** (len(pipeline.unet.config.block_out_channels) - 1)
    if train.buckets.enabled and train.buckets.step % step:
        what = f"{train.buckets.step} is not a multiple of {step}"
        raise UserError("train.buckets.step", what, f"try {max(step, train.buckets.step // step * step)}")
    for side in {side for size in _sizes(train) for side in size}:
        if side % step or side == 0:
            todo = f"try {max(step, train.resolution // step * step)}"
            raise UserError("train.resolution", f"{train.resolution} is not a multiple of {step}", todo)


def _sizes(train: Train) -> Iterator[tuple[int, int]]:
    if train.buckets.enabled:
        yield from bucket_sizes(train.resolution, train.buckets.step, train.buckets.max_aspect)
    else:
        yield train.resolution, train.resolution


class Prompts:
    """Captions as the UNet reads them: the embeddings of both text encoders, and the second one's pooled."""

    def __init__(self, pipeline: StableDiffusionXLPipeline, device: torch.device) -> None:
        self.pipeline, self.device = pipeline, device
        self.known: dict[str, tuple[torch.Tensor, torch.Tensor]] = {}

    def encode(self, captions: Sequence[str]) -> tuple[torch.Tensor, torch.Tensor]:
        """Context (B, tokens, channels) and pooled (B, channels): from memory, or else with gradients."""
        if all(caption in self.known for caption in captions):
            pairs = [self.known[caption] for caption in captions]
            context, pooled = (torch.cat(parts) for parts in zip(*pairs, strict=True))
            return send(context, self.device), send(pooled, self.device)
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
