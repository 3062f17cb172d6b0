"""A small real training by sd-scripts through our backend, interrupted and gone on with, on a base of random weights.

    python -m bench.kohya_base --out BASE --tokenizer ...               # once, 7 GB
    python -m bench.kohya_training FOLDER PYTHON BASE [unet|text]       # sd-scripts, their Python

Steps, losses, rates, checkpoints and the state are the real program's; what is learnt means nothing.  ``text`` trains
both text encoders too.  Weights and LoRA are kept in bfloat16 (--full_bf16), which our backend never asks for: SDXL
in float32 does not fit into a small machine.  Figures are appended to bench/results/kohya.json.
"""

import json
import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from bench.results_file import append_result, describe_peer
from stages.backends.generate.lora import read_layers
from stages.backends.sdxl import open_skeleton
from stages.backends.train.kohya import KohyaTrainer
from stages.contracts.lora import write_lora
from stages.contracts.settings import Kohya, Machine, Train
from stages.contracts.training import Checkpoint, Event, Example, Examples, Resumed, Step
from stages.runtime.pictures import write_png

STEPS, EVERY, SIDE = 4, 2, 64


class SmallTrainer(KohyaTrainer):
    """With everything in bfloat16."""

    def _command(self, place: Any, state: Path | None) -> list[str]:
        return [*super()._command(place, state), "--full_bf16"]


def make_recipe(base: Path, *, text_encoders: bool) -> Train:
    """The smallest training that has everything: class images, checkpoints, a state."""
    return Train(
        backend="kohya", version="bench", base=base, resolution=SIDE, rank=4, layers="transformer", steps=STEPS,
        batch=1, prior_batch=1, checkpoint_every=EVERY, text_encoders=text_encoders, cache_text=not text_encoders,
        precision="bfloat16", gradient_checkpointing=True,
    )  # fmt: skip


def draw_examples(folder: Path) -> Examples:
    """Four photos and two class images of noise."""
    draw = np.random.default_rng(0)
    made = []
    for number in range(6):
        path = folder / f"{number}.png"
        write_png(path, draw.integers(0, 255, (SIDE + 16 * number, SIDE, 3)).astype(np.uint8))
        made.append(Example(path, f"amira, a woman, number {number}"))
    return Examples(tuple(made[:4]), (), tuple(made[4:]))


def tell(events: Iterator[Event], start: float) -> Iterator[tuple[Event, dict[str, Any]]]:
    """Every event with a row that says what it was and when it came, s."""
    for event in events:
        row: dict[str, Any] = {"event": type(event).__name__, "step": event.step, "s": round(time.monotonic() - start)}
        if isinstance(event, Step):
            row |= {"loss": event.loss, "learning_rate": event.learning_rate, "d": event.d}
        if isinstance(event, Checkpoint):
            row |= {"tensors": len(event.tensors), "dtypes": sorted({str(a.dtype) for a in event.tensors.values()}),
                    "alpha": sorted({float(a) for n, a in event.tensors.items() if n.endswith(".alpha")})}  # fmt: skip
        print(json.dumps(row), flush=True)
        yield event, row


def measure(trainer: SmallTrainer, examples: Examples, work: Path) -> dict[str, Any]:
    """A training that is left after step 3 and begun again: it goes on after step 2."""
    first, second, last = [], [], None
    events = trainer.train(examples, work)
    for event, row in tell(events, time.monotonic()):
        first.append(row)
        if isinstance(event, Step) and event.step == STEPS - 1:
            break
    events.close()  # type: ignore[attr-defined]
    for event, row in tell(trainer.train(examples, work), time.monotonic()):
        second.append(row)
        last = event
    assert isinstance(last, Checkpoint), last
    assert (second[0]["event"], second[0]["step"]) == (Resumed.__name__, EVERY), second[0]
    path = work / "again.safetensors"
    write_lora(path, last.tensors, {"ss_steps": str(last.step)})
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    modules = len(read_layers(path, open_skeleton(trainer.settings.base)))
    return {"interrupted": first, "gone on": second, "modules": modules, "largest child, GiB": round(peak / 2**20, 1)}


def main(scripts: Path, python: Path, base: Path, what: str = "unet") -> None:
    """Train, print every event, append the figures."""
    train = make_recipe(base, text_encoders=what == "text")
    machine = Machine(threads=2, kohya=Kohya(folder=scripts, python=python))
    with tempfile.TemporaryDirectory() as folder:
        figures = measure(SmallTrainer(train, machine), draw_examples(Path(folder)), Path(folder) / "work")
    append_result(
        Path(__file__).resolve().parent / "results" / "kohya.json",
        f"python -m bench.kohya_training ... {what}",
        {"sd-scripts": describe_peer(scripts, python)},
        figures,
    )


if __name__ == "__main__":
    scripts, python, base, *what = sys.argv[1:]
    main(Path(scripts), Path(python), Path(base), *what)
