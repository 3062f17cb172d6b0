"""Where interrupted work is kept: outside the work tree, because DVC deletes outs and copies no ignored files."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from stages.runtime.errors import UserError


def cache_folder(state_dir: Path | None) -> Path:
    """``machine.state_dir``, or the user's cache folder when that is not set."""
    if state_dir is not None:
        return state_dir.expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "pistachio"


@contextmanager
def work_folder(state_dir: Path | None, stage: str, fingerprint: str) -> Iterator[Path]:
    """The folder of one stage's unfinished work, locked; another fingerprint (of params and inputs) is another folder.

    Raises:
        UserError: when another process is at the same work (a killed ``dvc`` leaves its stage running).
    """
    folder = cache_folder(state_dir) / stage / fingerprint
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder.with_name(f"{folder.name}.lock"))
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise UserError(folder, "another process is doing this very work", "wait for it, or end it") from None
    try:
        yield folder
    finally:
        lock.release()
