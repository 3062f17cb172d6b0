"""Runs beside a program that has a Ray cluster of its own, and clears up when that program has ended, however it did.

Ray's own processes notice a killed program too, but some of them go on for minutes, and its files stay for ever.

    python undertaker.py FOLDER     until standard input ends

Standard library only.  Other processes that have files in FOLDER open are killed (on Linux), then it is removed.
"""

import os
import shutil
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path

ROUNDS, PAUSE_S = 20, 0.1


def find_users(folder: Path) -> list[int]:
    """Processes that have a file in ``folder`` open, as each of Ray's has its log."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has ended, or is somebody else's
            if any(folder in one.readlink().parents for one in (process / "fd").iterdir()):
                found.append(int(process.name))
    return found


def main() -> None:
    folder, program = Path(sys.argv[1]), os.getppid()
    sys.stdin.buffer.read()  # until the program is gone, or lets go
    for _ in range(ROUNDS):
        left = [pid for pid in find_users(folder) if pid != program]
        if not left:
            break
        for pid in left:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(PAUSE_S)
    shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
