"""How often `pistachio trace` knows a bad copy of a published picture, and how often it claims a stranger's.

    python -m bench.trace [--tries 240] [--threads 1]

Reads what `make repro` left in the workspace, with the threshold of its params.yaml: published are eval's pictures;
foreign are the same person in the sweep's pictures (other prompts, other seeds), other people in the class images, and
rendered people.  Appends to bench/results/trace.json.
"""

import argparse
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from scipy.stats import binomtest

from bench.bad_copies import copy_badly
from bench.results_file import append_result
from miniature.places import VALIDATION
from miniature.render import render, sample_identity, sample_scene
from publish.passport.fingerprints import take_fingerprint
from publish.passport.search import Shelf, find_copies
from stages.contracts.paths import EVAL_IMAGES, REGULARIZATION, SWEEP_IMAGES
from stages.contracts.settings import read_publish
from stages.runtime.pictures import list_pictures, read_picture
from stages.runtime.progress import track

RESULT = Path("bench/results/trace.json")
# What is asked of trace, JPEG at quality 60, half size, 95% of each side; then one thing worse at a time, then several.
COPIES: dict[str, dict[str, Any]] = {
    "usual": {}, "quality 30": {"quality": 30}, "third of the size": {"size": 1 / 3}, "cropped by 10%": {"kept": 0.9},
    "cropped by 15%": {"kept": 0.85}, "cropped by 25%": {"kept": 0.75}, "mirrored": {"mirrored": True},
    "screenshot, brighter": {"gain": 1.15, "offset": 12.0, "size": 1.4}, "blown up": {"size": 2.0},
    "all of it": {"quality": 30, "size": 1 / 3, "kept": 0.85, "mirrored": True, "gain": 1.1},
}  # fmt: skip


def read_folder(folder: Path) -> list[np.ndarray]:
    """The pictures under a folder, uint8 RGB."""
    return [read_picture(path) for path in list_pictures(folder)]


def render_strangers(count: int) -> list[np.ndarray]:
    """People whom nobody published."""
    return [render(sample_identity(VALIDATION.stop - 1 - n), sample_scene(n), 64).image for n in range(count)]


def rate(count: int, tries: int) -> dict[str, Any]:
    """A share with its exact (Clopper-Pearson) 95% interval."""
    interval = binomtest(count, tries).proportion_ci(method="exact")
    return {"count": count, "tries": tries, "share": round(count / tries, 4),
            "low": round(interval.low, 4), "high": round(interval.high, 4)}  # fmt: skip


def measure_copies(
    pictures: Sequence[np.ndarray], shelf: Shelf, least: float, tries: int, worse: dict[str, Any], *, own: bool
) -> dict[str, Any]:
    """Copies of published pictures that were traced, or of foreign ones that were claimed."""
    generator, right, wrong, scores = np.random.default_rng(7), 0, 0, []
    for number in track(range(tries), "trace", tries, unit="picture"):
        row = number % len(pictures)
        best = find_copies(copy_badly(pictures[row], generator, **worse), shelf)[0]
        claimed = best.score >= least
        right += claimed and own and best.row == row
        wrong += claimed and not (own and best.row == row)
        scores.append(best.score)
    spread = {
        name: round(float(np.quantile(scores, q)), 4) for name, q in (("lowest", 0), ("median", 0.5), ("highest", 1))
    }
    return ({"traced": rate(right, tries)} if own else {}) | {"claimed_wrongly": rate(wrong, tries), "scores": spread}


def measure_speed(row: np.ndarray, count: int = 10_000) -> dict[str, Any]:
    """Seconds that one copy takes among ``count`` rows, of the wall and of the processors."""
    noise = np.random.default_rng(0).integers(0, 256, (count, *row.shape), np.uint8)
    shelf, copy = Shelf(noise, np.ones(count)), cv2.resize(row, (30, 30))
    started, used = time.perf_counter(), time.process_time()
    find_copies(copy, shelf)
    return {"rows": count, "seconds": round(time.perf_counter() - started, 2),
            "processor_seconds": round(time.process_time() - used, 2)}  # fmt: skip


def measure(tries: int) -> Iterator[tuple[str, Any]]:
    """Every figure with its name."""
    published = read_folder(EVAL_IMAGES / "lora")
    prints = np.stack([take_fingerprint(pixels) for pixels in published])
    shelf = Shelf(prints, np.array([round(p.shape[1] / p.shape[0], 4) for p in published]))
    least = read_publish().trace
    yield "threshold", least
    yield "published", len(published)
    yield "speed", measure_speed(prints[0])
    foreign = {
        "same person, another batch": read_folder(SWEEP_IMAGES),
        "other people, class images": read_folder(REGULARIZATION),
        "other people, rendered": render_strangers(tries),
    }  # fmt: skip
    for name, pictures in foreign.items():
        yield name, measure_copies(pictures, shelf, least, max(tries, len(pictures)), {}, own=False)
    for name, worse in COPIES.items():
        yield name, measure_copies(published, shelf, least, tries, worse, own=True)


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tries", type=int, default=240, help="copies of each kind")
    parser.add_argument("--threads", type=int, default=1, help="of OpenCV")
    arguments = parser.parse_args()
    cv2.setNumThreads(arguments.threads)
    figures = dict(measure(arguments.tries))
    append_result(RESULT, "python -m bench.trace", {}, figures)
    print(RESULT.read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
