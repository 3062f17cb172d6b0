"""Run a command with its output in a log, for so many seconds at most; nothing of it outlives that."""

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from pod.ledger import lives

GRACE_S = 20.0


class OutOfTime(Exception):
    """The command was ended because its seconds were over."""


class Running:
    """A command with everything that it starts, in a process group of its own."""

    def __init__(self, command: Sequence[str], folder: Path, log: Path, env: Mapping[str, str]) -> None:
        """Start it.

        Raises:
            OSError: when the program cannot be started.
        """
        log.parent.mkdir(parents=True, exist_ok=True)
        new_group = getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0)
        with log.open("wb") as out:
            self.process = subprocess.Popen(
                list(command), cwd=folder, stdout=out, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
                env=dict(env), start_new_session=os.name != "nt", creationflags=new_group,
            )  # fmt: skip

    def wait(self, seconds: float | None) -> int:
        """Its exit code; None waits for ever.

        Raises:
            OutOfTime: when it takes longer; it is ended then.
        """
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.end()
            raise OutOfTime from None
        except BaseException:
            self.end()
            raise

    def end(self) -> None:
        """End the whole group: asked first, then killed."""
        for ask in (True, False):
            self._signal(ask)
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(GRACE_S)
                break
        self._signal(False)  # whoever of the group ignored being asked

    def _signal(self, ask: bool) -> None:
        if os.name == "nt":
            force = [] if ask else ["/F"]
            subprocess.run(["taskkill", "/T", *force, "/PID", str(self.process.pid)], capture_output=True, check=False)
            return
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGTERM if ask else signal.SIGKILL)


def group_lives(group: int) -> bool:
    """Whether anything of a process group is still at work; who was killed and not waited for is not."""
    if os.name == "nt":
        return lives(group)
    if not Path("/proc/self/stat").exists():
        with suppress(ProcessLookupError):
            os.killpg(group, 0)
            return True
        return False
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            state, _, its = stat.read_text().rpartition(")")[2].split()[:3]
            if int(its) == group and state != "Z":
                return True
    return False


def last_line(log: Path) -> str:
    """The last line that says something; empty where the log does not."""
    with suppress(OSError):
        lines = [line.strip() for line in log.read_text(encoding="utf-8", errors="replace").splitlines()]
        return next((line[:300] for line in reversed(lines) if line), "")
    return ""
