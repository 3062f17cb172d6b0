"""What each step looks at: which pictures, how noisy, with which noise; a function of seed and step number."""

from dataclasses import dataclass
from functools import cache

import numpy as np
import torch

from stages.backends.train.data import Pictures
from stages.backends.train.noise import draw_timesteps
from stages.runtime.seeds import derive_seed

HOLDOUT_LEVELS = 4  # noise levels at which every holdout photo is measured


@dataclass(frozen=True)
class Batch:
    """Pictures with their noise: both float32 (B, C, H, W), timesteps int64 (B,), time ids float32 (B, 6)."""

    latents: torch.Tensor
    noise: torch.Tensor
    timesteps: torch.Tensor
    time_ids: torch.Tensor
    captions: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.captions)


def join(first: Batch, second: Batch) -> Batch:
    """Both batches as one."""
    return Batch(
        torch.cat([first.latents, second.latents]), torch.cat([first.noise, second.noise]),
        torch.cat([first.timesteps, second.timesteps]), torch.cat([first.time_ids, second.time_ids]),
        first.captions + second.captions,
    )  # fmt: skip


@cache
def _epoch(total: int, seed: int, name: str, epoch: int) -> np.ndarray:
    return np.random.default_rng(derive_seed(seed, "epoch", name, epoch)).permutation(total)


def draw_rows(count: int, total: int, step: int, seed: int, name: str) -> list[int]:
    """The rows of ``total`` that ``step`` (from 1) looks at: every epoch is a shuffle, and a batch may span two."""
    places = range((step - 1) * count, step * count)
    return [int(_epoch(total, seed, name, place // total)[place % total]) for place in places]


def draw_batch(pictures: Pictures, count: int, step: int, seed: int, name: str, length: int) -> Batch:
    """One step's ``count`` pictures with timesteps in [0, length) and noise; ``name`` sets kinds of pictures apart."""
    rows = draw_rows(count, len(pictures), step, seed, name)
    generator = torch.Generator().manual_seed(derive_seed(seed, "step", step, name))
    views = torch.randint(pictures.latents.shape[1], (count,), generator=generator)
    latents = pictures.latents[rows, views]
    timesteps = draw_timesteps(count, length, generator)
    noise = torch.randn(latents.shape, generator=generator)
    return Batch(latents, noise, timesteps, pictures.time_ids[rows], tuple(pictures.captions[row] for row in rows))


def holdout_batches(pictures: Pictures, count: int, seed: int, length: int) -> list[Batch]:
    """Every holdout photo at fixed noise levels with fixed noise, in batches of ``count``; the same at every step."""
    places = [(row, level) for level in range(HOLDOUT_LEVELS) for row in range(len(pictures))]
    batches = []
    for part in (places[start : start + count] for start in range(0, len(places), count)):
        rows = [row for row, _ in part]
        timesteps = torch.tensor([int((level + 0.5) / HOLDOUT_LEVELS * length) for _, level in part])
        seeds = [derive_seed(seed, "holdout", row, level) for row, level in part]
        shape = pictures.latents.shape[2:]
        noise = torch.stack([torch.randn(shape, generator=torch.Generator().manual_seed(s)) for s in seeds])
        captions = tuple(pictures.captions[row] for row in rows)
        batches.append(Batch(pictures.latents[rows, 0], noise, timesteps, pictures.time_ids[rows], captions))
    return batches
