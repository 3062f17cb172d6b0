"""Is the newest row of a benchmark slower than an earlier one of the same kind of machine?"""

import json
from pathlib import Path
from typing import Any

SLACK = 0.05  # relative: less is no regression, however narrow the intervals

Row = dict[str, Any]


def read_rows(path: Path) -> list[Row]:
    """The rows of one results file that hold a ratio, oldest first; files of other measurements hold none."""
    rows = json.loads(path.read_text(encoding="utf-8"))
    return [row for row in rows if {"ratio", "interval", "work"} <= row["figures"].keys()]


def _kind(row: Row) -> str:
    """Rows of one kind may be compared: the same case, amount of work and kind of machine."""
    figures = row["figures"]
    return json.dumps([row["command"], figures["case"], figures["work"], figures["unit"], row["machine"]])


def find_regressions(rows: list[Row]) -> list[str]:
    """One line for every kind of row whose newest is below its best: intervals apart, by more than ``SLACK``.

    Against the best and not the last one, or a benchmark could lose a little every time.
    """
    kinds: dict[str, list[Row]] = {}
    for row in rows:
        kinds.setdefault(_kind(row), []).append(row)
    return [line for some in kinds.values() if (line := _regression(some))]


def _regression(rows: list[Row]) -> str:
    *earlier, newest = rows
    if not earlier:
        return ""
    best = max(earlier, key=lambda row: row["figures"]["ratio"])
    now, then = newest["figures"], best["figures"]
    if now["interval"][1] >= then["interval"][0] or now["ratio"] >= then["ratio"] * (1 - SLACK):
        return ""
    name = newest["command"].split()[-1] + (f", {now['case']}" if now["case"] else "")
    return (
        f"{name}: {now['ratio']:.2f}x ({_span(now)}) at {_commit(newest)}, was {then['ratio']:.2f}x ({_span(then)}) "
        f"at {_commit(best)}{_versions(best, newest)}"
    )


def _span(figures: dict[str, Any]) -> str:
    return "{:.2f} to {:.2f}".format(*figures["interval"])


def _commit(row: Row) -> str:
    return str(row.get("commit") or "?")[:9] + ("+" if row.get("dirty") else "")


def _versions(before: Row, after: Row) -> str:
    """What else changed: a peer that became faster is no regression of ours."""
    changed = [name for name in ("versions", "peers", "python") if before.get(name) != after.get(name)]
    return f"; also changed: {', '.join(changed)}" if changed else ""
