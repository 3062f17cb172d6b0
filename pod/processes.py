"""Programs that the pod starts: helpers that end with it, and services that outlive it."""

import ctypes
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from pod import keeper
from pod.errors import PodError

PR_SET_PDEATHSIG = 1  # linux/prctl.h
TAIL_LINES = 4
HELPER = "PISTACHIO_POD_HELPER"  # in the environment of helpers and of all that they start: whose they are
KILL = getattr(signal, "SIGKILL", signal.SIGTERM)  # Windows knows only the latter


def run(command: Sequence[str], log: Path, cwd: Path | None = None, timeout: float = 7200.0) -> str:
    """Run a helper to its end, everything that it says going to ``log``; what it said.

    On Linux it is killed with this process; what it started itself is found by ``end_leftovers``.

    Raises:
        PodError: when it is not there, takes too long or ends with another code than 0.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as stream:
        stream.write(f"\n$ {' '.join(command)}\n".encode())
        stream.flush()
        start = stream.tell()
        try:
            code = subprocess.run(
                command, cwd=cwd, stdin=subprocess.DEVNULL, stdout=stream, stderr=subprocess.STDOUT, timeout=timeout,
                preexec_fn=_end_with_parent if sys.platform == "linux" else None, check=False,
                env={**os.environ, HELPER: str(log.absolute())},
            ).returncode  # fmt: skip
        except FileNotFoundError:
            raise PodError(command[0], "is not installed on this machine") from None
        except subprocess.TimeoutExpired:
            raise PodError(" ".join(command), f"did not end within {timeout:.0f} s", f"see {log}") from None
    said = read_from(log, start)
    if code:
        last = " | ".join(line for line in said.splitlines() if line.strip())[-400:]
        raise PodError(" ".join(command[:6]), f"ended with code {code}: {last}", f"see {log}")
    return said


def find_program(word: str, folder: Path, path: str) -> None:
    """See that a program is there before it is started in ``folder``; ``path``: its PATH.

    Raises:
        PodError: when it is not.
    """
    there = (folder / word).is_file() if Path(word).parts[1:] else shutil.which(word, path=path)
    if not there:
        raise PodError(word, "is not there, or no program", "python -m pod startup, or mend the command")


def end_leftovers(log: Path, grace: float = 10.0) -> int:
    """On Linux: end what helpers of ``log`` started and left behind when they were killed; how many there were."""
    mark, found = f"{HELPER}={log.absolute()}".encode(), 0
    for place in Path("/proc").glob("[0-9]*"):
        try:
            if mark not in (place / "environ").read_bytes().split(b"\0") or int(place.name) == os.getpid():
                continue
            os.kill(int(place.name), KILL)
        except OSError:
            continue  # another user's, or gone
        found += 1
        end = time.monotonic() + grace
        while _is_alive(place) and time.monotonic() < end:
            time.sleep(0.01)
    return found


def _is_alive(place: Path) -> bool:
    try:
        return (place / "stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def read_from(path: Path, start: int) -> str:
    """The text of a file from byte ``start``."""
    with path.open("rb") as stream:
        stream.seek(start)
        return stream.read().decode("utf-8", "replace")


def tail(path: Path, lines: int = TAIL_LINES) -> list[str]:
    """The last lines of a file that may be long; empty when it is not there."""
    try:
        start = max(0, path.stat().st_size - 400 * lines)
        return read_from(path, start).splitlines()[-lines:]
    except OSError:
        return []


def start_service(
    lock: Path, command: Sequence[str], log: Path, cwd: Path | None = None, variables: Mapping[str, str] | None = None
) -> subprocess.Popen[bytes]:
    """Start a program that outlives this one, under ``lock``; the log of the life before is kept as NAME.1."""
    log.parent.mkdir(parents=True, exist_ok=True)
    if log.exists():
        os.replace(log, log.with_name(log.name + ".1"))
    line = [sys.executable, str(Path(keeper.__file__).resolve()), str(lock.absolute()), *command]
    apart: dict[str, Any] = {"start_new_session": True}
    if os.name == "nt":
        apart = {"creationflags": 0x00000200 | 0x00000008}  # CREATE_NEW_PROCESS_GROUP, DETACHED_PROCESS
    with log.open("ab") as stream:
        return subprocess.Popen(
            line, cwd=cwd, stdin=subprocess.DEVNULL, stdout=stream, stderr=subprocess.STDOUT,
            env={**os.environ, **(variables or {})}, **apart,
        )  # fmt: skip


def stop_service(lock: Path, grace: float = 15.0) -> bool:
    """End the program that holds ``lock`` and all that it started, by asking first; whether one ran."""
    holder = keeper.running(lock)
    if holder is None:
        return False
    for number in (signal.SIGTERM, KILL):
        holder = keeper.running(lock) or holder
        end_group(int(holder["pid"]), number)
        end = time.monotonic() + grace
        while keeper.running(lock) is not None and time.monotonic() < end:
            time.sleep(0.05)
        if keeper.running(lock) is None:
            end_group(int(holder["pid"]), KILL)  # those of its children that did not listen
            return True
    raise PodError(lock, "its program does not end", "end it by hand")


def end_group(pid: int, number: int) -> None:
    """Send a signal to a service and to those that it started."""
    if pid <= 0:
        return
    with suppress(ProcessLookupError, PermissionError):
        if os.name == "nt":
            os.kill(pid, number)
        else:
            os.killpg(pid, number)  # a service leads a group of its own


def _end_with_parent() -> None:
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
