"""What each step looks at: which pictures, how noisy, with which noise; a function of seed and step number."""

from collections import defaultdict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeVar

import numpy as np
import torch

from stages.backends.train.data import Picture
from stages.backends.train.noise import draw_noise, draw_timesteps
from stages.contracts.train_settings import CaptionUse
from stages.runtime.seeds import derive_seed

HOLDOUT_LEVELS = 4  # noise levels at which every holdout photo is measured
T = TypeVar("T")


@dataclass(frozen=True)
class Sample:
    """One picture at one noise level; tensors float32 (C, H, W), the mask (1, H, W)."""

    latents: torch.Tensor
    noise: torch.Tensor
    timestep: int
    time_ids: torch.Tensor
    caption: str
    mask: torch.Tensor | None
    own: bool  # a photo of the person; else a regularization image


@dataclass(frozen=True)
class Batch:
    """Samples of one shape: latents and noise float32 (B, C, H, W), timesteps int64 (B,), time ids float32 (B, 6)."""

    latents: torch.Tensor
    noise: torch.Tensor
    timesteps: torch.Tensor
    time_ids: torch.Tensor
    captions: tuple[str, ...]
    mask: torch.Tensor | None  # float32 (B, 1, H, W)
    own: torch.Tensor  # bool (B,)

    def __len__(self) -> int:
        return len(self.captions)


def _parts(items: Sequence[T], count: int) -> list[Sequence[T]]:
    """``items`` in groups of ``count``; the last may be smaller."""
    return [items[start : start + count] for start in range(0, len(items), count)]


def collate(samples: Sequence[Sample]) -> list[Batch]:
    """``samples`` as batches of one shape each, in the order in which shapes and samples come."""
    shapes: dict[tuple[int, ...], list[Sample]] = defaultdict(list)
    for sample in samples:
        shapes[tuple(sample.latents.shape)].append(sample)
    return [_collate(same) for same in shapes.values()]


def _collate(samples: Sequence[Sample]) -> Batch:
    masks = None
    if any(sample.mask is not None for sample in samples):
        full = torch.ones_like(samples[0].latents[:1])
        masks = torch.stack([full if sample.mask is None else sample.mask for sample in samples])
    return Batch(
        torch.stack([sample.latents for sample in samples]), torch.stack([sample.noise for sample in samples]),
        torch.tensor([sample.timestep for sample in samples]), torch.stack([sample.time_ids for sample in samples]),
        tuple(sample.caption for sample in samples), masks, torch.tensor([sample.own for sample in samples]),
    )  # fmt: skip


@lru_cache(maxsize=8)
def _epoch(shapes: tuple[Hashable, ...], count: int, seed: int, name: str, epoch: int) -> tuple[int, ...]:
    """All rows in the order of one epoch: shuffled, and as far as it goes ``count`` of one shape together.

    Rows that no full group takes come last; the first ones complete the group that the last epoch left unfinished.
    """
    generator = np.random.default_rng(derive_seed(seed, "epoch", name, epoch))
    order = [int(row) for row in generator.permutation(len(shapes))]
    unfinished = -(epoch * len(shapes)) % count
    by_shape: dict[Hashable, list[int]] = defaultdict(list)
    for row in order[unfinished:]:
        by_shape[shapes[row]].append(row)
    groups = [group for rows in by_shape.values() for group in _parts(rows, count)]
    full = [group for group in groups if len(group) == count]
    loose = [row for group in groups if len(group) < count for row in group]
    shuffled = [full[place] for place in generator.permutation(len(full))]
    return (*order[:unfinished], *(row for group in shuffled for row in group), *loose)


def draw_rows(shapes: tuple[Hashable, ...], count: int, turn: int, seed: int, name: str) -> list[int]:
    """The rows that the forward pass ``turn`` (from 1) looks at; every epoch shows every row once."""
    total = len(shapes)
    places = range((turn - 1) * count, turn * count)
    return [_epoch(shapes, count, seed, name, place // total)[place % total] for place in places]


def vary_caption(caption: str, use: CaptionUse | None, generator: torch.Generator) -> str:
    """The caption as one sample shows it: maybe dropped, maybe its parts behind the first ``keep`` shuffled."""
    if use is None:
        return caption
    if use.dropout and float(torch.rand((), generator=generator)) < use.dropout:
        return ""
    if use.shuffle:
        parts = [part.strip() for part in caption.split(",")]
        kept, rest = parts[: use.keep], parts[use.keep :]
        caption = ", ".join(kept + [rest[i] for i in torch.randperm(len(rest), generator=generator)])
    return caption


@dataclass(frozen=True)
class Draw:
    """How samples are drawn from one kind of pictures."""

    name: str  # sets kinds of pictures apart: own, prior
    count: int  # per forward pass
    seed: int
    length: int  # timesteps of the noise schedule
    noise_offset: float = 0.0
    captions: CaptionUse | None = None

    def samples(self, pictures: Sequence[Picture], turn: int) -> list[Sample]:
        """The samples of the forward pass ``turn`` (from 1), a function of the seed and the turn alone."""
        rows = draw_rows(tuple(p.shape for p in pictures), self.count, turn, self.seed, self.name)
        generator = torch.Generator().manual_seed(derive_seed(self.seed, "step", turn, self.name))
        chosen = [pictures[row] for row in rows]
        views = [int(torch.randint(len(picture.latents), (), generator=generator)) for picture in chosen]
        timesteps = draw_timesteps(self.count, self.length, generator)
        return [
            Sample(
                picture.latents[view], draw_noise(picture.shape, self.noise_offset, generator), int(timestep),
                picture.time_ids, vary_caption(picture.caption, self.captions, generator),
                None if picture.mask is None else picture.mask[view], self.name == "own",
            )
            for picture, view, timestep in zip(chosen, views, timesteps, strict=True)
        ]  # fmt: skip


def holdout_batches(pictures: Sequence[Picture], count: int, seed: int, length: int) -> list[Batch]:
    """Every holdout photo at fixed noise levels with fixed noise, ``count`` together; the same at every step."""
    samples: dict[tuple[int, ...], list[Sample]] = defaultdict(list)
    for level in range(HOLDOUT_LEVELS):
        timestep = int((level + 0.5) / HOLDOUT_LEVELS * length)
        for row, picture in enumerate(pictures):
            generator = torch.Generator().manual_seed(derive_seed(seed, "holdout", row, level))
            noise = torch.randn(picture.shape, generator=generator)
            samples[picture.shape].append(
                Sample(picture.latents[0], noise, timestep, picture.time_ids, picture.caption, None, own=True)
            )
    return [_collate(part) for same in samples.values() for part in _parts(same, count)]
