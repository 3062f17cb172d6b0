"""How time and memory grow: photos through the manifest, pictures through the sweep; drawn into docs/growth.png.

    python -m bench.growth             every size, each in a process of its own; appends to bench/results/growth.json
    python -m bench.growth --plot      draw docs/growth.png from the newest row

The sweep draws with a stand-in that costs next to nothing (`bench.standin:Standin`): what grows is the project's own.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from bench.harness import RESULTS
from bench.results_file import ROOT, append_result
from stages.runtime.entry import program

SIZES = {"manifest": (36, 360, 3600), "sweep": (100, 1000, 10_000)}
UNITS = {"manifest": "photos", "sweep": "pictures"}
RESULT, PLOT = RESULTS / "growth.json", ROOT / "docs" / "growth.png"


def measure_here(what: str, count: int) -> dict[str, float]:
    """Seconds of the flow, and MiB before it and at its peak, in this process and working directory."""
    from bench.growth_work import prepare_manifest, prepare_sweep

    work = prepare_manifest(count) if what == "manifest" else prepare_sweep(count)
    before = peak_mib()
    start = time.perf_counter()
    done = work()
    return {
        "count": done,
        "seconds": round(time.perf_counter() - start, 2),
        "before_mib": before,
        "peak_mib": peak_mib(),
    }


def peak_mib() -> int:
    """The most memory that this process has had."""
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def measure(what: str, count: int) -> dict[str, float]:
    """The same in a fresh process and an empty folder."""
    with tempfile.TemporaryDirectory(prefix="bench-growth-") as folder:
        asked = [sys.executable, "-m", "bench.growth", "--one", what, str(count)]
        environment = {"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"}
        done = subprocess.run(asked, cwd=folder, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    print(what, found, flush=True)
    return found


def plot(figures: dict[str, list[dict[str, float]]], path: Path = PLOT) -> None:
    """Seconds and peak memory over the size, a row for each flow."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    drawn, axes = pyplot.subplots(2, 2, figsize=(8, 5.6), layout="constrained")
    for row, (what, points) in zip(axes, figures.items(), strict=True):
        counts = [point["count"] for point in points]
        for axis, key, unit in zip(row, ("seconds", "peak_mib"), ("seconds", "MiB at the peak"), strict=True):
            values = [point[key] for point in points]
            axis.plot(counts, values, marker="o", color="#2a7f62", label="measured")
            axis.set(title=what, xlabel=UNITS[what], ylabel=unit, xscale="log")
            axis.set_xticks(counts, [f"{count:,}" for count in counts])
            axis.minorticks_off()
            if key == "seconds":
                line = [values[-1] * count / counts[-1] for count in counts]
                axis.plot(counts, line, linestyle=":", color="#888888", label="in proportion to the largest")
                axis.set(yscale="log")
                axis.legend(frameon=False)
            else:
                axis.set(ylim=(0, 1.25 * max(values)))
    pyplot.savefig(path, dpi=80, metadata={"Software": None})
    pyplot.close(drawn)


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser("python -m bench.growth", description=__doc__)
    parser.add_argument("--one", nargs=2, metavar=("WHAT", "COUNT"), help="one size, in this process")
    parser.add_argument("--plot", action="store_true", help="draw the newest row, measure nothing")
    parser.add_argument("--largest", type=int, default=10**9, help="leave greater sizes out, and record nothing")
    asked = parser.parse_args()
    if asked.one:
        print(json.dumps(measure_here(asked.one[0], int(asked.one[1]))))
        return
    if not asked.plot:
        found: dict[str, Any] = {
            what: [measure(what, size) for size in sizes if size <= asked.largest] for what, sizes in SIZES.items()
        }
        if asked.largest < 10_000:
            return
        append_result(RESULT, "python -m bench.growth", {}, found)
    plot(json.loads(RESULT.read_text(encoding="utf-8"))[-1]["figures"])


if __name__ == "__main__":
    with program():
        main()
