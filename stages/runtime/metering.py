"""Paid time: a stage begins and ends a session in the pod's ledger, where there is one."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from stages.runtime.processes import follows

VARIABLE = "PISTACHIO_COST"  # names the ledger
LEDGER = Path("logs/cost.jsonl")  # it is kept once it is there
PATIENCE_S = 30.0


@contextmanager
def on_the_meter(activity: str) -> Iterator[None]:
    """A session of ``activity`` around work; nothing where no ledger is kept.  It must never stop the work.

    The ledger belongs to pod/, which stages know only as a program: ``python -m pod cost``.
    """
    ledger = os.environ.get(VARIABLE) or (str(LEDGER) if LEDGER.exists() else "")
    if not ledger or follows():
        yield
        return
    _tell(ledger, "start", "--activity", activity)
    try:
        yield
    except BaseException as error:
        _tell(ledger, "stop", "--note", f"ended by {type(error).__name__}")
        raise
    _tell(ledger, "stop")


def _tell(ledger: str, *words: str) -> None:
    command = [sys.executable, "-m", "pod", "cost", "--ledger", ledger, "--pid", str(os.getpid()), *words]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=PATIENCE_S)
        said = done.stderr.strip().splitlines()[-1:] if done.returncode else []
    except (OSError, subprocess.TimeoutExpired) as error:
        said = [str(error)]
    if said:
        print(f"cost: this stage is not metered ({said[0]})", file=sys.stderr)
