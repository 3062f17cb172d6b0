"""Where interrupted work is kept: outside the work tree, because DVC deletes outs and copies no ignored files."""

import os
import shutil
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
    """The folder of one stage's unfinished work, locked; removed when the block ends well, kept when it does not.

    Args:
        state_dir: ``machine.state_dir``.
        stage: who works.
        fingerprint: hash of params and inputs; another one is another folder, never a mixed run.

    Raises:
        UserError: when another process is at the same work (a killed ``dvc`` leaves its stage running), or the
            folder cannot be written.
    """
    folder = cache_folder(state_dir) / stage / fingerprint
    lock = FileLock(folder.with_name(f"{folder.name}.lock"))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=0)
    except Timeout:
        raise UserError(folder, "another process is doing this very work", "wait for it, or end it") from None
    except OSError as error:
        raise UserError(folder, f"cannot be written ({error.strerror})", "set machine.state_dir") from None
    try:
        folder.mkdir(exist_ok=True)  # who held the lock until now may have finished and removed it
        yield folder
        shutil.rmtree(folder)
    finally:
        lock.release()
