"""Content hashes: what a result was made from."""

import hashlib
import inspect
import json
import os
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from stages.runtime.errors import UserError

NUMERICS = ("accelerate", "diffusers", "numpy", "onnxruntime", "peft", "prodigyopt", "torch", "transformers")


def hash_file(path: Path) -> str:
    """sha256 of a file's bytes, hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def hash_bytes(data: bytes) -> str:
    """sha256 of some bytes, hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def hash_json(value: Any) -> str:
    """sha256 of a JSON value, whatever the order of its keys."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def hash_path(path: Path) -> str:
    """sha256 of a file, or of a folder's relative names and file hashes in sorted order."""
    if path.is_file():
        return hash_file(path)
    files = sorted(p for p in path.rglob("*") if p.is_file() and "__pycache__" not in p.parts)
    return hash_json([[p.relative_to(path).as_posix(), hash_file(p)] for p in files])


_HASHED: dict[Path, tuple[Any, str]] = {}


def hash_unchanged(path: Path) -> str:
    """``hash_path``, remembered by this process for as long as no file's size, time or inode changes."""
    where = path.absolute()
    stamps = stamp_files(path) if path.is_dir() else _stamp(path)
    if where not in _HASHED or _HASHED[where][0] != stamps:
        _HASHED[where] = (stamps, hash_path(path))
    return _HASHED[where][1]


@cache
def describe_code(worker: type | None = None) -> str:
    """Which code this is: the hash of the package, of the file of ``worker``, and the versions of what computes.

    Unfinished work is never continued by other code than began it; ``worker`` may be a class of the user's own.
    """
    own = hash_file(Path(inspect.getfile(worker))) if worker else ""
    return hash_json([hash_path(Path(__file__).parents[1]), own, [[name, _version(name)] for name in NUMERICS]])


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def stamp_files(folder: Path) -> dict[str, tuple[int, int, int]]:
    """Size, time of change and inode of every file under ``folder``, by relative name; none where it is not there."""
    found = {}
    for parent, _, names in os.walk(folder):
        for path in (Path(parent, name) for name in names):
            if path.is_file():
                found[path.relative_to(folder).as_posix()] = _stamp(path)
    return found


def _stamp(path: Path) -> tuple[int, int, int]:
    status = path.stat()
    return status.st_size, status.st_mtime_ns, status.st_ino


def require_unchanged(folder: Path, stamps: dict[str, tuple[int, int, int]]) -> None:
    """Refuse a result whose inputs changed while it was made: DVC hashes them afterwards and would believe it.

    Raises:
        UserError: naming the first file that changed, came or went since ``stamp_files`` made ``stamps``.
    """
    now = stamp_files(folder)
    changed = sorted(name for name in now.keys() | stamps.keys() if now.get(name) != stamps.get(name))
    if changed:
        more = f" (and {len(changed) - 1} more)" if len(changed) > 1 else ""
        raise UserError(folder / changed[0], f"changed while it was being read{more}", "let it rest, and run again")
