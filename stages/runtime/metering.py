"""Paid time: a stage begins and ends a session in the pod's ledger, where there is one."""

import json
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
PER_PICTURE = "per accepted image"  # a row of the ledger's report


@contextmanager
def on_the_meter(activity: str) -> Iterator[None]:
    """A session of ``activity`` around work; nothing where no ledger is kept.  It must never stop the work.

    The ledger belongs to pod/, which stages know only as a program: ``python -m pod cost``.
    """
    ledger = _ledger()
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


def ask_cost(report: Path) -> str | None:
    """Dollars per picture that ``report`` says was accepted, by the ledger; None where none is kept or it cannot tell.

    Args:
        report: JSON with the number ``accepted``, and when the work began: ``begun``.
    """
    ledger = _ledger()
    if not ledger:
        return None
    told = json.loads(_run(ledger, "--json", "--batch-report", str(report)) or '{"rows": []}')
    found = [row["numbers"]["usd"] for row in told["rows"] if row["what"] == PER_PICTURE]
    return str(found[0]) if found else None


def _ledger() -> str:
    return os.environ.get(VARIABLE) or (str(LEDGER) if LEDGER.exists() else "")


def _tell(ledger: str, *words: str) -> None:
    _run(ledger, "--pid", str(os.getpid()), *words)


def _run(ledger: str, *words: str) -> str:
    """What the command printed; empty, and a line of why, when it failed."""
    command = [sys.executable, "-m", "pod", "cost", "--ledger", ledger, *words]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=PATIENCE_S)
        said = done.stderr.strip().splitlines()[-1:] if done.returncode else []
    except (OSError, subprocess.TimeoutExpired) as error:
        said = [str(error)]
    if said:
        print(f"cost: this stage is not metered ({said[0]})", file=sys.stderr)
        return ""
    return done.stdout
