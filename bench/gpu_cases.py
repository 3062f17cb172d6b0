"""What `bench.gpu` measures: each kind of case opens our own code on random weights and returns figures."""

import gc
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch._dynamo
from diffusers.models.attention_processor import AttnProcessor2_0

from bench.flops import count_decoding, count_forward, count_training
from bench.gpu_meters import GIB, count_waits, memory_figures, start_measuring_memory
from bench.gpu_model import Shape, random_weights
from stages.backends.generate.diffusers import DiffusersGenerator
from stages.backends.sdxl import compile_blocks
from stages.backends.train.loop import make_repeatable
from stages.backends.train.memory import estimate_memory
from stages.backends.train.run import Run
from stages.contracts.generation import ImageRequest
from stages.contracts.settings import Machine
from stages.contracts.train_settings import Train
from stages.contracts.training import Examples

OPTIMIZERS = {
    "adamw": {"name": "adamw", "learning_rate": 1e-4, "betas": (0.9, 0.999)},
    "prodigy": {"name": "prodigy", "learning_rate": 1.0},
}


class NotHereError(Exception):
    """A case that this machine has no means for; its text says what is missing."""


@dataclass(frozen=True)
class Place:
    """Where is measured, and with what."""

    shape: Shape
    machine: Machine
    folder: Path  # of the base
    examples: Examples
    peak: float  # TFLOP/s of a large bfloat16 product on this device
    seconds: float  # that a case's steps may take after its warm-up
    compiler: str = "inductor"

    @property
    def device(self) -> torch.device:
        """The device."""
        return torch.device(self.machine.device)


@dataclass(frozen=True)
class Training:
    """One way to train."""

    batch: int
    rank: int = 16
    checkpointing: bool = False
    attention: str = "sdpa"
    compiled: bool = False
    optimizer: str = "adamw"
    layers: str = "attention"
    repeatable: bool = True  # as we train: the same kernels every time
    within_gib: float | None = None  # what the issue of memory is: it must fit

    @property
    def name(self) -> str:
        """One line that tells it from the others."""
        words = [f"train batch {self.batch} rank {self.rank}", self.attention, self.optimizer]
        words += [f"layers {self.layers}"] * (self.layers != "attention")
        words += ["not repeatable"] * (not self.repeatable)
        words += ["checkpointing"] * self.checkpointing + ["compiled blocks"] * self.compiled
        return ", ".join(words if self.within_gib is None else ["memory", *words])

    def recipe(self, place: Place, precision: str = "bfloat16") -> Train:
        """The settings of the train stage."""
        return Train.model_validate({
            "version": "gpu", "base": place.folder, "resolution": place.shape.resolution, "rank": self.rank,
            "layers": self.layers, "steps": 100000, "checkpoint_every": 100000, "holdout_every": 100000,
            "batch": self.batch, "prior_batch": 0, "optimizer": OPTIMIZERS[self.optimizer], "schedule": "constant",
            "precision": precision, "gradient_checkpointing": self.checkpointing,
        })  # fmt: skip


@dataclass(frozen=True)
class Sampling:
    """One way to draw."""

    steps: int
    batch: int
    compiled: bool = False

    @property
    def name(self) -> str:
        """One line that tells it from the others."""
        return f"draw {self.batch} at once, {self.steps} steps, {'compiled blocks' if self.compiled else 'eager'}"


def wait(device: torch.device) -> None:
    """Until everything that was asked of the device is done."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def free(device: torch.device) -> None:
    """Give back the memory of what nobody holds any more."""
    gc.collect()
    torch._dynamo.reset()
    if device.type == "cuda":
        torch.cuda.empty_cache()


def clock(work: Callable[[], Any], device: torch.device, seconds: float, least: int = 3) -> list[float]:
    """Seconds of each repetition, as many as fit into ``seconds``, at least ``least``."""
    taken: list[float] = []
    while len(taken) < least or sum(taken) < seconds:
        wait(device)
        start = time.perf_counter()
        work()
        wait(device)
        taken.append(time.perf_counter() - start)
    return taken


def measure_peak(device: torch.device, side: int) -> float:
    """TFLOP/s of a bfloat16 product of two matrices of ``side`` squared: what a limit is counted with."""
    left, right = (torch.randn(side, side, device=device).bfloat16() for _ in range(2))
    for _ in range(3):
        left @ right

    def ten() -> None:
        for _ in range(10):
            left @ right

    return 10 * 2 * side**3 / min(clock(ten, device, 0.5, 5)) / 1e12


def open_run(case: Training, place: Place, precision: str = "bfloat16") -> Run:
    """Our training, before its first step.

    Raises:
        NotHereError: when it asks for xformers and there is none.
    """
    if case.attention == "xformers" and (find_spec("xformers") is None or place.device.type != "cuda"):
        raise NotHereError("xformers is not installed" if place.device.type == "cuda" else "xformers needs CUDA")
    make_repeatable(place.machine)
    if not case.repeatable:
        torch.use_deterministic_algorithms(False)
    with random_weights(place.shape, place.device):
        examples = replace(place.examples, train=place.examples.train[: case.batch])
        run = Run(case.recipe(place, precision), place.machine, examples)
    if case.attention == "sdpa" and place.device.type == "cuda":  # ours takes xformers' where it is installed
        run.model.unet.set_attn_processor(AttnProcessor2_0())
    if case.compiled:
        compile_blocks(run.model.unet, place.compiler)
    return run


def measure_training(case: Training, place: Place) -> dict[str, Any]:
    """Steps of our training loop: images per second, share of the counted limit, peak memory."""
    run = open_run(case, place)
    numbers = iter(range(1, 100000))
    start = time.perf_counter()
    losses = [run.advance(next(numbers)).loss for _ in range(3)]
    warm = time.perf_counter() - start
    start_measuring_memory(place.device)
    taken = clock(lambda: losses.append(run.advance(next(numbers)).loss), place.device, place.seconds)
    figures: dict[str, Any] = memory_figures(place.device) | count_waits(
        lambda: run.advance(next(numbers)), place.device
    )
    step = statistics.median(taken)
    counted = count_training(place.shape.name, case.rank, checkpointing=case.checkpointing, layers=case.layers)
    figures |= share(case.batch / step, counted, place.peak)
    figures |= {"step_s": round(step, 4), "slowest_step_s": round(max(taken), 4), "steps": len(taken),
                "warm_up_s": round(warm, 1), "last_loss": losses[-1]}  # fmt: skip
    if case.within_gib is not None:
        counts = sum(estimate_memory(case.recipe(place)).values())
        figures |= {"our_estimate_gib": round(counts / GIB, 2), "aim_gib": case.within_gib}
    return figures


def share(images_per_s: float, tflop: float, peak: float) -> dict[str, float]:
    """Images per second against the most that the device's products allow."""
    limit = peak / tflop
    return {"images_per_s": round(images_per_s, 3), "tflop_per_image": round(tflop, 5),
            "limit_images_per_s": round(limit, 2), "share_of_limit": round(images_per_s / limit, 4)}  # fmt: skip


def requests(case: Sampling, place: Place, count: int) -> list[ImageRequest]:
    """Different pictures in the same way."""
    side = place.shape.resolution
    one = ImageRequest(
        "amiranoor, a woman, portrait", 0, place.folder, None, guidance=5.0, sampler="euler", steps=case.steps,
        width=side, height=side,
    )  # fmt: skip
    return [replace(one, seed=seed) for seed in range(count)]


@contextmanager
def open_drawing(case: Sampling, place: Place, dtype: torch.dtype | None = None) -> Iterator[DiffusersGenerator]:
    """Our generator, with its base loaded."""
    torch.use_deterministic_algorithms(False)  # as in the stages that draw: a training in this process turned it on
    generator = DiffusersGenerator(place.machine, case.batch)
    with random_weights(place.shape, place.device, dtype):
        base = generator.open_base(place.folder)
        if case.compiled:
            compile_blocks(base.pipeline.unet, place.compiler)
        yield generator


def measure_sampling(case: Sampling, place: Place) -> dict[str, Any]:
    """Pictures of our generator, noise to pixels: images per second, share of the counted limit, peak memory."""
    with open_drawing(case, place) as generator:

        def draw() -> None:
            list(generator.generate(requests(case, place, case.batch)))

        start = time.perf_counter()
        draw()
        warm = time.perf_counter() - start
        draw()
        start_measuring_memory(place.device)
        taken = clock(draw, place.device, place.seconds, 2)
        figures: dict[str, Any] = memory_figures(place.device)
    seconds = statistics.median(taken)
    counted = case.steps * 2 * count_forward(place.shape.name) + count_decoding(place.shape.name)
    figures |= share(case.batch / seconds, counted, place.peak)
    return figures | {"draw_s": round(seconds, 4), "draws": len(taken), "first_draw_s": round(warm, 1)}


def gradient_of(precision: str, place: Place) -> tuple[float, torch.Tensor]:
    """Loss of a first step and its gradient, float32 on the CPU, of a LoRA that does something already."""
    run = open_run(Training(batch=1), place, precision)
    draw = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in run.trained:
            parameter.add_(0.02 * torch.randn(parameter.shape, generator=draw).to(parameter.device))
    loss, _ = run._tell(run._learn(1))
    return loss, torch.cat([p.grad.flatten().float().cpu() for p in run.trained if p.grad is not None])


def compare_training(place: Place) -> dict[str, Any]:
    """Loss and gradient in bfloat16 against float32, both by our own step."""
    exact_loss, exact = _exactly(lambda: gradient_of("float32", place), place.device)
    free(place.device)
    loss, gradient = gradient_of("bfloat16", place)
    apart = float((gradient - exact).norm() / exact.norm())
    cosine = float(torch.nn.functional.cosine_similarity(gradient, exact, dim=0))
    return {"loss_apart": round(abs(loss / exact_loss - 1), 6), "gradient_apart": round(apart, 5),
            "gradient_cosine": round(cosine, 6)}  # fmt: skip


def compare_drawing(place: Place) -> dict[str, Any]:
    """A picture as we draw it against the same in float32, levels of 255."""

    def picture(dtype: torch.dtype | None) -> np.ndarray:
        case = Sampling(steps=4, batch=1)
        with open_drawing(case, place, dtype) as generator:
            return next(iter(generator.generate(requests(case, place, 1))))

    exact = _exactly(lambda: picture(torch.float32), place.device)
    free(place.device)
    apart = np.abs(picture(None).astype(int) - exact)
    return {"mean_levels": round(float(apart.mean()), 3), "largest_level": int(apart.max()),
            "spread_levels": round(float(exact.std()), 1)}  # fmt: skip


def _exactly(work: Callable[[], Any], device: torch.device) -> Any:
    """``work`` without TensorFloat-32, which convolutions take by default."""
    usual = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    try:
        return work()
    finally:
        torch.backends.cudnn.allow_tf32 = usual
        wait(device)
