"""Run a program under a lock that lives exactly as long as it does: its pid file cannot lie.

``python keeper.py LOCK COMMAND...`` writes pid and command into LOCK, then becomes the command (on Windows: waits for
it).  A second keeper of the same LOCK ends at once with exit code 75.  Needs no other file.
"""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

RUNS_ALREADY = 75
PATIENCE_S = 1.0  # somebody may be looking whether the lock is held
FAR = 1 << 30  # on Windows a locked byte cannot be read: lock one beyond the text


def main() -> None:
    """Take the lock, say who holds it, become the command."""
    path, command = Path(sys.argv[1]), sys.argv[2:]
    path.parent.mkdir(parents=True, exist_ok=True)
    number = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    end = time.monotonic() + PATIENCE_S
    while not _take(number):
        if time.monotonic() > end:
            sys.exit(RUNS_ALREADY)
        time.sleep(0.02)
    if os.name != "nt":
        _tell(number, os.getpid(), command)
        os.set_inheritable(number, True)  # the lock stays with the process when it becomes the command
        os.execvp(command[0], command)
    with subprocess.Popen(command) as child:
        _tell(number, child.pid, command)
        sys.exit(child.wait())


def running(path: Path) -> dict[str, Any] | None:
    """Who holds the lock: {"pid", "command", "started"}; None when nobody does."""
    try:
        number = os.open(path, os.O_RDWR)
    except FileNotFoundError:
        return None
    try:
        if _take(number):
            return None
        try:
            return dict(json.loads(path.read_text(encoding="utf-8")))
        except ValueError:
            return {"pid": 0, "command": [], "started": 0.0}  # it has just begun
    finally:
        os.close(number)


def _tell(number: int, pid: int, command: list[str]) -> None:
    os.ftruncate(number, 0)
    os.lseek(number, 0, os.SEEK_SET)
    os.write(number, json.dumps({"pid": pid, "command": command, "started": time.time()}).encode())


def _take(number: int) -> bool:
    try:
        if os.name == "nt":
            import msvcrt

            os.lseek(number, FAR, os.SEEK_SET)
            msvcrt.locking(number, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined,unused-ignore]
        else:
            import fcntl

            fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


if __name__ == "__main__":
    main()
