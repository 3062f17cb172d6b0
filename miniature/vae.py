"""The miniature's autoencoder: diffusers' AutoencoderKL, 64 px to 16 x 16 latents of 8 channels.

Four latent channels, or a quarter of the steps, cost 7 dB and the colours (measured).
"""

import os
import shutil
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from torch.nn.functional import l1_loss, mse_loss

from miniature.places import TRAINING, VALIDATION, WEIGHTS, part_folder
from miniature.shards import Shard, open_shard
from miniature.training import Recipe
from miniature.training import train as run_recipe

PART = "vae"
FACES = range(TRAINING.start, TRAINING.start + 20_000)
SCENES = 2
CROP = 32  # px: a quarter of the picture is enough to learn local coding, and four times cheaper
KL_WEIGHT = 1e-4  # per latent element
RECIPE = Recipe(
    part=PART, steps=3000, batch=24, learning_rate=3e-3, seed=11, workers=2, decay_from=0.0, weight_decay=1e-4
)


def training_shard() -> Shard:
    """The faces that the autoencoder and the base are trained on."""
    return open_shard(FACES, SCENES)


def new_autoencoder() -> AutoencoderKL:
    """The untrained autoencoder; convolutions only, so any picture whose sides divide by 4 fits."""
    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 3, up_block_types=("UpDecoderBlock2D",) * 3,
        block_out_channels=(16, 32, 64), layers_per_block=1, latent_channels=8, norm_num_groups=8, sample_size=64,
        mid_block_add_attention=False, force_upcast=False,
    )  # fmt: skip


def to_tensor(images: np.ndarray) -> torch.Tensor:
    """uint8 (N, H, W, 3) to float32 (N, 3, H, W) in [-1, 1]."""
    return torch.from_numpy(images.transpose(0, 3, 1, 2).copy()).float().div(127.5).sub(1)


def to_images(pictures: torch.Tensor) -> np.ndarray:
    """float (N, 3, H, W) in [-1, 1] to uint8 (N, H, W, 3)."""
    return ((pictures.float() + 1) * 127.5).round().clamp(0, 255).byte().permute(0, 2, 3, 1).numpy()


def gradient_loss(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Mean absolute difference of the finite differences along both axes: keeps edges that L1 alone would soften."""
    return l1_loss(a.diff(dim=-1), b.diff(dim=-1)) + l1_loss(a.diff(dim=-2), b.diff(dim=-2))


class VaeTask:
    """Reconstruct random crops through the sampled posterior (Kingma and Welling 2014)."""

    def __init__(self, images: np.ndarray) -> None:
        self.images = images
        self.model = new_autoencoder()  # not channels last: group norm's backward pass is far slower there

    def _crops(self, batch: int, rng: np.random.Generator) -> torch.Tensor:
        rows = rng.integers(len(self.images), size=batch)
        corners = rng.integers(self.images.shape[1] - CROP + 1, size=(batch, 2))
        return to_tensor(np.stack([
            self.images[row, y : y + CROP, x : x + CROP] for row, (y, x) in zip(rows, corners, strict=True)
        ]))  # fmt: skip

    def loss(self, batch: int, rng: np.random.Generator, noise: torch.Generator, step: int) -> torch.Tensor:
        crops = self._crops(batch, rng)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            posterior = self.model.encode(crops).latent_dist
            decoded = self.model.decode(posterior.sample(noise)).sample
        decoded = decoded.float()
        divergence = posterior.kl().mean() / posterior.mean[0].numel()  # kl() sums over a picture's elements
        return (
            l1_loss(decoded, crops) + 0.5 * mse_loss(decoded, crops)
            + 0.5 * gradient_loss(decoded, crops) + KL_WEIGHT * divergence
        )  # fmt: skip


def build() -> VaeTask:
    return VaeTask(training_shard().images)


@torch.no_grad()
def encode(vae: AutoencoderKL, images: np.ndarray, batch: int = 64) -> torch.Tensor:
    """Scaled latents (N, 8, H/4, W/4), float32: the posterior's mean times the scaling factor."""
    parts = [vae.encode(to_tensor(images[i : i + batch])).latent_dist.mean for i in range(0, len(images), batch)]
    return torch.cat(parts).float() * vae.config.scaling_factor


@torch.no_grad()
def decode(vae: AutoencoderKL, latents: torch.Tensor, batch: int = 64) -> np.ndarray:
    """Pictures uint8 (N, H, W, 3) of scaled latents (N, 8, H/4, W/4)."""
    parts = [vae.decode(part / vae.config.scaling_factor).sample for part in latents.split(batch)]
    return to_images(torch.cat(parts))


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    """Peak signal-to-noise ratio in dB, averaged over pictures uint8 (N, H, W, 3)."""
    errors = ((a.astype(np.float64) - b.astype(np.float64)) ** 2).mean(axis=(1, 2, 3))
    return float(np.mean(10 * np.log10(255**2 / np.maximum(errors, 1e-6))))


def trained_folder() -> Path:
    """Where the trained autoencoder lies until the base exports it with the pipeline."""
    return part_folder(PART) / "trained"


def load(folder: Path | None = None) -> AutoencoderKL:
    """The trained autoencoder in float32, from ``folder`` or from the cache."""
    return AutoencoderKL.from_pretrained(folder or trained_folder(), dtype=torch.float32).eval()


def store(vae: AutoencoderKL, images: np.ndarray, folder: Path) -> None:
    """Save in half precision, scaled so that the latents of ``images`` have unit standard deviation."""
    vae.register_to_config(scaling_factor=1.0)
    vae.register_to_config(scaling_factor=round(1 / float(encode(vae, images).std()), 5))
    beside = folder.with_name(folder.name + ".new")
    vae.to(torch.float16).save_pretrained(beside)
    shutil.rmtree(folder, ignore_errors=True)
    os.replace(beside, folder)
    vae.to(torch.float32)


def train() -> None:
    """Train the autoencoder, or go on where an earlier run stopped, and store it in the cache."""
    training_shard()  # once, before both workers would render it
    task, seconds = run_recipe(RECIPE, build)
    store(task.model.eval(), task.images[::40], trained_folder())
    print(f"vae: {seconds:.0f} s, {measure(trained_folder())}", flush=True)


def measure(folder: Path = WEIGHTS / "base" / "vae") -> dict[str, float]:
    """PSNR in dB of 300 people that no training has seen, and the latents' spread, from the stored weights."""
    vae = load(folder)
    faces = open_shard(range(VALIDATION.start, VALIDATION.start + 300), 1)
    latents = encode(vae, faces.images)
    return {"vae_psnr_db": psnr(faces.images, decode(vae, latents)), "vae_latent_std": float(latents.std())}


if __name__ == "__main__":
    train()
