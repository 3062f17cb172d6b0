"""How a program of Pistachio starts and ends: one line and exit code 2 for bad input, a traceback for a bug."""

import inspect
import logging
import os
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

from filelock import FileLock, Timeout

from stages.runtime.errors import UserError
from stages.runtime.processes import follows

LOCKS = Path("logs")

# A model hub that nobody can reach must not be asked; telemetry never.
QUIET = {
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "TRANSFORMERS_VERBOSITY": "error",
    "NO_ALBUMENTATIONS_UPDATE": "1",
    "TOKENIZERS_PARALLELISM": "false",
}


@contextmanager
def program() -> Iterator[None]:
    """Around everything that a program does: quiet libraries, and bad input as one line with exit code 2."""
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    warnings.filterwarnings("ignore", category=FutureWarning)
    try:
        yield
    except UserError as error:
        print(f"error: {error.line}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)


@contextmanager
def _alone(stage: str) -> Iterator[None]:
    """No other process at the same stage in this workspace: a killed dvc leaves one, which writes to the same places.

    Raises:
        UserError: when there is one.
    """
    lock = FileLock(LOCKS / f"{stage}.lock")
    try:
        LOCKS.mkdir(exist_ok=True)
        lock.acquire(timeout=0)
    except Timeout:
        todo = "wait for it, or end it: logs/heartbeat.json names its process"
        raise UserError(f"stages.{stage}", "is at work in this workspace already", todo) from None
    except OSError as error:
        raise UserError(LOCKS, f"cannot be written ({error.strerror})") from None
    try:
        yield
    finally:
        lock.release()


def run_stage(main: Callable[[], None]) -> None:
    """Run a stage's ``main`` as a program and exit: 0 done, 2 bad input (one line), else the bug's traceback."""
    with program(), nullcontext() if follows() else _alone(Path(inspect.getfile(main)).stem):
        main()
