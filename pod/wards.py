"""A program under supervision: started, judged, ended when it hangs, brought back ever later, given up at last."""

import subprocess
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pod import keeper
from pod.events import Events
from pod.files import write_atomic
from pod.processes import start_service, stop_service, tail

CRASH_LINES = 300
KEPT = 50  # crash logs


@dataclass(frozen=True)
class Program:
    """What is run, and where it leaves its traces."""

    name: str
    command: Sequence[str]
    folder: Path
    lock: Path
    log: Path
    may_end: bool = False  # it ends by itself, with code 0
    variables: Mapping[str, str] = field(default_factory=dict)  # over the environment


@dataclass(frozen=True)
class Limits:
    """When to wait and when to stop."""

    start_s: float
    backoff_s: float
    backoff_most_s: float
    crashes: int  # so many within ...
    window_s: float  # ... so many seconds, and it is given up


class Ward:
    """One program.  ``tick`` looks after it once; ``state`` is waiting, starting, up, done or given up."""

    def __init__(
        self, program: Program, limits: Limits, judge: Callable[["Ward"], str], events: Events, crashes: Path
    ) -> None:
        self.program, self.limits, self.judge, self.events, self.folder = program, limits, judge, events, crashes
        self.state, self.due, self.since = "waiting", 0.0, 0.0
        self.started = time.time()
        self.crashed: deque[float] = deque()
        self.child: subprocess.Popen[bytes] | None = None
        self.answered = False  # its judge has seen it work in this life

    @property
    def pid(self) -> int:
        """Of the program; 0 when it does not run."""
        return int((keeper.running(self.program.lock) or {"pid": 0})["pid"])

    def tick(self) -> None:
        """Start it, judge it, or notice that it has ended."""
        if self.state in ("done", "given up"):
            return
        if self.child is not None:
            self.child.poll()
        runs, now = keeper.running(self.program.lock) is not None, time.monotonic()
        if self.state == "waiting":
            if runs:
                self._begin("adopted", "it runs already")
            elif now >= self.due:
                self._start()
        elif not runs and not self._is_becoming(now):
            self._ended()
        elif fault := self.judge(self):
            self._end(fault)
        elif self.state == "starting" and self.answered:
            self.state = "up"
            self.events.tell("up", self.program.name, f"pid {self.pid}, after {now - self.since:.0f} s")
        elif self.state == "starting" and now - self.since > self.limits.start_s:
            self._end(f"did not come up within {self.limits.start_s:.0f} s")

    def _is_becoming(self, now: float) -> bool:
        """The keeper has not taken its lock yet."""
        return self.child is not None and self.child.poll() is None and now - self.since < self.limits.start_s

    def _start(self) -> None:
        program = self.program
        self.child = start_service(program.lock, program.command, program.log, program.folder, program.variables)
        self._begin("started", f"pid {self.child.pid}")

    def _begin(self, what: str, why: str) -> None:
        self.state, self.since, self.started, self.answered = "starting", time.monotonic(), time.time(), False
        self.events.tell(what, self.program.name, why)

    def _ended(self) -> None:
        code = self.child.poll() if self.child else None
        if self.program.may_end and code == 0:
            self.state = "done"
            self.events.tell("done", self.program.name, f"after {time.monotonic() - self.since:.0f} s")
            return
        self._crash("ended" if code is None else f"ended with code {code}")

    def _end(self, fault: str) -> None:
        stop_service(self.program.lock)
        self._crash(fault)

    def restart(self, why: str) -> None:
        """End and start it on purpose: no crash."""
        self.events.tell("restart", self.program.name, why)
        stop_service(self.program.lock)
        self.state, self.due = "waiting", 0.0

    def _crash(self, why: str) -> None:
        now = time.monotonic()
        self.crashed.append(now)
        while self.crashed and now - self.crashed[0] > self.limits.window_s:
            self.crashed.popleft()
        path = self._keep_log(why)
        count = len(self.crashed)
        if count >= self.limits.crashes:
            self.state = "given up"
            what = f"{why}; {count} crashes within {self.limits.window_s:.0f} s; see {path}"
            self.events.tell("given up", self.program.name, what)
            return
        pause = min(self.limits.backoff_most_s, self.limits.backoff_s * 2 ** (count - 1))
        self.state, self.due = "waiting", now + pause
        self.events.tell("crashed", self.program.name, f"{why}; again in {pause:.1f} s; see {path}", crashes=count)

    def _keep_log(self, why: str) -> Path:
        """Keep the end of its log; the oldest of too many go."""
        stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S%fZ")
        path = self.folder / f"{stamp}-{self.program.name}.log"
        write_atomic(path, "\n".join([f"{self.program.name}: {why}", *tail(self.program.log, CRASH_LINES)]) + "\n")
        for old in sorted(self.folder.glob("*.log"))[:-KEPT]:
            old.unlink(missing_ok=True)
        return path

    def end(self) -> None:
        """End it for good."""
        if stop_service(self.program.lock):
            self.events.tell("stopped", self.program.name, "the watch ends")

    def facts(self) -> dict[str, Any]:
        """For the table."""
        return {"state": self.state, "pid": self.pid, "crashes": len(self.crashed)}
