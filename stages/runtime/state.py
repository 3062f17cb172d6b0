"""Where interrupted work is kept: outside the work tree, because DVC deletes outs and copies no ignored files."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
from filelock import FileLock, Timeout

from stages.runtime.errors import UserError

KEPT = 4  # unfinished pieces of work per stage
GONE = ".gone-"


def _above() -> list[int]:
    """The programs that this one runs under, nearest first: a shell that dvc may have put between, dvc, ..."""
    return [process.pid for process in psutil.Process().parents()]


_STARTED_BY = _above()


def cache_folder(state_dir: Path | None) -> Path:
    """``machine.state_dir``, or the user's cache folder when that is not set."""
    if state_dir is not None:
        return state_dir.expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "pistachio"


def find_work(state_dir: Path | None, stage: str, fingerprint: str) -> Path:
    """Where one stage's unfinished work lies."""
    return cache_folder(state_dir) / stage / fingerprint


@contextmanager
def work_folder(state_dir: Path | None, stage: str, fingerprint: str) -> Iterator[Path]:
    """The folder of one stage's unfinished work, locked; removed when the block ends well, kept when it does not.

    It is kept too when a program that this one was started under (dvc) is gone: nobody takes the result then, and who
    asks for it again finds it finished.

    Args:
        state_dir: ``machine.state_dir``.
        stage: who works.
        fingerprint: hash of params and inputs; another one is another folder, never a mixed run.

    Raises:
        UserError: when another process is at the same work (a killed ``dvc`` leaves its stage running), or the
            folder cannot be written.
    """
    folder = find_work(state_dir, stage, fingerprint)
    lock = _lock(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=0)
    except Timeout:
        raise UserError(folder, "another process is doing this very work", "wait for it, or end it") from None
    except OSError as error:
        raise UserError(folder, f"cannot be written ({error.strerror})", "set machine.state_dir") from None
    try:
        folder.mkdir(exist_ok=True)  # who held the lock until now may have finished and removed it
        folder.touch()  # the newest, when old ones are counted
        _prune(folder)
        yield folder
        if _above() == _STARTED_BY:
            _remove(folder)
    finally:
        lock.release()


def _lock(folder: Path) -> FileLock:
    return FileLock(folder.with_name(f"{folder.name}.lock"))


def _remove(folder: Path) -> None:
    """Remove a folder all at once: a kill in between must not leave half of it to be continued."""
    gone = folder.with_name(f"{GONE}{folder.name}")
    shutil.rmtree(gone, ignore_errors=True)
    os.replace(folder, gone)
    shutil.rmtree(gone, ignore_errors=True)


def _prune(current: Path) -> None:
    """Remove the stage's oldest unfinished work beyond ``KEPT``; what a process holds stays."""
    for left in current.parent.glob(f"{GONE}*"):  # its removal was interrupted
        shutil.rmtree(left, ignore_errors=True)
    others = [path for path in current.parent.iterdir() if path.is_dir() and path != current]
    others.sort(key=_changed, reverse=True)
    for folder in others[KEPT - 1 :]:
        lock = _lock(folder)
        with suppress(Timeout, FileNotFoundError), lock.acquire(timeout=0):
            _remove(folder)


def _changed(folder: Path) -> float:
    """When it was used last; long ago when who finished it has just removed it."""
    try:
        return folder.stat().st_mtime
    except FileNotFoundError:
        return 0.0
