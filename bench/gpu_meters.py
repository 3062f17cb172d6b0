"""What CUDA tells of a work: the memory that it took, and how often the host waited for the device."""

import warnings
from collections.abc import Callable
from typing import Any

import torch

GIB = 2**30
SAID = "synchronizing CUDA operation"


def memory_figures(device: torch.device) -> dict[str, float]:
    """GiB since the last reset: held by tensors at most, held by PyTorch at most, taken on the whole device now."""
    if device.type != "cuda":
        return {}
    left, total = torch.cuda.mem_get_info(device)
    peaks = torch.cuda.max_memory_allocated(device), torch.cuda.max_memory_reserved(device), total - left
    return dict(zip(("allocated_gib", "reserved_gib", "device_gib"), (round(n / GIB, 2) for n in peaks), strict=True))


def start_measuring_memory(device: torch.device) -> None:
    """From here on."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)


def count_waits(work: Callable[[], Any], device: torch.device) -> dict[str, int]:
    """How often ``work`` waits, as CUDA reports it: then the device has nothing to do.  Nothing for a CPU."""
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
