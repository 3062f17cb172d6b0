"""Train a part of the miniature: a seeded, step-based, resumable loop over one or two one-thread processes.

Two processes with one thread each, averaging gradients, train faster than one process with two threads on small
convolutions.  Every step draws its batch from (seed, step, rank), so an interrupted run continues to the same weights.
"""

import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Protocol, TypeVar

import numpy as np
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import nn

from miniature.places import part_folder


@dataclass(frozen=True)
class Recipe:
    """How a part is trained: flat learning rate after a warm-up, then cosine to zero from ``decay_from`` on."""

    part: str
    steps: int
    batch: int  # samples per process and step
    learning_rate: float
    seed: int
    workers: int = 1
    warmup: int = 100
    decay_from: float = 0.5
    weight_decay: float = 0.01
    betas: tuple[float, float] = (0.9, 0.99)
    clip: float = 1.0
    ema: float | None = None
    checkpoint_every: int = 200

    def rate_at(self, step: int) -> float:
        """Learning rate of step ``step`` (0-based)."""
        warm = min(1.0, (step + 1) / self.warmup)
        start = self.decay_from * self.steps
        progress = max(0.0, step - start) / max(1.0, self.steps - start)
        return self.learning_rate * warm * 0.5 * (1 + float(np.cos(np.pi * progress)))


class Task(Protocol):
    """What a part brings: the module that is trained and the loss of one batch."""

    @property
    def model(self) -> nn.Module: ...

    def loss(self, batch: int, rng: np.random.Generator, noise: torch.Generator, step: int) -> torch.Tensor:
        """Mean loss of ``batch`` samples drawn with ``rng`` (numpy) and ``noise`` (torch)."""
        ...


TaskType = TypeVar("TaskType", bound=Task)


class _Average:
    """Exponential moving average of a module's parameters, warmed up as min(decay, (1+n)/(10+n))."""

    def __init__(self, model: nn.Module, decay: float | None) -> None:
        self.decay = decay
        self.values = [p.detach().clone() for p in model.parameters()] if decay is not None else []

    @torch.no_grad()
    def update(self, model: nn.Module, step: int) -> None:
        if self.decay is None:
            return
        keep = min(self.decay, (1 + step) / (10 + step))
        torch._foreach_lerp_(self.values, list(model.parameters()), 1 - keep)

    @torch.no_grad()
    def copy_to(self, model: nn.Module) -> None:
        for parameter, value in zip(model.parameters(), self.values, strict=False):
            parameter.copy_(value)


def checkpoint_path(part: str) -> Path:
    """Where the state of a part's training lies between runs."""
    return part_folder(part) / "training.pt"


def _average_gradients(model: nn.Module, workers: int) -> None:
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    flat = torch.cat([g.flatten() for g in gradients])
    dist.all_reduce(flat)
    flat /= workers
    offset = 0
    for gradient in gradients:
        gradient.copy_(flat[offset : offset + gradient.numel()].view_as(gradient))
        offset += gradient.numel()


def _save(
    path: Path, recipe: Recipe, step: int, model: nn.Module, optimizer, average: _Average, seconds: float
) -> None:
    state = {
        "recipe": asdict(recipe), "step": step, "model": model.state_dict(), "optimizer": optimizer.state_dict(),
        "average": average.values, "seconds": seconds,
    }  # fmt: skip
    beside = path.with_suffix(".tmp")
    torch.save(state, beside)
    os.replace(beside, path)


def same_so_far(old: Recipe, new: Recipe, step: int) -> bool:
    """Whether the state after ``step`` steps of ``old`` is also what ``new`` would have reached.

    So the length of a run may change while the learning rate is still flat, and nothing else ever.
    """
    if replace(old, steps=new.steps, decay_from=new.decay_from) != new or step > new.steps:
        return False
    return all(old.rate_at(s) == new.rate_at(s) for s in range(step))


def _restore(path: Path, recipe: Recipe, model: nn.Module, optimizer, average: _Average) -> tuple[int, float]:
    if not path.exists():
        return 0, 0.0
    state = torch.load(path, map_location="cpu", weights_only=True)
    if not same_so_far(Recipe(**state["recipe"]), recipe, state["step"]):
        raise SystemExit(f"{path}: made by another recipe; delete it to start again")
    model.load_state_dict(state["model"])
    optimizer.load_state_dict(state["optimizer"])
    average.values = state["average"]
    return state["step"], state["seconds"]


def _step(task: Task, optimizer, recipe: Recipe, step: int, rank: int) -> float:
    for group in optimizer.param_groups:
        group["lr"] = recipe.rate_at(step)
    rng = np.random.default_rng((recipe.seed, step, rank))
    noise = torch.Generator().manual_seed(int(rng.integers(2**62)))
    optimizer.zero_grad(set_to_none=False)
    loss = task.loss(recipe.batch, rng, noise, step)
    loss.backward()
    if recipe.workers > 1:
        _average_gradients(task.model, recipe.workers)
    nn.utils.clip_grad_norm_(task.model.parameters(), recipe.clip)
    optimizer.step()
    return float(loss.detach())


def _run(rank: int, recipe: Recipe, build: Callable[[], Task], port: int) -> None:
    torch.set_num_threads(1)
    torch.manual_seed(recipe.seed)
    if recipe.workers > 1:
        dist.init_process_group("gloo", f"tcp://127.0.0.1:{port}", rank=rank, world_size=recipe.workers)
    task = build()
    optimizer = torch.optim.AdamW(
        task.model.parameters(), lr=recipe.learning_rate, betas=recipe.betas, weight_decay=recipe.weight_decay,
        fused=True,
    )  # fmt: skip
    average = _Average(task.model, recipe.ema)
    path = checkpoint_path(recipe.part)
    first, seconds = _restore(path, recipe, task.model, optimizer, average)
    if rank == 0:
        print(f"{recipe.part}: {'resumed at' if first else 'from'} step {first} of {recipe.steps}", flush=True)
    started, losses = time.monotonic(), []
    for step in range(first, recipe.steps):
        losses.append(_step(task, optimizer, recipe, step, rank))
        average.update(task.model, step)
        if rank == 0 and ((step + 1) % recipe.checkpoint_every == 0 or step + 1 == recipe.steps):
            elapsed = time.monotonic() - started
            _save(path, recipe, step + 1, task.model, optimizer, average, seconds + elapsed)
            rate = (step + 1 - first) / elapsed
            print(f"{recipe.part}: step {step + 1}/{recipe.steps} loss {np.mean(losses):.4f} "
                  f"{rate * recipe.batch * recipe.workers:.0f} samples/s "
                  f"{(recipe.steps - step - 1) / rate / 60:.1f} min left", flush=True)  # fmt: skip
            losses.clear()
    if recipe.workers > 1:
        dist.barrier()
        dist.destroy_process_group()


def train(recipe: Recipe, build: Callable[[], TaskType], port: int = 29533) -> tuple[TaskType, float]:
    """Train to the recipe's last step, or continue from where an earlier run stopped.

    ``build`` must be a module-level function (it runs once in every process).  Returns the task with its trained
    (averaged, where the recipe has an EMA) weights in float32, and the wall-clock seconds spent so far.
    """
    if recipe.workers > 1:
        mp.start_processes(_run, args=(recipe, build, port), nprocs=recipe.workers, start_method="spawn")
    else:
        _run(0, recipe, build, port)
    return restore(recipe.part, build)


def restore(part: str, build: Callable[[], TaskType]) -> tuple[TaskType, float]:
    """The task with the newest checkpoint's (averaged) weights, and the seconds spent on them."""
    task = build()
    state = torch.load(checkpoint_path(part), map_location="cpu", weights_only=True)
    task.model.load_state_dict(state["model"])
    average = _Average(task.model, None)
    average.values = state["average"]
    average.copy_to(task.model)
    return task, state["seconds"]
