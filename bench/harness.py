"""Ours against a peer's, A B A B in one run, on the same work with the same result: a ratio, not a time.

A benchmark is a module bench/NAME.py with

    DOES = "one sentence"
    GPU = True                           only where it needs one: `python -m bench all` passes over it
    def prepare(folder: Path) -> Case    or a list of cases; its input goes to ``folder``, nothing there is timed
"""

import gc
import os
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import comb
from pathlib import Path
from typing import Any

from bench.results_file import append_result
from stages.runtime.errors import UserError

RESULTS = Path(__file__).parent / "results"
PAIRS = 5
COVERAGE = 0.9  # least coverage of the interval where there are pairs enough for it


@dataclass(frozen=True)
class Timed:
    """A result whose seconds were taken by whoever made it: a peer's program has a start-up that is not the work."""

    result: Any
    seconds: float


@dataclass(frozen=True)
class Case:
    """One comparison; what ``ours`` and ``peer`` return is the result, or a ``Timed`` one."""

    ours: Callable[[], Any]
    peer: Callable[[], Any]
    same: Callable[[Any, Any], str]  # (ours, the peer's) -> "" or what differs
    tolerance: str  # what ``same`` lets pass, in words
    work: int
    unit: str  # of the work: "photos"
    name: str = ""  # which case of the benchmark, where there are several
    aim: float | None = None  # least ratio
    before: Callable[[], None] = lambda: None  # untimed, before every run of either side
    peers: Mapping[str, Any] = field(default_factory=dict)  # the peer's versions, as append_result takes them
    figures: Callable[[], Mapping[str, Any]] = dict  # more to record: asked for when all pairs are run


@dataclass(frozen=True)
class Outcome:
    """What the pairs of one case say."""

    ratios: list[float]  # the peer's seconds over ours: above 1 ours is the faster
    ours: list[float]
    peer: list[float]

    @property
    def ratio(self) -> float:
        """The median of the pairs' ratios."""
        return statistics.median(self.ratios)

    @property
    def interval(self) -> tuple[float, float, float]:
        """Low and high end of the interval of the median ratio, and its coverage."""
        return median_interval(self.ratios)


def median_interval(values: list[float]) -> tuple[float, float, float]:
    """The narrowest pair of order statistics that holds the median with ``COVERAGE``, else the range.

    No distribution is assumed: the k-th smallest and k-th largest of n hold the median with probability
    1 - 2 P(Binomial(n, 1/2) < k) (David & Nagaraja 2003, Order Statistics, 7.1).

    Args:
        values: n >= 1 numbers.

    Returns:
        (low, high, coverage 0..1).
    """
    ordered, n = sorted(values), len(values)
    coverages = [1 - 2 * sum(comb(n, i) for i in range(k)) / 2**n for k in range(1, n // 2 + 1)]
    enough = [k for k, coverage in enumerate(coverages, start=1) if coverage >= COVERAGE]
    k = enough[-1] if enough else 1
    return ordered[k - 1], ordered[n - k], coverages[k - 1] if coverages else 0.0


def require_peer(variable: str, what: str, todo: str) -> Path:
    """The path that the environment variable names: a peer's folder or program.

    Raises:
        UserError: when it is not set or nothing is there; ``what`` is missing, ``todo`` says how to get it.
    """
    path = Path(os.environ.get(variable) or "/nonexistent").expanduser()
    if not path.exists():
        raise UserError(variable, f"{what} is not there", todo)
    return path


def measure(case: Case, pairs: int = PAIRS) -> Outcome:
    """Run both sides once to warm up, see that they computed the same, then time ``pairs`` pairs in turn.

    Raises:
        UserError: when the results differ: a ratio of different work is none.
    """
    warm = [_timed(case.ours, case.before)[0], _timed(case.peer, case.before)[0]]
    if differs := case.same(*warm):
        raise UserError(case.name or "the results", f"are not the same: {differs}", f"tolerance: {case.tolerance}")
    del warm
    found = Outcome([], [], [])
    for number in range(pairs):
        ours = _timed(case.ours, case.before)[1]
        peer = _timed(case.peer, case.before)[1]
        found.ours.append(ours)
        found.peer.append(peer)
        found.ratios.append(peer / ours)
        print(f"  pair {number + 1}: ours {ours:.3f} s, peer {peer:.3f} s, {peer / ours:.2f}x", file=sys.stderr)
    return found


def _timed(side: Callable[[], Any], before: Callable[[], None]) -> tuple[Any, float]:
    before()
    gc.collect()
    start = time.perf_counter()
    result = side()
    seconds = time.perf_counter() - start
    return (result.result, result.seconds) if isinstance(result, Timed) else (result, seconds)


def describe(case: Case, found: Outcome) -> dict[str, Any]:
    """The row's figures."""
    low, high, coverage = found.interval
    more = dict(case.figures())
    return {
        "case": case.name, "ratio": round(found.ratio, 3), "interval": [round(low, 3), round(high, 3)],
        "coverage": round(coverage, 3), "pairs": len(found.ratios), "aim": case.aim,
        "ours_s": round(statistics.median(found.ours), 4), "peer_s": round(statistics.median(found.peer), 4),
        "work": case.work, "unit": case.unit, "tolerance": case.tolerance,
    } | ({"more": more} if more else {})  # fmt: skip


def word(name: str, figures: Mapping[str, Any]) -> str:
    """One line for the terminal."""
    low, high = figures["interval"]
    of = f"{name}, {figures['case']}" if figures["case"] else name
    aim = figures["aim"]
    met = "" if aim is None else f"; aim {aim}x: {'met' if figures['ratio'] >= aim else 'MISSED'}"
    return (
        f"{of}: {figures['ratio']:.2f}x ({low:.2f} to {high:.2f}, {figures['pairs']} pairs); {figures['work']} "
        f"{figures['unit']}: ours {figures['ours_s']:.2f} s, peer {figures['peer_s']:.2f} s{met}"
    )


def run_benchmark(name: str, cases: Case | list[Case], pairs: int = PAIRS, results: Path | None = RESULTS) -> list[str]:
    """Measure every case, append each to ``results``/NAME.json (None: nowhere); the lines that say what came out."""
    lines = []
    for case in [cases] if isinstance(cases, Case) else cases:
        figures = describe(case, measure(case, pairs))
        if results is not None:
            append_result(results / f"{name}.json", f"python -m bench {name}", case.peers, figures)
        lines.append(word(name, figures))
        print(lines[-1], flush=True)
    return lines
