"""Keeps one worker at work: starts it, starts it again when it dies, ends it when it hangs."""

import asyncio
import logging
import subprocess
import time
from collections.abc import Sequence

from publish.serve.store import Store
from stages.contracts.serve_settings import Serve

LOOK_S = 0.25
LONGEST_PAUSE_S = 60.0
logger = logging.getLogger(__name__)


class Supervisor:
    """One worker process, made by ``command``; used from the event loop's thread, which must be the main one.

    On Linux a worker ends with the thread that started it (stages/runtime/processes.py).
    """

    def __init__(self, command: Sequence[str], store: Store, settings: Serve) -> None:
        self._command, self._store, self._settings = list(command), store, settings
        self._process: subprocess.Popen[bytes] | None = None
        self._started = 0.0
        self._pause = 0.0

    def lives(self) -> bool:
        """Whether the worker's process runs."""
        return self._process is not None and self._process.poll() is None

    async def run(self) -> None:
        """Look after the worker until cancelled."""
        while True:
            if not self.lives():
                await self._start()
            elif self._hangs():
                assert self._process is not None
                logger.error("the worker hangs: it is killed")
                self._process.kill()
                self._process.wait()
            await asyncio.sleep(LOOK_S)

    async def _start(self) -> None:
        if self._process is not None:
            lived = time.time() - self._started
            logger.error("the worker ended with code %s after %.0f s", self._process.returncode, lived)
            # One that dies at once would die again at once: longer and longer pauses.
            self._pause = min(max(1.0, 2 * self._pause), LONGEST_PAUSE_S) if lived < 60 else 0.0
            await asyncio.sleep(self._pause)
        self._started = time.time()
        self._process = subprocess.Popen(self._command, stdin=subprocess.DEVNULL)

    def _hangs(self) -> bool:
        seen = self._store.worker()
        assert self._process is not None
        if seen is None or seen[0] != self._process.pid:  # it has not said anything yet
            return time.time() - self._started > self._settings.start_seconds
        return time.time() - seen[2] > (self._settings.draw_seconds if seen[1] else self._settings.start_seconds)

    async def stop(self) -> None:
        """Ask the worker to finish its picture, then end it."""
        if self._process is None or not self.lives():
            return
        self._process.terminate()
        until = time.monotonic() + self._settings.stop_seconds
        while self.lives() and time.monotonic() < until:
            await asyncio.sleep(0.05)
        if self.lives():
            logger.warning("the worker did not finish its picture in time: it is drawn again next time")
            self._process.kill()
        self._process.wait()
