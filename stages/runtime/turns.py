"""The stages of one workspace take turns: two at once would write each other's artifacts."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from stages.runtime.errors import UserError
from stages.runtime.processes import follows

LOCK = Path("logs/stage.lock")
BUSY = "a stage is at work in this folder"


@contextmanager
def take_turn() -> Iterator[None]:
    """Hold the workspace's lock; it ends with the process, however that ends.

    A stage that a person starts is refused while another one works. One that DVC starts waits instead: its outs are
    deleted already, and what holds the lock may be the stage of a ``dvc`` that was killed.

    Raises:
        UserError: when another stage is at work.
    """
    if follows():  # its leader holds the lock
        yield
        return
    LOCK.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        if "DVC_STAGE" not in os.environ:
            raise UserError(Path.cwd(), BUSY, "wait for it, or end it") from None
        print(f"waiting: {BUSY}", file=sys.stderr, flush=True)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def someone_works(workspace: Path = Path()) -> bool:
    """Whether a stage is at work in ``workspace``."""
    path = workspace / LOCK
    if not path.exists():
        return False
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return True
    except OSError:  # a folder that nobody can write to: nobody works there
        return False
    lock.release()
    return False
