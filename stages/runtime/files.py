"""Whole files or nothing: everything is written beside its place and renamed."""

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

SHORT = 12  # hexadecimal digits of a name's hash
_CLEARED: set[tuple[int, int]] = set()  # folders, by device and inode


def _beside(path: Path, what: str, suffix: str = "") -> Path:
    # Not the name itself: a name as long as names may be leaves no room for more.
    return path.with_name(f".{_short(path)}.{os.getpid()}.{what}{suffix}")


def _short(path: Path) -> str:
    return hashlib.sha256(os.fsencode(path.name)).hexdigest()[:SHORT]


def _clear_leftovers(path: Path) -> None:
    """Remove what a process that was killed while it wrote into this folder left there.

    Looked for once per folder: ten thousand pictures would otherwise be listed ten thousand times.
    """
    status = path.parent.stat()
    folder = (status.st_dev, status.st_ino)
    if folder in _CLEARED:
        return
    _CLEARED.add(folder)
    for left in path.parent.glob(".*.part*"):
        short, writer, *rest = left.name[1:].split(".")
        if len(short) == SHORT and rest and writer.isdecimal() and not _lives(int(writer)):
            shutil.rmtree(left) if left.is_dir() else left.unlink(missing_ok=True)


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # somebody else's
        return True
    return True


@contextmanager
def _naming(path: Path, beside: Path) -> Iterator[None]:
    """Let an error of the disk name the file that was to be written, and not the one beside it."""
    try:
        yield
    except OSError as error:
        if error.errno is not None and str(error.filename or beside).startswith(str(beside)):
            error.filename, error.filename2 = str(path), None
        raise


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A path beside ``path`` to write to; renamed over it on success, removed on failure."""
    beside = _beside(path, "part", path.suffix)
    with _naming(path, beside):
        path.parent.mkdir(parents=True, exist_ok=True)
        _clear_leftovers(path)
        try:
            yield beside
            os.replace(beside, path)
        finally:
            beside.unlink(missing_ok=True)


@contextmanager
def replacing_folder(path: Path) -> Iterator[Path]:
    """An empty folder beside ``path`` to fill; takes its place on success, removed on failure."""
    beside, old = _beside(path, "part"), _beside(path, "old")
    with _naming(path, beside):
        path.parent.mkdir(parents=True, exist_ok=True)
        _clear_leftovers(path)
        shutil.rmtree(beside, ignore_errors=True)
        beside.mkdir()
        try:
            yield beside
            _exchange(path, beside, old)
        finally:
            shutil.rmtree(beside, ignore_errors=True)


def _exchange(path: Path, new: Path, old: Path) -> None:
    """Put ``new`` in the place of ``path``, which waits as ``old`` until that is done."""
    shutil.rmtree(old, ignore_errors=True)
    if path.exists():
        os.replace(path, old)
    try:
        os.replace(new, path)
    except OSError:
        if old.exists():
            os.replace(old, path)
        raise
    shutil.rmtree(old, ignore_errors=True)


def write_text(path: Path, text: str) -> None:
    """Write ``text`` as UTF-8, atomically."""
    with replacing(path) as beside:
        beside.write_text(text, encoding="utf-8", newline="\n")


def write_json(path: Path, value: Any) -> None:
    """Write ``value`` as indented JSON with a final newline, atomically; NaN is refused."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")
