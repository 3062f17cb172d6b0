"""The ComfyUI double with a fate per life: ``frail_server.py PORT FOLDER FATES``.  FATES: crash, hang, leak, live.

The number of lives so far is kept in FOLDER/lives; after the last fate every life is the last one again.
"""

import math
import os
import sys
import threading
import time
from pathlib import Path

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).parents[1])  # comfyui is the package

from comfyui.server import open_double

AFTER = 0.6  # seconds of good health


def main() -> None:
    """Live as it is written."""
    port, folder, fates = int(sys.argv[1]), Path(sys.argv[2]), sys.argv[3].split(",")
    lives = folder / "lives"
    number = int(lives.read_text()) if lives.exists() else 0
    folder.mkdir(parents=True, exist_ok=True)
    lives.write_text(str(number + 1))
    fate = fates[min(number, len(fates) - 1)]
    print(f"life {number + 1}: {fate}", flush=True)
    with open_double(folder, port=port) as double:
        time.sleep(AFTER)
        match fate:
            case "crash":
                print("out of memory, says the frail server", flush=True)
                os._exit(3)
            case "hang":
                double.faults.hang("*", times=math.inf)
            case "leak":
                leaked = b"x" * 400_000_000
                print(f"leaked {len(leaked)}", flush=True)
            case _:
                pass
        threading.Event().wait()


if __name__ == "__main__":
    main()
