"""Keep ComfyUI running, and a pipeline if there is one: restarted when it crashes, hangs, stalls or leaks.

A restart waits longer each time; after too many crashes the watch stops and says so with exit code 1.  What a program
printed last is kept in logs/crashes/.  SIGTERM or Ctrl-C ends the watch and what it started.

  python -m pod watch                               ComfyUI
  python -m pod watch --pipeline                    ComfyUI, and `dvc repro` until it is done
  python -m pod watch --pipeline --no-comfyui       the pipeline alone: ComfyUI is watched since startup
  python -m pod watch --no-comfyui --pipeline -- .venv/bin/dvc repro train

Events go to logs/pod/events.jsonl, to [watch] on_event (a command, JSON on its standard input) and to a webhook.
"""

import argparse
import signal
import threading
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from pod import comfyui
from pod.amounts import amount
from pod.errors import PodError
from pod.events import Events
from pod.files import locked
from pod.heartbeat import Pace, Patience
from pod.machine import resident_gib
from pod.processes import find_program
from pod.settings import Places, read_settings
from pod.startup import comfyui_command
from pod.startup_settings import Startup
from pod.table import FAIL, PASS, Row, print_table
from pod.wards import Limits, Program, Ward

HEARTBEAT = "heartbeat.json"


@dataclass(frozen=True)
class Watch:
    """Table [watch]; all times in seconds."""

    poll_s: float = 5.0
    start_s: float = 300.0  # until ComfyUI answers for the first time
    hang_s: float = 120.0  # ComfyUI does not answer
    stuck_s: float = 900.0  # ComfyUI answers, but the same prompt runs ...
    stuck_factor: float = 10.0  # ... and for so many times the longest that was seen
    memory_gib: float = 0.0  # restarted between prompts when it holds more; 0: no limit
    memory_wait_s: float = 600.0  # so long it may wait for an empty queue, then for the next prompt's end
    backoff_s: float = 2.0
    backoff_most_s: float = 300.0
    crashes: int = 5
    window_s: float = 1800.0
    beat_s: float = 15.0  # how often stages write their heartbeat
    stall_s: float = 300.0
    stall_factor: float = 10.0
    quiet_s: float = 3600.0  # stages without a heartbeat, DVC's own hashing
    pipeline: tuple[str, ...] = ("{python}", "-m", "dvc", "repro")
    on_event: tuple[str, ...] = ()
    webhook: str = ""

    @property
    def patience(self) -> Patience:
        return Patience(self.beat_s, self.stall_s, self.stall_factor, self.quiet_s)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `pod watch`."""
    parser.add_argument("--pipeline", action="store_true", help="run the pipeline too, until it is done")
    parser.add_argument("--no-comfyui", action="store_true", help="leave ComfyUI alone")
    parser.add_argument(
        "--for", dest="seconds", type=amount, default=0.0, metavar="SECONDS", help="then stop; 0: never"
    )
    parser.add_argument(
        "command", nargs="*", metavar="COMMAND", help="after --: the pipeline instead of [watch] pipeline"
    )


def run(arguments: argparse.Namespace) -> int:
    """Watch until there is nothing left to watch, somebody ends it, or a program is given up."""
    places = read_settings("pod", Places, arguments.config)
    settings = read_settings("watch", Watch, arguments.config)
    startup = read_settings("startup", Startup, arguments.config)
    pipeline = tuple(arguments.command) or settings.pipeline
    if arguments.no_comfyui and not (arguments.pipeline or arguments.command):
        raise PodError("--no-comfyui", "leaves nothing to watch", "add --pipeline")
    wards = []
    if not arguments.no_comfyui:
        wards.append(_comfyui_ward(places, settings, startup))
    if arguments.pipeline or arguments.command:
        wards.append(_pipeline_ward(places, settings, pipeline, arguments.config))
    with ExitStack() as locks:
        for name in (ward.program.name for ward in wards):  # what startup began watches ComfyUI alone
            what = f"the watch of {name}" + " (--no-comfyui leaves it to that)" * (name == "comfyui")
            locks.enter_context(locked(places.at(places.state) / f"watch-{name}.lock", what))
        _loop(wards, settings, arguments.seconds)
        rows = [_row(ward) for ward in wards]
    return print_table(rows, arguments.json)


def _row(ward: Ward) -> Row:
    status = FAIL if ward.state == "given up" else PASS
    todo = f"see {ward.folder}" if status == FAIL else ""
    return Row(status, ward.program.name, f"{ward.state}, {len(ward.crashed)} crashes lately", todo, ward.facts())


def _loop(wards: list[Ward], settings: Watch, seconds: float) -> None:
    over = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: over.set())
    end = time.monotonic() + seconds if seconds else float("inf")
    try:
        while not over.is_set() and time.monotonic() < end:
            for ward in wards:
                ward.tick()
            states = {ward.state for ward in wards}
            if "given up" in states or states == {"done"} or _only_services_left(wards):
                break
            over.wait(settings.poll_s)
    finally:
        for ward in wards:
            ward.end()


def _only_services_left(wards: list[Ward]) -> bool:
    """The pipeline is done: ComfyUI was kept for it."""
    return any(ward.state == "done" for ward in wards if ward.program.may_end)


def _ward(places: Places, settings: Watch, program: Program, judge: "ComfyUIJudge | PipelineJudge") -> Ward:
    limits = Limits(settings.start_s, settings.backoff_s, settings.backoff_most_s, settings.crashes, settings.window_s)
    events = Events(places.at(places.state) / "events.jsonl", settings.on_event, settings.webhook)
    return Ward(program, limits, judge, events, places.at(places.logs) / "crashes")


def _comfyui_ward(places: Places, settings: Watch, startup: Startup) -> Ward:
    command = comfyui_command(places, startup)
    lock, log = comfyui.lock_of(places), comfyui.log_of(places)
    program = Program("comfyui", command, places.at(places.comfyui), lock, log)
    return _ward(places, settings, program, ComfyUIJudge(places.comfyui_url, settings))


def _pipeline_ward(places: Places, settings: Watch, words: tuple[str, ...], config: Path | None) -> Ward:
    command, variables = (
        [places.interpreter if word == "{python}" else word for word in words],
        places.activated(config),
    )
    if not command:
        raise PodError("watch.pipeline", "is empty", 'pipeline = ["{python}", "-m", "dvc", "repro"]')
    variables = places.activated(config)
    find_program(command[0], places.workspace, variables["PATH"])
    lock, log = places.at(places.state) / "pipeline.pid", places.at(places.logs) / "pipeline.log"
    program = Program("pipeline", command, places.workspace, lock, log, may_end=True, variables=variables)
    return _ward(places, settings, program, PipelineJudge(places.at(places.logs) / HEARTBEAT, settings.patience))


class ComfyUIJudge:
    """Does it answer, does its queue move, does it leak?"""

    def __init__(self, url: str, settings: Watch) -> None:
        self.url, self.settings = url, settings
        self.life = 0.0
        self.silent_since: float | None = None
        self.prompt, self.prompt_since, self.longest = "", 0.0, 0.0
        self.full_since: float | None = None

    def __call__(self, ward: Ward) -> str:
        """What is wrong; empty when nothing is."""
        now = time.monotonic()
        if ward.started != self.life:
            self.life, self.silent_since, self.prompt, self.full_since = ward.started, None, "", None
        try:
            queue = comfyui.read_queue(self.url, timeout=min(10.0, max(0.2, self.settings.hang_s)))
        except PodError:
            return self._silence(ward, now)
        ward.answered, self.silent_since = True, None
        if fault := self._stuck(queue, now):
            return fault
        if self.settings.memory_gib and (why := self._full(resident_gib(ward.pid), queue, now)):
            ward.restart(why)
        return ""

    def _full(self, held: float, queue: comfyui.Queue, now: float) -> str:
        """Why a restart is due now because of what it holds, in GiB; empty: it is not, or not yet."""
        if held <= self.settings.memory_gib:
            self.full_since = None
            return ""
        self.full_since = self.full_since or now
        what = f"holds {held:.2f} GiB, {self.settings.memory_gib:g} are the limit; "
        if queue.idle:
            return what + "no prompt runs or waits"
        if now - self.full_since > self.settings.memory_wait_s and self.prompt_since == now:
            return what + "a prompt has just ended, and clients send again what is lost"
        return ""

    def _silence(self, ward: Ward, now: float) -> str:
        self.silent_since = self.silent_since or now
        if ward.answered and now - self.silent_since > self.settings.hang_s:
            return f"hangs: has not answered for {now - self.silent_since:.0f} s"
        return ""

    def _stuck(self, queue: comfyui.Queue, now: float) -> str:
        """Whether one prompt takes far longer than any did before."""
        prompt = (*queue.running, *queue.pending, "")[0]
        if prompt != self.prompt:
            if self.prompt:
                self.longest = max(self.longest, now - self.prompt_since)
            self.prompt, self.prompt_since = prompt, now
        limit = max(self.settings.stuck_s, self.settings.stuck_factor * self.longest)
        if prompt and now - self.prompt_since > limit:
            return (
                f"answers, but its queue has not moved for {now - self.prompt_since:.0f} s, {limit:.0f} are the limit"
            )
        return ""


class PipelineJudge:
    """Does its heartbeat move?"""

    def __init__(self, path: Path, patience: Patience) -> None:
        self.path, self.patience = path, patience
        self.pace = Pace(0.0)
        self.said = "moving"

    def __call__(self, ward: Ward) -> str:
        """Why it stalls; empty while it is moving or merely slow."""
        if self.pace.started != ward.started:
            self.pace, self.said = Pace(ward.started), "moving"
        ward.answered = True
        self.pace.hear(self.path)
        verdict, why = self.pace.judge(time.time(), self.patience)
        if verdict != self.said and verdict == "slow":
            ward.events.tell("slow", ward.program.name, why)
        self.said = verdict
        return f"stalled: {why}" if verdict == "stalled" else ""
