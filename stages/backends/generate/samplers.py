"""The samplers by name, made from the base's own noise schedule."""

from collections.abc import Mapping
from typing import Any, get_args

from diffusers import (
    DDIMScheduler,
    DPMSolverMultistepScheduler,
    EulerAncestralDiscreteScheduler,
    EulerDiscreteScheduler,
    SchedulerMixin,
    UniPCMultistepScheduler,
)

from stages.contracts.settings import Sampler
from stages.runtime.errors import UserError

SAMPLERS: frozenset[str] = frozenset(get_args(Sampler))


def open_sampler(name: str, config: Mapping[str, Any]) -> SchedulerMixin:
    """A fresh sampler; prediction type, betas and spacing are those of ``config``, the base's scheduler configuration.

    Raises:
        UserError: when there is no such sampler.
    """
    match name:
        case "euler":
            return EulerDiscreteScheduler.from_config(config)
        case "euler_a":
            return EulerAncestralDiscreteScheduler.from_config(config)
        case "dpmpp_2m" | "dpmpp_2m_karras":
            karras = name == "dpmpp_2m_karras"
            return DPMSolverMultistepScheduler.from_config(
                config, algorithm_type="dpmsolver++", solver_order=2, use_karras_sigmas=karras
            )
        case "ddim":  # clipping to [-1, 1] is for pixels; latents go beyond
            return DDIMScheduler.from_config(config, clip_sample=False)
        case "unipc":
            return UniPCMultistepScheduler.from_config(config)
    raise UserError("sampler", f"no sampler {name!r}", f"known: {', '.join(sorted(SAMPLERS))}")
