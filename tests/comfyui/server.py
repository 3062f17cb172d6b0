"""A protocol double of ComfyUI, recorded from 0.3.64: it speaks HTTP and websocket on loopback and draws cartoons.

It answers with the recorded /object_info, error bodies and message sequences, keeps the recorded traps (a LoRA that is
overwritten under the same name keeps its old weights; one whose keys do not match is only named in the log; a repeated
graph answers the earlier file's name; a restart forgets queue and history) and lets a test plan faults.

It cannot prove the effect of a LoRA, the quality of a picture, memory, speed, or that a custom node is installed: no
model runs in it.  What it draws is a function of what decides a picture (pictures.py says how).

Where it differs from the recording on purpose: /system_stats names the double as Python's and torch's version; a log
line is written for what a client can look for (got prompt, invalid prompt, lora key not loaded), not for every step;
errors come in the order of a node's inputs (the real order is that of a set); tracebacks are the double's; there is no
frontend (/extensions, /); previews are not sent.  Dialect ``newer`` is what the source of newer servers says, not a
recording.

    with open_double(tmp_path) as double:
        double.faults.answer("POST /prompt", 503)
        ... requests to double.url ...

As a program: ``python tests/comfyui/server.py --port 8188 --folder DIR [--dialect newer]``.
"""

import argparse
import asyncio
import signal
import sys
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).parents[1])  # not its own folder: comfyui is the package

from comfyui.faults import Faults
from comfyui.folders import Folders
from comfyui.service import HOST, VERSIONS, WHAT, Service
from PIL import Image

PATIENCE = 20.0  # seconds that a call into the double may take
LOOK = 0.005  # seconds between two looks of wait_for


class Double:
    """The handle of a running double.  Its methods may be called from any thread and return when they are done."""

    def __init__(self, folder: Path, port: int, dialect: str, custom: bool) -> None:
        self.faults = Faults()
        self._ready = threading.Event()
        self._error: BaseException | None = None
        self._make = lambda: Service(folder, port, dialect, custom, self.faults)
        self._thread = threading.Thread(target=self._run, name="comfyui-double-loop", daemon=True)
        self._thread.start()
        if not self._ready.wait(PATIENCE) or self._error:
            raise RuntimeError("the double did not start") from self._error

    def _run(self) -> None:
        async def live() -> None:
            try:
                self._loop, self._service = asyncio.get_running_loop(), self._make()
                self._over = asyncio.Event()
                await self._service.start()
            except BaseException as error:
                self._error = error
                raise
            finally:
                self._ready.set()
            await self._over.wait()

        asyncio.run(live())

    def _do(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(PATIENCE)

    @property
    def url(self) -> str:
        """http://127.0.0.1:port, the same in every life."""
        return f"http://{HOST}:{self._service.port}"

    @property
    def folders(self) -> Folders:
        """Where its files lie."""
        return self._service.folders

    @property
    def loras(self) -> Path:
        """Its models/loras."""
        return self.folders.paths("loras")[0]

    @property
    def requests(self) -> list[tuple[str, str]]:
        """(method, path with query) of every request so far, in every life."""
        return list(self._service.requests)

    def count(self, where: str) -> int:
        """How many requests began with ``where``, such as "POST /prompt"."""
        return sum(f"{method} {path}".startswith(where) for method, path in self.requests)

    @property
    def accepted(self) -> list[str]:
        """prompt_ids that it queued, in every life."""
        return [prompt_id for prompt_id, _ in list(self._service.accepted)]

    @property
    def graphs(self) -> dict[str, Any]:
        """The graphs that it queued, by prompt_id."""
        return dict(self._service.accepted)

    @property
    def drawn(self) -> int:
        """Pictures that SaveImage wrote, in every life."""
        return self._service.drawn

    @property
    def lives(self) -> int:
        """How often it started."""
        return self._service.lives

    @property
    def alive(self) -> bool:
        return self._service.alive

    @property
    def log(self) -> str:
        """The server's log of this life."""
        return "".join(line["m"] for line in list(self._service.lines))

    def running(self) -> list[str]:
        """prompt_ids that run now."""
        return [item[1] for item in self._service.worker.queue.current()[0]]

    def pending(self) -> list[str]:
        """prompt_ids that wait."""
        return [item[1] for item in self._service.worker.queue.current()[1]]

    def die(self, back_after: float | None = None) -> None:
        """Die now; see ``Faults.die``."""
        self._do(self._service.die(back_after))

    def revive(self) -> None:
        """Listen again: same port and files, nothing remembered."""
        self._do(self._service.start())

    def restart(self) -> None:
        """Die and come back at once."""
        self.die()
        self.revive()

    def interrupt(self) -> None:
        """Somebody else presses stop."""

        async def press() -> None:
            self._service.worker.interrupt()

        self._do(press())

    def release(self, runs: int = 1) -> None:
        """Let runs go on that a planned ``hold`` stopped, or will stop."""

        async def go_on() -> None:
            self._service.worker.released += runs

        self._do(go_on())

    def occupy(self, prefix: str, files: int = 1) -> None:
        """Put files into the output folder that are named as SaveImage would name them."""
        for number in range(1, files + 1):
            path = self.folders.output / f"{prefix}_{number:05}_.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (64, 64), "grey").save(path)

    def wait_for(self, what: Callable[[], Any], seconds: float = 10.0) -> Any:
        """What ``what`` returns as soon as that is true.

        Raises:
            TimeoutError: it never was.
        """
        end = time.monotonic() + seconds
        while not (found := what()):
            if time.monotonic() > end:
                raise TimeoutError(f"not so after {seconds} s")
            time.sleep(LOOK)
        return found

    def stop(self) -> None:
        """End every life and every thread; a second call does nothing."""
        if not self._thread.is_alive():
            return
        try:
            self._do(self._service.stop())
        finally:
            self._loop.call_soon_threadsafe(self._over.set)
            self._thread.join(PATIENCE)
        if self._service.bugs:
            raise self._service.bugs[0]


@contextmanager
def open_double(folder: Path, *, port: int = 0, dialect: str = "0.3.64", custom_nodes: bool = True) -> Iterator[Double]:
    """A running double whose files lie in ``folder``; ``custom_nodes``: InstantID and IPAdapter are installed."""
    double = Double(folder, port, dialect, custom_nodes)
    try:
        yield double
    finally:
        double.stop()


def main() -> None:
    """Serve until SIGINT or SIGTERM."""
    parser = argparse.ArgumentParser(description=WHAT)
    parser.add_argument("--port", type=int, default=8188)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--dialect", choices=sorted(VERSIONS), default="0.3.64")
    arguments = parser.parse_args()
    with open_double(arguments.folder, port=arguments.port, dialect=arguments.dialect) as double:
        over = threading.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: over.set())
        print(f"{WHAT}: {double.url}", flush=True)
        over.wait()


if __name__ == "__main__":
    main()
