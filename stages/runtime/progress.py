"""Progress of long work: a bar on a terminal, a plain line now and then in a log, and a heartbeat file."""

import json
import os
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from stages.runtime.files import write_text

T = TypeVar("T")

HEARTBEAT = Path("logs/heartbeat.json")
LOG_SECONDS = 15.0
BAR_SECONDS = 0.1


class Progress:
    """Counts steps of one stage; ``numbers`` are the last measured values, shown and written to the heartbeat."""

    def __init__(self, stage: str, total: int, *, done: int = 0, unit: str = "step") -> None:
        self.stage, self.total, self.done, self.unit = stage, total, done, unit
        self.first, self.started, self.said = done, time.monotonic(), 0.0
        self.bar = sys.stderr.isatty() and os.environ.get("TERM") != "dumb"

    def advance(self, count: int = 1, **numbers: float) -> None:
        """Count ``count`` more steps and, now and then, say so."""
        self.done += count
        now = time.monotonic()
        finished = self.done >= self.total
        if finished or now - self.said >= (BAR_SECONDS if self.bar else LOG_SECONDS):
            self.said = now
            self._say(now - self.started, finished, numbers)

    def _say(self, elapsed: float, finished: bool, numbers: dict[str, float]) -> None:
        rate = (self.done - self.first) / max(elapsed, 1e-9)
        left = (self.total - self.done) / rate if rate else 0.0
        shown = "".join(f"  {name} {value:.4g}" for name, value in numbers.items())
        line = f"{self.stage}: {self.done}/{self.total} {self.unit}s  {rate:.2f}/s  {left:.0f} s left{shown}"
        sys.stderr.write(f"\r\x1b[K{line}" + ("\n" if finished else "") if self.bar else line + "\n")
        sys.stderr.flush()
        beat = {"stage": self.stage, "step": self.done, "total": self.total, "rate": rate, "eta_s": left,
                "time": time.time(), "pid": os.getpid(), "numbers": numbers}  # fmt: skip
        with suppress(OSError):  # a heartbeat must never stop the work that it reports
            write_text(HEARTBEAT, json.dumps(beat) + "\n")


def tell_resumed(stage: str, done: int, total: int, unit: str = "picture") -> None:
    """Say how much of ``total`` an interrupted run had done, if any."""
    if done:
        print(f"{stage}: resumed, {done} of {total} {unit}s were done", file=sys.stderr, flush=True)


def track(items: Iterable[T], stage: str, total: int, unit: str = "image") -> Iterator[T]:
    """Pass ``items`` through, reporting progress."""
    progress = Progress(stage, total, unit=unit)
    for item in items:
        yield item
        progress.advance()
