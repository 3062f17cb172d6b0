"""What diffusers' training script asks of torchvision, for machines whose torch has no torchvision to go with it.

On PIL pictures torchvision's transforms are PIL's own operations; these are the same ones, at the same price.  Whoever
measures with it says so: `bench.train` writes it into its result.
"""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.machinery import ModuleSpec
from importlib.util import module_from_spec
from typing import Any

import numpy as np
import torch
from PIL import Image


class InterpolationMode:
    """By name, as PIL numbers them."""

    BILINEAR, LANCZOS, BICUBIC = Image.Resampling.BILINEAR, Image.Resampling.LANCZOS, Image.Resampling.BICUBIC


@dataclass(frozen=True)
class Resize:
    """The shorter side becomes ``size`` px."""

    size: int
    interpolation: Image.Resampling = Image.Resampling.BILINEAR

    def __call__(self, picture: Image.Image) -> Image.Image:
        factor = self.size / min(picture.size)
        return picture.resize([int(side * factor) for side in picture.size], self.interpolation)


def crop(picture: Image.Image, top: int, left: int, height: int, width: int) -> Image.Image:
    """A part of a picture."""
    return picture.crop((left, top, left + width, top + height))


@dataclass(frozen=True)
class CenterCrop:
    """The square of ``size`` px in the middle."""

    size: int

    def __call__(self, picture: Image.Image) -> Image.Image:
        left, top = ((side - self.size) // 2 for side in picture.size)
        return crop(picture, top, left, self.size, self.size)


@dataclass(frozen=True)
class RandomHorizontalFlip:
    """Asked for, never used here."""

    p: float = 0.5


def to_tensor(picture: Image.Image) -> torch.Tensor:
    """float32 (3, H, W) in 0..1."""
    return torch.from_numpy(np.array(picture)).permute(2, 0, 1).contiguous().float().div(255)


@dataclass(frozen=True)
class Normalize:
    """(x - mean) / std, per channel."""

    mean: Sequence[float]
    std: Sequence[float]

    def __call__(self, values: torch.Tensor) -> torch.Tensor:
        mean, std = (torch.tensor(numbers)[:, None, None] for numbers in (self.mean, self.std))
        return (values - mean) / std


@dataclass(frozen=True)
class Compose:
    """One after the other."""

    transforms: Sequence[Callable[[Any], Any]]

    def __call__(self, value: Any) -> Any:
        for transform in self.transforms:
            value = transform(value)
        return value


def install() -> None:
    """Be torchvision in this process."""
    names = ("torchvision", "torchvision.transforms", "torchvision.transforms.functional")
    root, transforms, functional = (module_from_spec(ModuleSpec(name, None)) for name in names)
    here = (InterpolationMode, Resize, CenterCrop, RandomHorizontalFlip, Normalize, Compose)
    vars(transforms).update({kind.__name__: kind for kind in here}, ToTensor=lambda: to_tensor, functional=functional)
    vars(functional)["crop"], vars(root)["transforms"] = crop, transforms
    sys.modules |= {module.__name__: module for module in (root, transforms, functional)}
