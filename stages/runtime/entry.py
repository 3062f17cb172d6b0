"""How a program of Pistachio starts and ends: one line and exit code 2 for bad input, a traceback for a bug."""

import logging
import os
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from stages.runtime.errors import UserError

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


def run_stage(main: Callable[[], None]) -> None:
    """Run a stage's ``main`` as a program and exit: 0 done, 2 bad input (one line), else the bug's traceback."""
    with program():
        main()
