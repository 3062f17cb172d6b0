"""The one table of every pod command: a status, what was looked at, and what was found."""

import json
import shutil
import sys
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any

PASS, FAIL, WARN, RAN, SKIPPED = "PASS", "FAIL", "WARN", "RAN", "SKIPPED"
COLOURS = {PASS: "32", RAN: "32", FAIL: "31", WARN: "33", SKIPPED: "2"}


@dataclass(frozen=True)
class Row:
    """One line of the table; ``todo`` is the line that mends it."""

    status: str
    what: str
    detail: str = ""
    todo: str = ""
    numbers: dict[str, Any] = field(default_factory=dict)  # for --json alone


def exit_code(rows: Iterable[Row]) -> int:
    """1 when something fails, else 0."""
    return int(any(row.status == FAIL for row in rows))


def print_row(row: Row) -> None:
    """Print one row at once, for commands whose rows take their time."""
    status = f"{row.status:<8}"
    if sys.stdout.isatty():
        status = f"\x1b[{COLOURS.get(row.status, '0')}m{status}\x1b[0m"
    print(f"{status}{row.what}: {row.detail}" if row.detail else f"{status}{row.what}", flush=True)
    if row.todo:
        print(f"{'':8}-> {row.todo}", flush=True)


def print_table(rows: Iterable[Row], as_json: bool = False) -> int:
    """Print all rows, as JSON or one under the other with a line that counts them; the exit code."""
    found = list(rows)
    if as_json:
        print(json.dumps({"ok": exit_code(found) == 0, "rows": [asdict(row) for row in found]}, indent=2))
        return exit_code(found)
    for row in found:
        print_row(row)
    print(summary(found))
    return exit_code(found)


def summary(rows: Iterable[Row]) -> str:
    """One line: how many of each status."""
    statuses = [row.status for row in rows]
    counts = [f"{statuses.count(status)} {status.lower()}" for status in COLOURS if status in statuses]
    return "-" * min(40, shutil.get_terminal_size().columns) + "\n" + (", ".join(counts) or "nothing was looked at")
