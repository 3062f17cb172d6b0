"""The GPU proof: our training and drawing on SDXL's shape, as shares of what the card's products allow.

    python -m bench.gpu                  on a CUDA card, under eight minutes; appends to bench/results/gpu.json
    python -m bench.gpu --toy            the same code on a CPU at toy size, which says nothing about speed

No download: the weights are random.  Numerics are compared with float32; training steps (batch 1, 4, 8; rank 16, 64;
with and without checkpointing; PyTorch's attention and, where it is installed, xformers'; eager and compiled); steps of
diffusers' and kohya's own scripts, where they are at hand (`bench.gpu_peers` says how to bring them); drawing (20 and
30 steps, eager and compiled); peak memory.  What runs out of memory or time is said, never left out.
"""

import argparse
import json
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

import torch

from bench.gpu_cases import (
    NotHereError,
    Place,
    Sampling,
    Training,
    compare_drawing,
    compare_training,
    free,
    measure_peak,
    measure_sampling,
    measure_training,
)
from bench.gpu_model import draw_photos, sdxl, toy, write_folder
from bench.gpu_peers import describe_peers, judge_peers, list_peer_cases
from bench.results_file import append_result
from stages.contracts.settings import Machine
from stages.runtime.entry import program
from stages.runtime.errors import UserError
from stages.runtime.files import write_json

RESULT = Path(__file__).parent / "results" / "gpu.json"
NOT_YET = "toy size on a CPU: not yet run on a GPU"
SECONDS = 450.0  # of everything
SHARES = {
    "training": 0.3, "peers": 0.28, "drawing": 0.18, "memory": 0.07, "numerics": 0.06, "more training": 0.11,
}  # fmt: skip
AIM = 0.45  # share of the limit: training at batch 4 without checkpointing, drawing compiled
Case = tuple[str, Callable[[], dict[str, Any]]]


class OutOfTimeError(Exception):
    """A section's seconds are over."""


def list_cases() -> tuple[dict[str, list[Training]], list[Sampling]]:
    """The trainings by section and the drawings, the ones that matter most first."""
    first = [Training(4), Training(4, compiled=True), Training(1), Training(8), Training(4, attention="xformers"),
             Training(4, checkpointing=True), Training(4, 64)]  # fmt: skip
    memory = [Training(1, 32, True, optimizer="prodigy", within_gib=12.0),
              Training(4, 32, True, optimizer="prodigy", within_gib=24.0)]  # fmt: skip
    every = [Training(b, r, c) for b in (1, 4, 8) for r in (16, 64) for c in (False, True)]
    more = [*(case for case in every if case not in first), Training(1, optimizer="prodigy")]
    more.insert(0, Training(4, repeatable=False))  # as the peers train
    more += [Training(batch, attention="xformers") for batch in (1, 8)]
    drawing = [Sampling(steps, 1, compiled) for compiled in (False, True) for steps in (20, 30)]
    beside = [Training(4, layers="transformer")]  # what kohya trains
    found = {"training": first, "peers": beside, "memory": memory, "more training": more}
    return found, [*drawing, Sampling(20, 4, compiled=True)]


def list_toy_cases() -> tuple[dict[str, list[Training]], list[Sampling]]:
    """One of each kind."""
    trainings = {
        "training": [Training(2, 2), Training(2, 2, compiled=True), Training(2, 2, attention="xformers")],
        "peers": [], "memory": [Training(1, 2, True, optimizer="prodigy", within_gib=12.0)], "more training": [],
    }  # fmt: skip
    return trainings, [Sampling(2, 1), Sampling(2, 2, compiled=True)]


def sections(place: Place) -> dict[str, list[Case]]:
    """Every case by section."""
    trainings, drawings = list_toy_cases() if place.shape.name == "toy" else list_cases()
    made: dict[str, list[Case]] = {
        section: [(case.name, partial(measure_training, case, place)) for case in cases]
        for section, cases in trainings.items()
    }
    first = trainings["training"][0]
    made["peers"] += list_peer_cases(place, first.batch, first.rank)
    made["drawing"] = [(case.name, partial(measure_sampling, case, place)) for case in drawings]
    made["numerics"] = [
        ("bfloat16 training against float32", partial(compare_training, place)),
        ("drawing against float32", partial(compare_drawing, place)),
    ]
    return {section: made[section] for section in SHARES}


@contextmanager
def at_most(seconds: float) -> Iterator[None]:
    """Raise OutOfTimeError inside when they are over (where the system has such alarms)."""
    if not hasattr(signal, "SIGALRM"):
        yield
        return

    def ring(_number: int, _frame: FrameType | None) -> None:
        raise OutOfTimeError

    usual = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, max(0.001, seconds))
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, usual)


def measure(name: str, work: Callable[[], dict[str, Any]], seconds: float) -> dict[str, Any]:
    """One case's figures, or why there are none; a failure of one must not cost the others theirs."""
    row: dict[str, Any] = {"case": name}
    if seconds <= 0:
        return row | {"skipped": "no time left in its section"}
    try:
        with at_most(seconds):
            return row | work()
    except NotHereError as error:
        return row | {"skipped": str(error)}
    except OutOfTimeError:
        return row | {"skipped": f"was not done after the {seconds:.0f} s that were left in its section"}
    except torch.OutOfMemoryError:
        return row | {"skipped": "out of memory"}
    except Exception as error:
        return row | {"failed": f"{type(error).__name__}: {str(error)[:400]}"}


def run(place: Place, seconds: float) -> list[dict[str, Any]]:
    """Every section within its share of ``seconds``; what one leaves over, the next ones have."""
    rows, start, end = [], time.monotonic(), 0.0
    for section, cases in sections(place).items():
        end += SHARES[section] * seconds
        for name, work in cases:
            began = time.monotonic()
            row = measure(name, work, start + end - began)
            free(place.device)
            rows.append({"section": section} | row | {"took_s": round(time.monotonic() - began, 1)})
            print(json.dumps(rows[-1]), flush=True)
    return rows


def judge(rows: list[dict[str, Any]]) -> dict[str, str]:
    """Each aim in words: met, missed or not measured."""

    def share_of(name: str) -> str:
        share = next((row.get("share_of_limit") for row in rows if row["case"] == name), None)
        return "not measured" if share is None else f"{'met' if share >= AIM else 'missed'} ({share:.1%})"

    words = {f"{AIM:.0%} of the limit: {c.name}": share_of(c.name)
             for c in (Training(4), Training(4, compiled=True), Sampling(20, 1, compiled=True))}  # fmt: skip
    for row in (row for row in rows if "aim_gib" in row):
        taken = row.get("device_gib")
        word = "not measured" if taken is None else f"{'met' if taken <= row['aim_gib'] else 'missed'} ({taken} GiB)"
        words[f"at most {row['aim_gib']} GiB: {row['case']}"] = word
    return words | judge_peers(rows)


def describe_card(device: torch.device) -> dict[str, Any]:
    """The card, and what PyTorch drives it with."""
    if device.type != "cuda":
        return {"gpu": NOT_YET}
    known = torch.cuda.get_device_properties(device)
    return {"gpu": known.name, "memory_gib": round(known.total_memory / 2**30, 1), "cuda": torch.version.cuda,
            "capability": f"{known.major}.{known.minor}", "cudnn": torch.backends.cudnn.version()}  # fmt: skip


def prove(folder: Path, machine: Machine, *, small: bool, seconds: float) -> dict[str, Any]:
    """All figures."""
    shape, device = toy() if small else sdxl(), torch.device(machine.device)
    peak = measure_peak(device, 256 if small else 8192)
    place = Place(
        shape, machine, write_folder(folder / "base", shape), draw_photos(folder, 8, shape.resolution), peak,
        seconds=0.0 if small else 3.0, compiler="eager" if small else "inductor",
    )  # fmt: skip
    print(f"bfloat16 products: {peak:.4g} TFLOP/s", flush=True)
    rows = run(place, seconds)
    return {"card": describe_card(device), "shape": shape.name, "peak_tflops": round(peak, 4),
            "aims": judge(rows), "cases": rows}  # fmt: skip


def main(argv: list[str] | None = None) -> int:
    """Read the command line; 1 when a case failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--toy", action="store_true", help="toy size on the CPU, to see that everything runs")
    parser.add_argument("--device", default="cuda", help="the card")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="for everything")
    parser.add_argument("--out", type=Path, help="also write the figures here, and nothing to bench/results/")
    asked = parser.parse_args(argv)
    if not asked.toy and not torch.cuda.is_available():
        raise UserError("bench.gpu", "there is no CUDA device", "run it on a GPU, or with --toy")
    machine = Machine(device="cpu" if asked.toy else asked.device, threads=1 if asked.toy else torch.get_num_threads())
    with tempfile.TemporaryDirectory(prefix="bench-gpu-") as folder:
        figures = prove(Path(folder), machine, small=asked.toy, seconds=asked.seconds)
    for aim, word in figures["aims"].items():
        print(f"{aim}: {word}")
    if asked.out:
        write_json(asked.out, figures)
    elif not asked.toy:
        append_result(RESULT, "python -m bench.gpu", describe_peers(), figures)
    print(f"bench.gpu: {figures['card']['gpu']}")
    return 1 if any("failed" in row for row in figures["cases"]) else 0


if __name__ == "__main__":
    with program():
        sys.exit(main())
