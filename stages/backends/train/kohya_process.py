"""The running sdxl_train_network.py: started, its log and its TensorBoard log read while they grow, ended with us."""

import os
import re
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from stages.contracts.settings import Machine
from stages.runtime.errors import UserError
from stages.runtime.processes import end_with_parent

SCRIPT = "sdxl_train_network.py"
PATIENCE_S = 10.0  # between asking it to end and ending it
BAR = re.compile(r"^steps:.*?(\d+)/(\d+) \[")
CRASHED = re.compile(r"^[\w.]*(Error|Exception|Interrupt|Invalid)\b.*|^.*: error: .*")


def find_scripts(machine: Machine) -> tuple[Path, Path]:
    """The script and the Python that runs it, as ``machine.kohya`` names them.

    Raises:
        UserError: when one of them is not there.
    """
    folder = machine.kohya.folder
    if folder is None:
        raise UserError("machine.kohya.folder", "is not set", "set it to a folder of kohya's sd-scripts")
    folder = folder.expanduser()
    if not (folder / SCRIPT).is_file():
        raise UserError(folder, f"no {SCRIPT} there", "set machine.kohya.folder to a folder of kohya's sd-scripts")
    python = (machine.kohya.python or folder / "venv" / "bin" / "python").expanduser()
    if not python.is_file():
        raise UserError(python, "not found", "set machine.kohya.python to the Python of sd-scripts' environment")
    return (folder / SCRIPT).absolute(), python.absolute()


def environment(machine: Machine, given: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The child's environment variables: its own packages, ``machine.device`` and ``machine.threads``."""
    theirs = {name: value for name, value in given.items() if name not in ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")}
    theirs |= {"PYTHONUNBUFFERED": "1", "OMP_NUM_THREADS": str(machine.threads)}
    if not machine.device.startswith("cuda"):
        return theirs | {"ACCELERATE_USE_CPU": "true"}
    _, _, number = machine.device.partition(":")
    if number:
        seen = given.get("CUDA_VISIBLE_DEVICES", "").split(",")
        theirs["CUDA_VISIBLE_DEVICES"] = seen[int(number)] if int(number) < len(seen) and seen[0] else number
    return theirs


class Child:
    """The process with its output in a log file; leaving the block ends it."""

    def __init__(self, command: Sequence[str], log: Path, machine: Machine) -> None:
        self.command, self.log, self.machine = list(command), log, machine
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("wb") as stream:
            self.process = subprocess.Popen(
                self.command, stdout=stream, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
                cwd=Path(self.command[1]).parent, env=environment(self.machine), preexec_fn=end_with_parent,
            )  # fmt: skip
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self.process is not None
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(PATIENCE_S)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    @property
    def code(self) -> int | None:
        """The exit code; None while it runs."""
        assert self.process is not None
        return self.process.poll()

    def lines(self) -> list[str]:
        """What it said, the bar's redrawn lines one by one."""
        text = self.log.read_text(encoding="utf-8", errors="replace")
        return [line.strip() for line in re.split(r"[\r\n]+", text) if line.strip()]


def last_progress(lines: Sequence[str]) -> tuple[int, int] | None:
    """Step and steps of the last line of the bar; None where none was drawn."""
    found = [match for match in map(BAR.match, lines) if match]
    return (int(found[-1][1]), int(found[-1][2])) if found else None


def last_words(lines: Sequence[str]) -> str:
    """The line that says why it ended: the error at the end of a traceback, else the last line that is no bar."""
    told = [line for line in lines if not BAR.match(line)]
    errors = [line for line in told if CRASHED.match(line)]
    return (errors or told or ["it said nothing"])[-1][:300]


@dataclass
class Scalars:
    """What one pass through the model logged."""

    step: int
    values: dict[str, float] = field(default_factory=dict)


@dataclass
class BoardReader:
    """The TensorBoard log under a folder, read as it grows."""

    folder: Path
    readers: dict[Path, Any] = field(default_factory=dict)
    last: Scalars | None = None  # may have more to come

    def read(self, *, whole: bool = False) -> Iterator[Scalars]:
        """What is new, pass by pass; the last pass waits for its successor, unless the log is ``whole``."""
        from tensorboard.backend.event_processing.event_file_loader import LegacyEventFileLoader

        for path in sorted(self.folder.rglob("events.out.tfevents.*")):
            reader = self.readers.setdefault(path, LegacyEventFileLoader(str(path)))
            for event in reader.Load():
                for value in event.summary.value:
                    if value.tag == "loss/current":
                        if self.last is not None:
                            yield self.last
                        self.last = Scalars(event.step)
                    if self.last is not None:
                        self.last.values[value.tag] = value.simple_value
        if whole and self.last is not None:
            yield self.last
            self.last = None


def wait_a_moment(seconds: float = 0.2) -> None:
    """Between two looks at a growing log."""
    time.sleep(seconds)
