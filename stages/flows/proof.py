"""Show on the user's own machine that a killed training ends with the same bytes as an undisturbed one."""

import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from stages.contracts.paths import LORA, LOSS, MANIFEST, PARAMS, TRAIN_SAMPLES
from stages.contracts.settings import read_yaml
from stages.runtime.errors import UserError
from stages.runtime.provenance import hash_path

OWN = {PARAMS.name, "models", "metrics", "logs"}  # of the workspace, what a run in a copy must not share
PATIENCE = 3600.0  # seconds without a new step after which a run counts as stuck


@dataclass(frozen=True)
class Proof:
    """What an undisturbed and a killed training gave."""

    steps: int
    killed_after: tuple[int, ...]
    resumed_at: tuple[int, ...]
    undisturbed: dict[str, str]  # sha256 by artifact
    killed: dict[str, str]

    @property
    def holds(self) -> bool:
        """Whether all bytes are the same, and something was really resumed."""
        return self.undisturbed == self.killed and bool(self.resumed_at)


def prove_resume(steps: int, kills: int, seed: int = 0, workspace: Path = Path()) -> Proof:
    """Train ``steps`` steps of the workspace's own recipe twice, once killed ``kills`` times at random places.

    Nothing in the workspace is changed: both runs happen in copies that link to its photos and models.

    Raises:
        UserError: when the workspace cannot be trained in.
    """
    if not (workspace / MANIFEST).exists():
        raise UserError(MANIFEST, "not found", "run `dvc repro manifest regularize` first")
    generator = random.Random(seed)
    places = sorted(generator.sample(range(1, steps), min(kills, steps - 1)))
    with _copy(workspace, steps) as plain, _copy(workspace, steps) as disturbed:
        _run(plain)
        killed_after = [_kill(disturbed, place) for place in places]
        _run(disturbed)
        said = (disturbed / "train.log").read_text(encoding="utf-8", errors="replace")
        resumed = [int(line.rsplit(" ", 1)[1]) for line in said.splitlines() if "resumed at step" in line]
        return Proof(steps, tuple(killed_after), tuple(resumed), _hashes(plain), _hashes(disturbed))


@contextmanager
def _copy(workspace: Path, steps: int) -> Iterator[Path]:
    """A folder like the workspace, with results and unfinished work of its own and a short training."""
    with tempfile.TemporaryDirectory(prefix="pistachio-proof-") as name:
        folder = Path(name)
        (folder / "models").mkdir()
        for source in [*workspace.resolve().iterdir(), *(workspace.resolve() / "models").glob("*")]:
            place = folder / source.relative_to(workspace.resolve())
            if source.name not in OWN and source != workspace.resolve() / LORA:
                place.symlink_to(source)
        (folder / PARAMS).write_text(yaml.safe_dump(_shortened(read_yaml(workspace / PARAMS), steps)))
        yield folder


def _shortened(params: dict[str, Any], steps: int) -> dict[str, Any]:
    often = {"checkpoint_every": max(1, steps // 2), "holdout_every": max(1, steps // 4)}
    machine = (params.get("machine") or {}) | {"state_dir": "state", "save_seconds": 0}
    return params | {"train": params["train"] | often | {"steps": steps, "warmup_steps": 0}, "machine": machine}


def _start(folder: Path) -> subprocess.Popen[bytes]:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "TERM": "dumb"}
    with (folder / "train.log").open("ab") as log:
        command = [sys.executable, "-m", "stages.train"]
        return subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log)


def _told(folder: Path) -> int:
    """Steps that the running training has told: step 0 is not one."""
    records = list(folder.glob("state/train/*/steps.jsonl"))
    return max(0, len(records[0].read_bytes().splitlines()) - 1) if records else 0


def _kill(folder: Path, step: int) -> int:
    """Start, and kill -9 as soon as ``step`` was told; the step that was reached."""
    process, heard, last = _start(folder), time.monotonic(), -1
    try:
        while process.poll() is None and (told := _told(folder)) < step:
            if told != last:
                heard, last = time.monotonic(), told
            if time.monotonic() - heard > PATIENCE:
                raise UserError(folder, f"stuck at step {last}")
            time.sleep(0.005)
    finally:
        process.kill()
        process.wait()
    _check(folder, process.returncode, killed=True)
    return _told(folder)


def _run(folder: Path) -> None:
    process = _start(folder)
    try:
        _check(folder, process.wait(), killed=False)
    finally:
        process.kill()


def _check(folder: Path, code: int, *, killed: bool) -> None:
    if code > 0 or (code < 0 and not killed):
        said = (folder / "train.log").read_text(encoding="utf-8", errors="replace").strip().splitlines()
        raise UserError("stages.train", said[-1].removeprefix("error: ") if said else f"exit code {code}")


def _hashes(folder: Path) -> dict[str, str]:
    files = [*sorted((folder / LORA).rglob("*.*")), folder / LOSS, folder / TRAIN_SAMPLES]
    return {path.relative_to(folder).as_posix(): hash_path(path) for path in files}
