"""bench/results/*.json: what was measured, on which kind of machine, with which versions of whom."""

import json
import os
import platform
import subprocess
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil

from stages.runtime.files import write_text

ROOT = Path(__file__).parents[1]
THEIRS = ("accelerate", "diffusers", "safetensors", "torch", "transformers")
PACKAGES = (
    "accelerate", "diffusers", "dvc", "imagehash", "insightface", "numpy", "onnxruntime", "opencv-python", "peft",
    "pillow", "safetensors", "torch", "transformers",
)  # fmt: skip


def describe_machine() -> dict[str, Any]:
    """The kind of machine: no name of it."""
    import torch

    model = ""
    if Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), "")
    gpus = [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())]
    return {"system": platform.system(), "cpu": model or platform.machine(), "cores": os.cpu_count(), "gpus": gpus,
            "memory_gib": round(psutil.virtual_memory().total / 2**30)}  # fmt: skip


def commit_of(folder: Path) -> str:
    """The git commit that a peer's folder is at; empty where it is no repository."""
    done = subprocess.run(["git", "-C", str(folder), "rev-parse", "HEAD"], capture_output=True, text=True, check=False)
    return done.stdout.strip()


def is_dirty(folder: Path) -> bool:
    """Whether files that git knows differ from the commit, but for results, which a benchmark itself appends."""
    asked = ["git", "-C", str(folder), "status", "--porcelain", "--untracked-files=no", "--", ".", ":!bench/results"]
    return bool(subprocess.run(asked, capture_output=True, text=True, check=False).stdout.strip())


def describe_peer(folder: Path, python: Path) -> dict[str, Any]:
    """A peer's git commit and the packages of its environment: never where it lies."""
    asked = "import json; from importlib.metadata import version as v"
    asked += f"; print(json.dumps({{name: v(name) for name in {THEIRS}}}))"
    done = subprocess.run([python, "-c", asked], capture_output=True, text=True, check=False)
    return {"commit": commit_of(folder), "versions": json.loads(done.stdout or "{}")}


def append_result(path: Path, command: str, peers: Mapping[str, Any], figures: Mapping[str, Any]) -> None:
    """Append one measurement, with this repository's commit; ``peers`` as ``describe_peer`` tells them."""
    rows = json.loads(path.read_text(encoding="utf-8")) if path.exists() else []
    rows.append(
        {
            "command": command, "date": datetime.now(UTC).date().isoformat(),
            "commit": commit_of(ROOT), "dirty": is_dirty(ROOT),
            "machine": describe_machine(), "python": platform.python_version(),
            "versions": {package: version(package) for package in PACKAGES},
            "peers": dict(peers), "figures": dict(figures),
        }
    )  # fmt: skip
    write_text(path, json.dumps(rows, indent=1, ensure_ascii=False) + "\n")
