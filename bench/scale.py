"""What sharing work among a Ray cluster's workers costs, on this machine; and the table of docs/scale.md made of it.

    python -m bench.scale              measure; appends to bench/results/scale.json
    python -m bench.scale --page       write the newest row's table into docs/scale.md, measure nothing

No peer.  The pictures are a stand-in's that draws next to nothing (`bench.standin:Standin`): what is left is the
project's own work.  What a GPU draws is not measured here; ANCHORS names whose figure stands for it.
"""

import argparse
import json
import math
import os
import signal
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import chdir
from importlib.metadata import version
from pathlib import Path
from textwrap import fill
from typing import Any

from bench.harness import RESULTS
from bench.page import write_between
from bench.results_file import ROOT, append_result
from stages.runtime.entry import program

RESULT, PAGE = RESULTS / "scale.json", ROOT / "docs" / "scale.md"
BEGIN, END = "<!-- python -m bench.scale --page -->", "<!-- end -->"
SIDES = (64, 1024)
PICTURES = {64: 480, 1024: 48}
GROUP = 4
# Public records of others, no figures of ours: SDXL, 1024 px, on one H100.
STEPS, STEPS_PER_S = 30, 14.9  # CFG steps per second of plain PyTorch; torch.compile: 18.5
SWEEP, PODS = 10_000, (1, 2, 4, 8, 16)
LOAD_S = 60.0  # assumed: reading SDXL's 7 GB from a network volume


def tell_process(_: object) -> Callable[[float], int]:
    """On a worker: sleeps, and says which process it is."""

    def work(seconds: float) -> int:
        time.sleep(seconds)
        return os.getpid()

    return work


def machine(workers: int) -> Any:
    """Two workers of one thread each are as many as two cores bear."""
    from stages.contracts.settings import Machine

    return Machine(threads=1, ray_address="local", ray_workers=workers)


def measure_start(workers: int) -> dict[str, float]:
    """Seconds until the cluster stands, until a worker has answered, and until one has drawn with the miniature."""
    from miniature.places import WEIGHTS
    from stages.backends.crew import open_crew
    from stages.backends.crew.task import Item, Task
    from stages.backends.generate import open_generator
    from stages.contracts.generation import ImageRequest

    start = time.perf_counter()
    crew = open_crew(machine(workers))
    cluster = time.perf_counter() - start
    next(crew.do(Task("telling", tell_process, (0,)), iter([Item(0.0)])))
    answered = time.perf_counter() - start
    request = ImageRequest("a woman", 1, WEIGHTS / "base", None, sampler="ddim", steps=1, width=64, height=64)
    generator = open_generator("diffusers", machine(workers), 1)
    begun = time.perf_counter()
    next(generator.generate([request]))
    return {"cluster": cluster, "worker": answered - cluster, "first_picture": time.perf_counter() - begun}


def measure_loss(workers: int) -> float:
    """Seconds from a worker's end until another one works in its place."""
    from stages.backends.crew import open_crew
    from stages.backends.crew.task import Item, Task

    def said() -> Iterator[int]:
        items = (Item(0.01) for _ in range(100_000))
        return open_crew(machine(workers)).do(Task("telling", tell_process, (0,)), items)

    telling, known = said(), set[int]()
    while len(known) < workers:
        known.add(next(telling))
    os.kill(min(known), signal.SIGKILL)
    killed = time.perf_counter()
    while next(telling) in known:
        pass
    return time.perf_counter() - killed


def measure_driver(side: int, workers: int) -> dict[str, float]:
    """Milliseconds per picture: this process's own processor time, and how long one picks up after the other."""
    from bench.growth_work import JUDGES
    from bench.standin import draw as render
    from stages.backends.generate import open_generator
    from stages.contracts.generation import ImageRequest
    from stages.contracts.settings import Judges
    from stages.flows.drawing import Shot, draw
    from stages.flows.scoring import judge, make_references
    from stages.flows.sights import open_instruments

    here = machine(workers)
    count, kept = PICTURES[side], Path(f"kept{side}")
    Path("base").mkdir(exist_ok=True)
    requests = [
        ImageRequest(f"p{n % 8}", n, Path("base"), None, sampler="ddim", width=side, height=side) for n in range(count)
    ]
    shots = [Shot(r, 0, r.prompt, Path(f"drawn{side}/{n}.png")) for n, r in enumerate(requests)]
    generator = open_generator("bench.standin:Standin", here, GROUP)
    instruments = open_instruments(Judges.model_validate(JUDGES), here)
    references = make_references([render(r) for r in requests[:4]], instruments)
    for _ in judge(draw(generator, shots[: 8 * GROUP], kept), ["a"] * 8 * GROUP, references, instruments):
        pass  # models are opened, pictures of the stand-in rendered
    rest = shots[8 * GROUP :]
    own, wall = time.process_time(), time.perf_counter()
    for _ in judge(draw(generator, rest, kept), [shot.shows for shot in rest], references, instruments):
        pass
    own, wall = time.process_time() - own, time.perf_counter() - wall
    return {"driver_cpu_ms": 1000 * own / len(rest), "wall_ms": 1000 * wall / len(rest)} | measure_worker(side)


def measure_worker(side: int) -> dict[str, float]:
    """Milliseconds per picture on a worker beside drawing: to encode it, and to look at it."""
    from bench.growth_work import JUDGES
    from bench.standin import draw as render
    from stages.contracts.generation import ImageRequest
    from stages.contracts.settings import Judges, Machine
    from stages.flows.sights import TOGETHER, examine, open_instruments
    from stages.runtime.pictures import encode_png

    instruments = open_instruments(Judges.model_validate(JUDGES), Machine(threads=1))
    pictures = [render(ImageRequest("a", n, Path(), None, width=side, height=side)) for n in range(TOGETHER)]
    examine(pictures, instruments)
    start = time.perf_counter()
    for picture in pictures:
        encode_png(picture)
    encoded = time.perf_counter()
    examine(pictures, instruments)
    looked = time.perf_counter()
    return {"encode_ms": 1000 * (encoded - start) / TOGETHER, "look_ms": 1000 * (looked - encoded) / TOGETHER}


def measure(workers: int) -> dict[str, Any]:
    """All of it, in an empty folder."""
    os.environ["PYTHONPATH"] = str(ROOT)  # the workers find the stand-in there
    with tempfile.TemporaryDirectory(prefix="bench-scale-") as folder, chdir(folder):
        found: dict[str, Any] = {"workers": workers, "start_s": measure_start(workers)}
        found |= {f"{side}px": measure_driver(side, workers) for side in SIDES}
        return rounded(found | {"replaced_s": measure_loss(workers)})


def rounded(values: Any) -> Any:
    """Three significant digits."""
    if isinstance(values, dict):
        return {name: rounded(value) for name, value in values.items()}
    return float(f"{values:.3g}") if isinstance(values, float) else values


def seconds_each(figures: Mapping[str, Any]) -> tuple[float, float]:
    """Seconds per picture of 1024 px: of a worker, which draws, encodes and looks in turn; and of the driver."""
    large = figures["1024px"]
    return STEPS / STEPS_PER_S + (large["encode_ms"] + large["look_ms"]) / 1000, large["driver_cpu_ms"] / 1000


def plan(figures: Mapping[str, Any], pods: int) -> dict[str, float]:
    """Hours for ``SWEEP`` pictures on so many pods of one GPU, start-up's share of them, the driver's core's load."""
    each, driver = seconds_each(figures)
    start = sum(figures["start_s"].values()) + LOAD_S
    work = SWEEP * max(each / pods, driver)
    hours = (start + work) / 3600
    return {"hours": hours, "pod_hours": pods * hours, "start": start / 3600 / hours, "busy": driver * SWEEP / work}


def most_pods(figures: Mapping[str, Any]) -> tuple[int, int]:
    """Pods at which start-up takes a fifth of the time, and pods that keep one core of the driver busy."""
    each, driver = seconds_each(figures)
    start = sum(figures["start_s"].values()) + LOAD_S
    return math.floor(SWEEP * each / (4 * start)), math.floor(each / driver)


def render_table(figures: Mapping[str, Any]) -> str:
    """The part of docs/scale.md that is computed."""
    start, large, small = figures["start_s"], figures["1024px"], figures["64px"]
    each, _ = seconds_each(figures)
    lost = figures["replaced_s"] + LOAD_S + GROUP * each
    paying, busy = most_pods(figures)
    workers, cluster, loaded = figures["workers"], start["cluster"], start["first_picture"]
    driver, tiny = large["driver_cpu_ms"], small["driver_cpu_ms"]
    measured = (
        f"Measured, {workers} workers of one thread on two cores: Ray stands after {cluster:.1f} s, a worker answers "
        f"{start['worker']:.1f} s later, and {loaded:.1f} s after that it has loaded the miniature and drawn. "
        f"A picture costs the driver {driver:.1f} ms of processor time at 1024 px ({tiny:.1f} ms at 64 px), "
        f"a worker {large['encode_ms']:.0f} ms to encode and {large['look_ms']:.0f} ms to look at, with the "
        "miniature's judges on a CPU. "
        f"{figures['replaced_s']:.1f} s after a worker was killed another one works."
    )
    rows = [
        "| pods of one GPU | hours | pod hours | start-up's share | driver's core busy |",
        "|---:|---:|---:|---:|---:|",
    ]
    for pods in PODS:
        row = plan(figures, pods)
        cells = f"{row['hours']:.2f} | {row['pod_hours']:.2f} | {row['start']:.1%} | {row['busy']:.1%}"
        rows.append(f"| {pods} | {cells} |")
    limits = (
        f"A lost worker costs its pod {lost:.0f} s. From about {paying} pods on more than a fifth of the paid time is "
        f"start-up; a driver with one core would keep up with {busy}."
    )
    parts = [fill(measured, 118), f"Computed, {SWEEP:,} pictures of 1024 px, {STEPS} steps:", "\n".join(rows)]
    return "\n\n".join([*parts, fill(limits, 118)])


def write_page(page: Path = PAGE, result: Path = RESULT) -> None:
    """Put the newest row's table between the page's marks."""
    figures = json.loads(result.read_text(encoding="utf-8"))[-1]["figures"]
    write_between(page, BEGIN, END, render_table(figures))


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser("python -m bench.scale", description=__doc__)
    parser.add_argument("--page", action="store_true", help="write docs/scale.md from the newest row, measure nothing")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--no-record", action="store_true")
    asked = parser.parse_args()
    if asked.page:
        write_page()
        return
    found = measure(asked.workers)
    print(json.dumps(found, indent=1))
    if not asked.no_record:
        append_result(RESULT, "python -m bench.scale", {"ray": {"version": version("ray")}}, found)


if __name__ == "__main__":
    with program():
        main()
