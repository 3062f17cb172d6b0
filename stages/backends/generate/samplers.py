"""The samplers by name, made from the base's own noise schedule."""

from collections.abc import Mapping
from typing import Any

import diffusers

from stages.contracts.samplers import SAMPLINGS
from stages.runtime.errors import UserError

SAMPLERS: frozenset[str] = frozenset(SAMPLINGS)


def open_sampler(name: str, config: Mapping[str, Any]) -> diffusers.SchedulerMixin:
    """A fresh sampler; prediction type, betas and spacing are those of ``config``, the base's scheduler configuration.

    Raises:
        UserError: when there is no such sampler.
    """
    if name not in SAMPLINGS:
        raise UserError("sampler", f"no sampler {name!r}", f"known: {', '.join(sorted(SAMPLERS))}")
    sampling = SAMPLINGS[name]
    sampler: diffusers.SchedulerMixin = getattr(diffusers, sampling.scheduler).from_config(config, **sampling.options)
    return sampler
