"""How a program of Pistachio starts and ends: one line and exit code 2 for bad input, a traceback for a bug."""

import logging
import os
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

from stages.runtime.errors import UserError, disk_error
from stages.runtime.metering import on_the_meter
from stages.runtime.turns import take_turn

# A model hub that nobody can reach must not be asked; telemetry never.
QUIET = {
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "TRANSFORMERS_VERBOSITY": "error",
    "NO_ALBUMENTATIONS_UPDATE": "1",
    "TOKENIZERS_PARALLELISM": "false",
}


def quieten() -> None:
    """Keep libraries from asking a network and from talking."""
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    warnings.filterwarnings("ignore", category=FutureWarning)
    warnings.filterwarnings("ignore", module="PIL")  # what a picture's reader has to say is said once, by UserError


@contextmanager
def program() -> Iterator[None]:
    """Around everything that a program does: quiet libraries; bad input or a full disk is one line, exit code 2."""
    quieten()
    try:
        yield
    except UserError as error:
        _refuse(error)
    except OSError as error:
        mendable = disk_error(error)
        if mendable is None:
            raise
        _refuse(mendable)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)


def _refuse(error: UserError) -> NoReturn:
    print(f"error: {error.line}", file=sys.stderr)
    sys.exit(2)


def run_stage(main: Callable[[], None]) -> None:
    """Run a stage's ``main`` as a program and exit: 0 done, 2 bad input (one line), else the bug's traceback."""
    with program(), take_turn(), on_the_meter(Path(sys.argv[0]).stem):
        main()
