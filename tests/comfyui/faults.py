"""What goes wrong, where, when and how often: the schedule that a test fills before it talks to the double.

A fault counts every event that it could strike since it was planned: it lets ``after`` of them pass and strikes the
next ``times`` (``math.inf``: from then on, always).  Nothing is random, so a test that fails once fails always.

``where`` of a request is ``"POST /prompt"`` (without /api and query; ``*`` matches anything, as in a shell), ``where``
of a run is the class of the node that is about to run.
"""

import threading
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any


@dataclass
class Fault:
    """One planned fault."""

    what: str
    where: str
    after: int
    times: float
    detail: dict[str, Any] = field(default_factory=dict)
    seen: int = 0  # events that it could have struck
    struck: int = 0  # events that it did strike

    def meet(self) -> bool:
        """Count one event; True: this one is struck."""
        self.seen += 1
        hit = self.after < self.seen <= self.after + self.times
        self.struck += hit
        return hit


class Faults:
    """The schedule.  Every method plans one fault and returns it, so that a test can ask whether it struck."""

    def __init__(self) -> None:
        self._planned: list[Fault] = []
        self._lock = threading.Lock()

    def clear(self) -> None:
        """Nothing goes wrong any more."""
        with self._lock:
            self._planned.clear()

    def strike(self, what: str, where: str = "") -> Fault | None:
        """The fault of this kind that strikes this event, if any; every fault that could have struck counts it."""
        with self._lock:
            fits = [fault for fault in self._planned if fault.what == what and fnmatchcase(where, fault.where)]
            hits = [fault for fault in fits if fault.meet()]
        return hits[0] if hits else None

    def _plan(self, what: str, where: str, after: int, times: float, **detail: Any) -> Fault:
        fault = Fault(what, where, after, times, detail)
        with self._lock:
            self._planned.append(fault)
        return fault

    # Requests

    def answer(self, where: str, status: int, text: str = "", *, after: int = 0, times: float = 1) -> Fault:
        """Answer with ``status`` and do nothing."""
        return self._plan("answer", where, after, times, status=status, text=text)

    def refuse(self, where: str, *, after: int = 0, times: float = 1) -> Fault:
        """Close the connection before the request is read: nothing was done."""
        return self._plan("refuse", where, after, times)

    def swallow(self, where: str, *, after: int = 0, times: float = 1) -> Fault:
        """Do what was asked, then close the connection: the client never hears of it."""
        return self._plan("swallow", where, after, times)

    def delay(self, where: str, seconds: float, *, after: int = 0, times: float = 1) -> Fault:
        """Do what was asked at once and answer ``seconds`` later."""
        return self._plan("delay", where, after, times, seconds=seconds)

    def hang(self, where: str, *, after: int = 0, times: float = 1, seconds: float = 60.0) -> Fault:
        """Do nothing and do not answer; close after ``seconds`` or when the double stops."""
        return self._plan("hang", where, after, times, seconds=seconds)

    # The server

    def die(self, where: str, *, back_after: float | None = None, after: int = 0, times: float = 1) -> Fault:
        """Die: queue and history are lost, every connection breaks, nobody listens.

        ``where`` is a request (it is carried out, its answer is never sent) or a node's class (before it runs).  The
        server comes back on its port after ``back_after`` seconds; None: never, until the test calls ``revive``.
        """
        return self._plan("die", where, after, times, back_after=back_after)

    # Runs

    def error(
        self, node: str, message: str = "planned error", kind: str = "RuntimeError", *, after: int = 0, times: float = 1
    ) -> Fault:
        """execution_error when a node of this class is about to run."""
        return self._plan("error", node, after, times, message=message, kind=kind)

    def out_of_memory(self, node: str = "KSampler", *, after: int = 0, times: float = 1) -> Fault:
        """What a full graphics card answers."""
        message = "CUDA out of memory. Tried to allocate 2.00 GiB."
        return self.error(node, message, "torch.OutOfMemoryError", after=after, times=times)

    def disk_full(self, *, after: int = 0, times: float = 1) -> Fault:
        """SaveImage cannot write."""
        return self.error("SaveImage", "[Errno 28] No space left on device", "OSError", after=after, times=times)

    def no_face(self, node: str = "ApplyInstantID", *, after: int = 0, times: float = 1) -> Fault:
        """The photo that conditions shows no face: what InstantID says, and what IPAdapter says."""
        who = "InsightFace" if node.startswith("IPAdapter") else "Reference Image"
        return self.error(node, f"{who}: No face detected.", "Exception", after=after, times=times)

    def interrupt(self, node: str = "KSampler", *, after: int = 0, times: float = 1) -> Fault:
        """Somebody else presses stop when a node of this class runs."""
        return self._plan("interrupt", node, after, times)

    def slow(self, seconds: float, node: str = "KSampler", *, after: int = 0, times: float = 1) -> Fault:
        """A node of this class takes ``seconds`` longer, spread over its steps."""
        return self._plan("slow", node, after, times, seconds=seconds)

    def hold(self, node: str = "KSampler", *, step: int = 0, after: int = 0, times: float = 1) -> Fault:
        """A node of this class waits until the test calls ``release`` (or the run is interrupted).

        step: of a sampler, after which it waits; 0: before it begins.
        """
        return self._plan("hold", f"{node} {step}", after, times)

    def late_history(self, seconds: float, *, after: int = 0, times: float = 1) -> Fault:
        """The run succeeds, says so, and is in the history only ``seconds`` later."""
        return self._plan("late_history", "*", after, times, seconds=seconds)

    def grumble(self, text: str, node: str = "LoraLoader", *, after: int = 0, times: float = 1) -> Fault:
        """A line in the log when a node of this class runs, such as "ERROR lora ..." or "NOT LOADED ..."."""
        return self._plan("grumble", node, after, times, text=text)

    def wrong_prompt(self, *, after: int = 0, times: float = 1) -> Fault:
        """SaveImage embeds another graph than the one that it ran."""
        return self._plan("wrong_prompt", "*", after, times)

    # Pictures on their way out

    def spoil(self, how: str, *, after: int = 0, times: float = 1) -> Fault:
        """What /view sends: ``truncated`` (half the bytes), ``empty``, ``foreign`` (another picture), ``text``."""
        if how not in ("truncated", "empty", "foreign", "text"):
            raise ValueError(how)
        return self._plan("spoil", "*", after, times, how=how)

    # The websocket

    def refuse_websocket(self, *, after: int = 0, times: float = 1) -> Fault:
        """The websocket never opens (503)."""
        return self.answer("GET /ws", 503, after=after, times=times)

    def drop_websocket(self, messages: int, *, after: int = 0, times: float = 1) -> Fault:
        """A websocket breaks when it was sent so many messages."""
        return self._plan("drop", "*", after, times, messages=messages)
