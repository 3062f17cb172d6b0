"""bench/results/*.json: what was measured, on which kind of machine, with which versions of whom."""

import json
import os
import platform
import subprocess
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil
import torch

THEIRS = ("accelerate", "diffusers", "safetensors", "torch", "transformers")
PACKAGES = ("accelerate", "diffusers", "peft", "safetensors", "torch", "transformers")


def describe_machine() -> dict[str, Any]:
    """The kind of machine: no name of it."""
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


def describe_peer(folder: Path, python: Path) -> dict[str, Any]:
    """A peer's git commit and the packages of its environment: never where it lies."""
    asked = "import json; from importlib.metadata import version as v"
    asked += f"; print(json.dumps({{name: v(name) for name in {THEIRS}}}))"
    done = subprocess.run([python, "-c", asked], capture_output=True, text=True, check=False)
    return {"commit": commit_of(folder), "versions": json.loads(done.stdout or "{}")}


def append_result(path: Path, command: str, peers: Mapping[str, Any], figures: Mapping[str, Any]) -> None:
    """Append one measurement; ``peers`` as ``describe_peer`` tells them."""
    rows = json.loads(path.read_text(encoding="utf-8")) if path.exists() else []
    rows.append(
        {
            "command": command, "machine": describe_machine(), "python": platform.python_version(),
            "versions": {package: version(package) for package in PACKAGES},
            "peers": dict(peers), "figures": dict(figures),
        }
    )  # fmt: skip
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(rows, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
