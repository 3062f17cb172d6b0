"""The steps of a cycle: what each runs and reads, and what is remembered of one that was done."""

import hashlib
import json
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from pod.errors import PodError
from pod.files import read_json, write_json
from pod.settings import Places

SETTINGS = ("params.yaml", "dvc.yaml", "code.lock", "requirements.txt", "conf/**/*")
DATA = ("data/photos/**/*", "data/*.dvc", "models/*.dvc")
RESULTS = ("dvc.lock", "metrics/*")
BIG = 1 << 20  # bytes from which on a file is known by size and time: photos are not read again at every step


@dataclass(frozen=True)
class CycleSettings:
    """Table [cycle]."""

    commands: dict[str, tuple[str, ...]] = field(default_factory=dict)  # step -> command; empty: the step is left out
    commit: tuple[str, ...] = ()  # what the local commit takes, if it is there
    stop_on_regression: bool = True
    max_hours: float = 12.0
    max_usd: float = 0.0  # 0: no limit
    max_failures: int = 3


@dataclass(frozen=True)
class Step:
    """One step; without a command it is one of the cycle's own."""

    name: str
    reads: tuple[str, ...] = ()
    makes: tuple[str, ...] = ()
    always: bool = False  # it looks at what no file shows, or costs nothing
    own: bool = False


STEPS = (
    Step("guardrails", (*SETTINGS, *DATA)),
    Step("doctor", ("requirements.txt", "constraints.txt", "pod.toml")),
    Step("health", always=True),
    Step("repro", (*SETTINGS, *DATA), RESULTS),
    Step("compare", always=True, own=True),
    Step("batch", (*SETTINGS, "metrics/sweep_choice.json", "dvc.lock")),
    Step("backup", (*SETTINGS, *RESULTS, "data/captions/*", "docs/findings.md", "docs/tasks.md")),
    Step("commit", always=True, own=True),
)


def command_of(step: Step, settings: CycleSettings, places: Places) -> tuple[str, ...]:
    """The step's command; ``{python}`` is the workspace's Python, or this one where it has none."""
    return tuple(places.interpreter if word == "{python}" else word for word in settings.commands.get(step.name, ()))


def check_commands(settings: CycleSettings) -> None:
    """Refuse commands of steps that there are not.

    Raises:
        PodError: for the first of them.
    """
    known = [step.name for step in STEPS if not step.own]
    if unknown := sorted(set(settings.commands) - set(known)):
        raise PodError(f"cycle.commands.{unknown[0]}", "no such step", f"known: {', '.join(known)}")


def fingerprint(workspace: Path, patterns: tuple[str, ...], command: tuple[str, ...] = ()) -> str:
    """The sha256 of the files that ``patterns`` name and of the command."""
    found: list[Any] = [command]
    for pattern in patterns:
        for path in sorted(workspace.glob(pattern)):
            if path.is_file():
                found.append([path.relative_to(workspace).as_posix(), _content(path)])
    return hashlib.sha256(json.dumps(found).encode()).hexdigest()


def _content(path: Path) -> list[Any]:
    facts = path.stat()
    if facts.st_size >= BIG:
        return [facts.st_size, facts.st_mtime_ns]
    return [hashlib.sha256(path.read_bytes()).hexdigest()]


@dataclass
class Run:
    """What is remembered of a cycle until it ends well: when it began, how often it failed, and what is at work."""

    started: float
    failures: int = 0
    last_failure: str = ""
    running: str = ""
    child: int | None = None


class Memory:
    """The folder of a cycle: run.json, and a file and a log per step."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        told = read_json(folder / "run.json")
        known = isinstance(told, dict) and set(told) == set(asdict(Run(0)))
        self.run = Run(**told) if known else Run(time.time())
        self.resumed = known

    def save(self) -> None:
        """Write run.json."""
        write_json(self.folder / "run.json", asdict(self.run))

    def log(self, step: str) -> Path:
        """Where a step's output goes."""
        return self.folder / f"{step}.log"

    def is_done(self, step: Step, workspace: Path, command: tuple[str, ...]) -> bool:
        """Whether the step was done with these inputs, and what it made is as it left it."""
        told = read_json(self.folder / f"{step.name}.json")
        if step.always or not isinstance(told, dict):
            return False
        return told.get("reads") == fingerprint(workspace, step.reads, command) and told.get("made") == fingerprint(
            workspace, step.makes
        )

    def note_done(self, step: Step, workspace: Path, reads: str, seconds: float) -> None:
        """Remember that a step was done, with ``reads``: the fingerprint of what it read, taken before."""
        made = fingerprint(workspace, step.makes)
        write_json(self.folder / f"{step.name}.json", {"reads": reads, "made": made, "seconds": round(seconds, 1)})

    def forget(self) -> None:
        """Begin anew; logs stay."""
        for path in self.folder.glob("*.json"):
            path.unlink()
        self.run, self.resumed = Run(time.time()), False
