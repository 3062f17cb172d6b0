"""The optimizer of the settings, the schedule of its rate, and the rate that really moved the parameters."""

import io
import math
import sys
from collections.abc import Iterable
from contextlib import redirect_stdout
from typing import Literal

import torch
from torch.optim.lr_scheduler import LambdaLR

from stages.contracts.train_settings import Optimizer


def open_optimizer(
    settings: Optimizer, unet: Iterable[torch.nn.Parameter], text: Iterable[torch.nn.Parameter], device: torch.device
) -> torch.optim.Optimizer:
    """The optimizer over the LoRA of the UNet and, where they are trained, of the text encoders."""
    groups = [{"params": list(unet), "lr": settings.learning_rate}]
    if trained := list(text):
        groups.append({"params": trained, "lr": settings.text_encoder_rate or settings.learning_rate})
    match settings.name:
        case "prodigy":
            from stages.backends.train.prodigy import QuickProdigy

            with redirect_stdout(io.StringIO()):  # it prints that it decays weights
                return QuickProdigy(
                    groups, lr=settings.learning_rate, betas=settings.betas, weight_decay=settings.weight_decay,
                    d_coef=settings.d_coef, decouple=True, use_bias_correction=settings.use_bias_correction,
                    safeguard_warmup=settings.safeguard_warmup,
                )  # fmt: skip
        case "adamw8bit" if device.type == "cuda":
            from bitsandbytes.optim import AdamW8bit

            return AdamW8bit(groups, betas=settings.betas, weight_decay=settings.weight_decay)
        case "adamw8bit":
            print("train: 8-bit AdamW needs CUDA; using AdamW in full precision", file=sys.stderr)
    fused = True if device.type == "cuda" else None  # on a CPU its bytes are others
    return torch.optim.AdamW(groups, betas=settings.betas, weight_decay=settings.weight_decay, fused=fused)


def rate_factor(step: int, schedule: Literal["constant", "cosine"], warmup: int, steps: int) -> float:
    """What the rate is multiplied by at ``step`` (from 0): linear warm-up, then constant, or half a cosine to nearly 0.

    Never 0: Prodigy would skip such a step, and the first and the last step shall count.
    """
    if step < warmup:
        return (step + 1) / (warmup + 1)
    if schedule == "constant":
        return 1.0
    done = (step - warmup) / max(1, steps - warmup)
    return 0.5 * (1 + math.cos(math.pi * min(1.0, done)))


def open_rate_schedule(
    optimizer: torch.optim.Optimizer, schedule: Literal["constant", "cosine"], warmup: int, steps: int
) -> LambdaLR:
    """The rate schedule; call its ``step`` after every optimizer step."""
    return LambdaLR(optimizer, lambda step: rate_factor(step, schedule, warmup, steps))


def effective_rate(optimizer: torch.optim.Optimizer) -> tuple[float, float | None]:
    """The UNet's rate as the next step will use it, and Prodigy's d: rate * d with Prodigy, else rate and None."""
    group = optimizer.param_groups[0]
    d = group.get("d")
    return float(group["lr"]) * (1.0 if d is None else float(d)), None if d is None else float(d)
