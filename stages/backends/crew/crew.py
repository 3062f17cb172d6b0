"""The workers: as many processes as the cluster has room for, and the dispatching of items among them."""

import atexit
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import RayError, RayTaskError

from stages.backends.crew.cluster import KEY, Cluster
from stages.backends.crew.hand import Hand
from stages.backends.crew.line import Line
from stages.backends.crew.task import Item, Task
from stages.contracts.settings import Machine
from stages.runtime.errors import UserError, one_line
from stages.runtime.provenance import describe_code

DEEP = 2  # items of one task at a worker: one at work, one that waits for it
AHEAD = 3  # items per worker in flight: at work, waiting, done
PATIENCE_S = 180.0  # for the first worker; without any
POLL_S = 1.0


@dataclass(eq=False)
class Worker:
    """One of them, as it is seen from here."""

    actor: Any
    prepared: Any  # the reference of its first answer; None: it is ready
    asked: int = 0  # items of all tasks


@dataclass(eq=False)
class Out:
    """What one call of ``Crew.do`` has given to workers, in the order in which it was given."""

    refs: dict[Any, tuple[Worker, int]] = field(default_factory=dict)

    def of(self, worker: Worker) -> list[Any]:
        """The references that a worker holds, the one at work first."""
        return [ref for ref, (other, _) in self.refs.items() if other is worker]


class Crew:
    """Does items on many processes at once; several tasks may be under way, taken from in turn by one thread."""

    def __init__(self, machine: Machine) -> None:
        """Connect to the cluster and ask for workers; they start beside whatever follows.

        Raises:
            UserError: when there is no cluster, or no room in it for one worker.
        """
        self.cluster = Cluster(machine)
        self.machine, self.code = machine, describe_code()
        self.silent_since = time.monotonic()
        self.refused = 0
        self.workers = [self._hire() for _ in range(self._room())]
        atexit.register(self.close)

    def _room(self) -> int:
        """How many workers."""
        machine = self.machine
        if machine.ray_workers is not None:
            return machine.ray_workers
        has = ray.cluster_resources()
        on_gpu = machine.device.startswith("cuda")
        room = int(has.get("GPU", 0)) if on_gpu else max(1, int(has.get("CPU", 0))) // machine.threads
        if room < 1:
            kind = (
                "no GPU" if on_gpu else f"{has.get('CPU', 0):g} CPUs, a worker takes machine.threads={machine.threads}"
            )
            self.cluster.close()
            raise UserError(KEY, f"the cluster has {kind}", "add a node, or change machine.device or machine.threads")
        return room

    def _hire(self) -> Worker:
        on_gpu = self.machine.device.startswith("cuda")
        asks = {"num_gpus": 1, "num_cpus": 1} if on_gpu else {"num_cpus": self.machine.threads}
        actor: Any = ray.remote(Hand).options(max_restarts=0, max_task_retries=0, **asks).remote(Path.cwd(), self.code)
        return Worker(actor, actor.prepare.remote())

    def close(self) -> None:
        """Let the workers and the cluster go."""
        atexit.unregister(self.close)
        for worker in self.workers:
            ray.kill(worker.actor)
        self.workers = []
        self.cluster.close()

    def do(self, task: Task, items: Iterable[Item]) -> Iterator[Any]:
        """Yield what ``task`` makes of every item, in order.

        ``items`` is read a few items ahead of what has been yielded.  What a worker was doing when it died is done
        again by another one.

        Raises:
            UserError: what a worker says of its input; or when no worker answers, or one item ends several of them.
        """
        line, out = Line(task.what, items), Out()
        self.silent_since = time.monotonic()
        try:
            while not line.finished:
                self._hand_out(task, line, out)
                while line.has_due():
                    yield line.give()
                    self._collect(line, out, 0.0)
                    self._hand_out(task, line, out)
                if not line.finished:
                    self._collect(line, out, POLL_S)
        finally:
            for worker, _ in out.refs.values():
                worker.asked -= 1

    def _hand_out(self, task: Task, line: Line, out: Out) -> None:
        """Give items to whoever has least to do."""
        while True:
            free = [w for w in self.workers if w.prepared is None and len(out.of(w)) < DEEP]
            taken = line.take(AHEAD * len(self.workers)) if free else None
            if taken is None:
                return
            number, item = taken
            worker = min(free, key=lambda w: w.asked)
            out.refs[worker.actor.work.remote(task, item)] = (worker, number)
            worker.asked += 1

    def _collect(self, line: Line, out: Out, seconds: float) -> None:
        """Take in what is done, waiting for at least one answer up to ``seconds``."""
        starting = {worker.prepared: worker for worker in self.workers if worker.prepared is not None}
        asked = [*out.refs, *starting]
        if not asked:
            return
        some = len(asked) if not seconds else 1
        answered, _ = ray.wait(asked, num_returns=some, timeout=seconds)
        for ref in answered:
            if ref in starting:
                self._welcome(starting[ref])
            elif ref in out.refs:  # not if its worker's end was seen a moment ago
                self._take_in(ref, line, out)
        self._lose_patience(bool(answered))

    def _lose_patience(self, answered: bool) -> None:
        now = time.monotonic()
        if answered or any(worker.prepared is None for worker in self.workers):
            self.silent_since = now
        elif now - self.silent_since > PATIENCE_S:
            raise UserError(KEY, f"no worker has started for {PATIENCE_S:.0f} s", "look at `ray status`")

    def _welcome(self, worker: Worker) -> None:
        """A worker is ready, or could not start."""
        try:
            said = ray.get(worker.prepared)
        except RayTaskError:
            raise
        except RayError as error:  # its node is gone, or cannot import this code
            self.refused += 1
            if self.refused > AHEAD * len(self.workers):
                why = one_line(str(error))[-300:]
                raise UserError(KEY, f"workers cannot start: {why}", "is pistachio installed on every node?") from None
            self._replace(worker)
            return
        if said is not None:
            raise said
        worker.prepared = None

    def _take_in(self, ref: Any, line: Line, out: Out) -> None:
        try:
            result = ray.get(ref)
        except RayTaskError:
            raise  # a bug, with the traceback of where it happened
        except RayError as error:
            said = f"ray: a worker is gone ({type(error).__name__}) while {line.what}; what it was at is done again"
            print(said, file=sys.stderr, flush=True)
            self._bury(out.refs[ref][0], line, out)
            return
        worker, number = out.refs.pop(ref)
        worker.asked -= 1
        self._accept(line, number, result)

    def _accept(self, line: Line, number: int, result: Any) -> None:
        if isinstance(result, UserError):
            raise result
        line.finish(number, result)

    def _bury(self, worker: Worker, line: Line, out: Out) -> None:
        """A worker is gone; the first thing that it had not finished is what it was at."""
        self._replace(worker)
        blamed = True
        for ref in out.of(worker):
            _, number = out.refs.pop(ref)
            try:
                result = ray.get(ref, timeout=POLL_S)
            except RayTaskError:
                raise
            except RayError:
                line.lose(number, blamed)
                blamed = False
            else:
                self._accept(line, number, result)

    def _replace(self, worker: Worker) -> None:
        if worker in self.workers:  # another task has not seen it before
            ray.kill(worker.actor)  # it may be alive behind a network that is not: its GPU is wanted
            self.workers[self.workers.index(worker)] = self._hire()
