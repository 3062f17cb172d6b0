"""The samplers by name: what each is in diffusers and in ComfyUI, and where the two do not mean the same.

Compared with ComfyUI 0.3.64: noise levels as numbers (tests/data/comfyui_sigmas.json), and pictures of the same random
SDXL drawn by both (bench/results/samplers.json).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from stages.runtime.errors import UserError

TRAINED = 1000  # noise levels of SDXL
_NOISE = "each step's noise is drawn otherwise"
_START = "the first noise is longer or shorter, by less than 1% from 8 steps on"
_LAST = "diffusers stops at the least noise of the base, ComfyUI at none"
_ORDER = "ComfyUI's is of third order, diffusers' of second"
_EXTRA = "where the steps do not divide 1000, ComfyUI takes one more"
_ROUNDED = "where the steps do not divide 1000, noise levels are up to 2% apart"


@dataclass(frozen=True)
class Counterpart:
    """How ComfyUI's KSampler spaces its noise levels for one of our samplers and one spacing of the base."""

    scheduler: str
    unlike: str = ""  # where it is other mathematics than diffusers'; empty: the same picture
    uneven: str = ""  # the same, at steps that do not divide 1000

    def difference(self, steps: int) -> str:
        """Why a picture of so many steps is not diffusers'; empty: it is, but for rounding."""
        return "; ".join(filter(None, [self.unlike, self.uneven if TRAINED % steps else ""]))


@dataclass(frozen=True)
class Sampling:
    """One sampler."""

    scheduler: str  # diffusers' class
    comfyui: str  # KSampler's sampler_name
    counterparts: Mapping[str, Counterpart]  # by the base's timestep_spacing
    options: Mapping[str, Any] = field(default_factory=dict)  # of diffusers' class, over the base's own


_KARRAS = Counterpart("karras")
SAMPLINGS: dict[str, Sampling] = {
    "euler": Sampling("EulerDiscreteScheduler", "euler", {
        "leading": Counterpart("ddim_uniform", _START, _EXTRA),
        "trailing": Counterpart("simple", _START, _ROUNDED),
        "linspace": Counterpart("normal", _START),
    }),
    "euler_a": Sampling("EulerAncestralDiscreteScheduler", "euler_ancestral", {
        "leading": Counterpart("ddim_uniform", _NOISE, _EXTRA),
        "trailing": Counterpart("simple", _NOISE, _ROUNDED),
        "linspace": Counterpart("normal", _NOISE),
    }),
    "dpmpp_2m": Sampling("DPMSolverMultistepScheduler", "dpmpp_2m", {
        "trailing": Counterpart("simple", "", _ROUNDED),
        "linspace": Counterpart("sgm_uniform", "noise levels are up to 0.5% apart"),
    }, {"algorithm_type": "dpmsolver++", "solver_order": 2, "use_karras_sigmas": False}),
    "dpmpp_2m_karras": Sampling("DPMSolverMultistepScheduler", "dpmpp_2m", {
        "leading": _KARRAS, "trailing": _KARRAS, "linspace": _KARRAS,
    }, {"algorithm_type": "dpmsolver++", "solver_order": 2, "use_karras_sigmas": True}),
    "ddim": Sampling("DDIMScheduler", "ddim", {
        "leading": Counterpart("ddim_uniform", f"{_START}; {_LAST}", _EXTRA),
        "trailing": Counterpart("simple", _LAST, _ROUNDED),
    }, {"clip_sample": False}),  # clipping to [-1, 1] is for pixels; latents go beyond
    "unipc": Sampling("UniPCMultistepScheduler", "uni_pc_bh2", {
        "trailing": Counterpart("simple", _ORDER, _ROUNDED),
        "linspace": Counterpart("sgm_uniform", _ORDER),
    }),
}  # fmt: skip


def find_counterpart(sampler: str, spacing: str) -> Counterpart:
    """How ComfyUI comes nearest to a sampler with a base of that timestep_spacing.

    Raises:
        UserError: when nothing that KSampler knows comes near.
    """
    if sampler not in SAMPLINGS:
        raise UserError("sampler", f"no sampler {sampler!r}", f"known: {', '.join(sorted(SAMPLINGS))}")
    found = SAMPLINGS[sampler].counterparts.get(spacing)
    if found is None:
        what = f"{sampler} on a base with {spacing} spacing cannot mean the same in ComfyUI"
        raise UserError("sampler", what, "use dpmpp_2m_karras, which does, or backend diffusers")
    return found


def comfyui_sampler(sampler: str, spacing: str) -> tuple[str, str]:
    """KSampler's sampler_name and scheduler for one of our samplers.

    Raises:
        UserError: when nothing that KSampler knows comes near.
    """
    return SAMPLINGS[sampler].comfyui if sampler in SAMPLINGS else "", find_counterpart(sampler, spacing).scheduler
