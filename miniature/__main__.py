"""Build the miniature world's models, and check that they are what metrics.json says.

python -m miniature train [PART ...]     train parts (default: all, in order), resumable, then record
python -m miniature check                recompute metrics.json from the committed weights; exit 1 on a difference
python -m miniature record               write metrics.json anew
"""

import argparse
import importlib
import json
import sys
import time
from typing import Any

import cv2

from miniature.figures import AIMS, PARTS, TIMED, aim_met, machine, measure_all, weights_sha256
from miniature.places import METRICS
from miniature.training import checkpoint_path
from stages.runtime.files import write_json

RUNS = {"clip": ("clip", "clip-tuning")}  # parts that are trained in more than one run
TOLERANCE = 0.01  # relative or absolute: another processor rounds differently


def training_seconds() -> dict[str, float]:
    """Wall-clock seconds of each part's training, from its checkpoints or, without any, from metrics.json."""
    import torch

    old = json.loads(METRICS.read_text())["training_seconds"] if METRICS.exists() else {}
    for part in PARTS:
        paths = [path for path in map(checkpoint_path, RUNS.get(part, (part,))) if path.exists()]
        if paths:
            old[part] = round(sum(torch.load(p, map_location="cpu", weights_only=True)["seconds"] for p in paths))
    return dict(sorted(old.items()))


def train(parts: list[str]) -> None:
    """Train parts one after another and write their weights."""
    cv2.setNumThreads(1)
    for part in parts or PARTS:
        module = importlib.import_module(f"miniature.{part}")
        module.train()
        if part not in ("vae", "base"):
            module.export()


def record() -> None:
    """Measure everything and write metrics.json."""
    figures = measure_all()
    write_json(METRICS, {"figures": figures, "weights": weights_sha256(), "training_seconds": training_seconds(),
                         "machine": machine()})  # fmt: skip
    show(figures)


def show(figures: dict[str, dict[str, float]]) -> None:
    """Print every aim with its figure."""
    for name, (direction, aim) in AIMS.items():
        part, key = name.split(".")
        value = figures[part][key]
        print(f"{'met  ' if aim_met(name, value) else 'SHORT'}  {name:36s} {value:9.4f}  aim {direction} {aim}")


def differences(recorded: dict[str, Any], figures: dict[str, dict[str, float]]) -> list[str]:
    """What differs between metrics.json and what was measured now."""
    found = [
        f"{path}: not the recorded weights" for path in sorted(recorded["weights"].items() ^ weights_sha256().items())
    ]
    for part, values in figures.items():
        for key, value in values.items():
            was = recorded["figures"].get(part, {}).get(key)
            timed = f"{part}.{key}" in TIMED
            if was is None or (not timed and abs(value - was) > TOLERANCE * max(1.0, abs(was))):
                found.append(f"{part}.{key}: {value:.6g}, recorded {was}")
    return found


def check() -> int:
    """Compare metrics.json with the committed weights; 0 when they agree."""
    started = time.monotonic()
    figures = measure_all()
    show(figures)
    found = differences(json.loads(METRICS.read_text()), figures)
    print("\n".join(found) or f"metrics.json agrees with the weights ({time.monotonic() - started:.0f} s)")
    return 1 if found else 0


def main() -> None:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", choices=("train", "check", "record"))
    parser.add_argument("parts", nargs="*", help=" ".join(PARTS))
    arguments = parser.parse_args()
    unknown = [part for part in arguments.parts if part not in PARTS]
    if unknown:
        parser.error(f"no such part: {' '.join(unknown)}; parts are {' '.join(PARTS)}")
    if arguments.action == "train":
        train(arguments.parts)
    if arguments.action == "check":
        sys.exit(check())
    record()


if __name__ == "__main__":
    main()
