"""How often the host waits for the device: a GPU that is waited for has nothing to do until it is asked again."""

import warnings
from collections.abc import Callable
from typing import Any

import torch

SAID = "synchronizing CUDA operation"


def count_waits(work: Callable[[], Any], device: torch.device) -> dict[str, int]:
    """``waits`` of ``work`` as CUDA itself reports them; nothing on a CPU, which nobody waits for."""
    if device.type != "cuda":
        work()
        return {}
    usual = torch.cuda.get_sync_debug_mode()
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            work()
        finally:
            torch.cuda.set_sync_debug_mode(usual)
    return {"waits_in_a_step": sum(SAID in str(warning.message) for warning in told)}
