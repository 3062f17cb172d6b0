"""A `dvc repro` that finds nothing to do: this pipeline against an empty one of as many stages.

Ours is this repository's dvc.yaml, params.yaml and code, with files of no meaning in place of what the stages made,
as many as dvc.lock counts; each side is a workspace of its own with a cache of its own.
"""

import os
import resource
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from bench.harness import Case
from bench.results_file import ROOT

DOES = "dvc repro with nothing to do, against that of an empty pipeline of as many stages"
UP_TO_DATE = "Data and pipelines are up to date."
DVC = (sys.executable, "-m", "dvc")
AIM = 0.8  # the empty one's time over ours: at most 1.25 times as long


def run(folder: Path, *words: str) -> str:
    """A program's output; its error stops the benchmark."""
    environment = os.environ | {"DVC_NO_ANALYTICS": "1", "GIT_CONFIG_GLOBAL": os.devnull}
    return subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True, check=True).stdout


def open_workspace(folder: Path) -> None:
    """A git and DVC workspace, without this machine's settings."""
    run(folder, "git", "init", "-q")
    if not (folder / ".dvc").exists():
        run(folder, *DVC, "init", "-q")


def count_files() -> dict[str, int]:
    """path -> number of files, of every dependency and out in dvc.lock; 0 for what is one file."""
    stages = yaml.safe_load((ROOT / "dvc.lock").read_text(encoding="utf-8"))["stages"].values()
    named = (entry for stage in stages for kind in ("deps", "outs") for entry in stage.get(kind, ()))
    return {entry["path"]: int(entry.get("nfiles", 0)) for entry in named}


def fill(path: Path, count: int) -> None:
    """Files that mean nothing, each with bytes of its own, where nothing lies yet."""
    if path.exists() and (path.is_file() or any(path.iterdir())):
        return
    for number in range(max(1, count)):
        file = path / f"{number // 100:02d}" / f"{number}.png" if count else path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(f"{path} {number} ".encode() * 500)


def build_ours(folder: Path) -> None:
    """This repository's tracked files, and everything that dvc.lock names."""
    for name in run(ROOT, "git", "ls-files").splitlines():
        if (ROOT / name).is_file() and not name.startswith(("tests/", "docs/")):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, folder / name)
    open_workspace(folder)
    for name, count in count_files().items():
        fill(folder / name, count)
    run(folder, *DVC, "commit", "-q", "-f")


def build_empty(folder: Path, stages: int) -> None:
    """As many stages, each with one file to read and one to write."""
    folder.mkdir(parents=True)
    open_workspace(folder)
    pipeline: dict[str, Any] = {}
    for number in range(stages):
        (folder / f"{number}.txt").write_text(f"{number}\n")
        pipeline[f"stage{number}"] = {
            "cmd": f"cp {number}.txt {number}.out", "deps": [f"{number}.txt"], "outs": [f"{number}.out"],
        }  # fmt: skip
    (folder / "dvc.yaml").write_text(yaml.safe_dump({"stages": pipeline}, sort_keys=False))
    run(folder, *DVC, "repro", "-q")


def measure_parts(ours: Path, empty: Path, folder: Path) -> dict[str, float]:
    """Processor seconds of each, and of ours without dependencies on code, without parameters, and without both."""
    folders = {"empty": empty, "ours": ours}
    for name, leave_out in (("no code", {"code"}), ("no params", {"params"}), ("neither", {"code", "params"})):
        folders[name] = folder / name.replace(" ", "-")
        shutil.rmtree(folders[name], ignore_errors=True)
        shutil.copytree(ours, folders[name])
        _leave_out(folders[name] / "dvc.yaml", leave_out)
        run(folders[name], *DVC, "commit", "-q", "-f")
    return {name: round(min(_processor_seconds(path) for _ in range(5)), 2) for name, path in folders.items()}


def _leave_out(path: Path, what: set[str]) -> None:
    pipeline = yaml.safe_load(path.read_text(encoding="utf-8"))
    for stage in pipeline["stages"].values():
        if "code" in what:
            stage["deps"] = [one for one in stage["deps"] if not one.startswith("stages/")]
        if "params" in what:
            stage.pop("params", None)
    path.write_text(yaml.safe_dump(pipeline, sort_keys=False), encoding="utf-8")


def _processor_seconds(folder: Path) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    repro(folder)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def repro(folder: Path) -> str:
    """What `dvc repro` says at last."""
    return run(folder, *DVC, "repro").strip().splitlines()[-1]


def differ(ours: str, peer: str) -> str:
    """Both must have found nothing to do."""
    return "" if ours == peer == UP_TO_DATE else f"{ours!r} and {peer!r}"


def prepare(folder: Path) -> Case:
    """Both workspaces, built anew."""
    ours, empty = folder / "ours", folder / "empty"
    for old in (ours, empty):
        shutil.rmtree(old, ignore_errors=True)
    stages = len(yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"])
    build_ours(ours)
    build_empty(empty, stages)
    files = sum(max(1, count) for count in count_files().values())
    return Case(
        lambda: repro(ours), lambda: repro(empty), differ, "both find nothing to do", stages, "stages", aim=AIM,
        figures=lambda: {"files": files, "processor_s": measure_parts(ours, empty, folder)},
    )  # fmt: skip
