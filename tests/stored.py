"""A small DVC repository with two versions of data, pushed to a remote, and ways to spoil its objects."""

import json
import logging
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).parents[1]


@dataclass
class Stored:
    """The repository ``folder`` (photos/ as a folder, model.bin as a file) and its objects by what they are."""

    folder: Path
    remote: Path  # files/md5 of a remote that is a folder
    photo: str  # of photos/000.jpg; both versions have it
    old: str  # of the model.bin that only the version before HEAD names
    model: str  # of HEAD's model.bin
    listing: str

    @property
    def cache(self) -> Path:
        return self.folder / ".dvc/cache/files/md5"


def place(store: Path, oid: str) -> Path:
    return store / oid[:2] / oid[2:]


def truncate(store: Path, oid: str) -> bytes:
    """Cut an object in half as a full disk does, its mode left as it was; returns what it was."""
    path = place(store, oid)
    data = path.read_bytes()
    spoil(path, data[: len(data) // 2])
    return data


def flip(store: Path, oid: str) -> bytes:
    """Change one byte of an object; returns what it was."""
    path = place(store, oid)
    data = path.read_bytes()
    spoil(path, data[:-1] + bytes([data[-1] ^ 1]))
    return data


def spoil(path: Path, data: bytes) -> None:
    mode = path.stat().st_mode
    path.chmod(0o644)
    path.write_bytes(data)
    path.chmod(mode)


def write_photos(folder: Path, count: int, size: int) -> None:
    """``count`` files of ``size`` random bytes, the same ones every time."""
    folder.mkdir(parents=True, exist_ok=True)
    draw = np.random.default_rng(0)
    for number in range(count):
        (folder / f"{number:03d}.jpg").write_bytes(draw.bytes(size))


def git(folder: Path, *arguments: str) -> str:
    who = ["-c", "user.name=test", "-c", "user.email=test@example.com", "-c", "commit.gpgsign=false"]
    done = subprocess.run(["git", *who, *arguments], cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def dvc(folder: Path, *arguments: str, **env: str) -> "subprocess.CompletedProcess[str]":
    """`dvc` as a person types it."""
    command = [sys.executable, "-m", "dvc", *arguments]
    return subprocess.run(command, cwd=folder, env=os.environ | env, capture_output=True, text=True, check=False)


def pistachio(folder: Path, *arguments: str, **env: str) -> "subprocess.CompletedProcess[str]":
    """`pistachio` as a person types it."""
    command, env = [sys.executable, "-m", "stages", *arguments], {"PYTHONPATH": str(ROOT), **env}
    return subprocess.run(command, cwd=folder, env=os.environ | env, capture_output=True, text=True, check=False)


def make_repo(folder: Path) -> Any:
    """An empty git and DVC repository; returns DVC's, open."""
    from dvc.repo import Repo

    folder.mkdir(parents=True, exist_ok=True)
    logging.getLogger("dvc").setLevel(logging.CRITICAL)  # it writes to the stream of whichever test came first
    git(folder, "init", "--quiet", "--initial-branch", "main")
    repo = Repo.init(str(folder))
    with repo.config.edit("repo") as config:
        config["core"] = {"analytics": False, "autostage": False}
        config["cache"] = {"type": "copy"}
    repo.close()
    return Repo(str(folder))


def make_stored(folder: Path) -> Stored:
    """Commit two versions and push both."""
    repo_folder, remote = folder / "repo", folder / "remote"
    repo = make_repo(repo_folder)
    with repo.config.edit("repo") as config:
        config["remote"]["disk"] = {"url": str(remote)}
        config["core"]["remote"] = "disk"
    write_photos(repo_folder / "photos", 5, 5000)
    models = []
    for version in ("first", "second"):
        (repo_folder / "model.bin").write_bytes(version.encode() * 3000)
        repo.add([str(repo_folder / name) for name in ("photos", "model.bin")])
        named = {Path(out.def_path).name: out.hash_info.value for out in repo.index.outs}
        models.append(named["model.bin"])
        git(repo_folder, "add", "--all")
        git(repo_folder, "commit", "--quiet", "--message", version)
        git(repo_folder, "tag", f"lora/{version}")
        repo.push()
    repo.close()
    listing = named["photos"]
    store = remote / "files/md5"
    photo = json.loads(place(store, listing).read_bytes())[0]["md5"]
    return Stored(repo_folder, store, photo, models[0], models[1], listing)
