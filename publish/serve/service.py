"""What the endpoints share: settings, keys, limits, gates and the store."""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from publish.serve.drawer import picture_path
from publish.serve.files import read_inside
from publish.serve.gates import Gates
from publish.serve.job import Asked, Job
from publish.serve.keys import KeyRing
from publish.serve.limits import Buckets
from publish.serve.metrics import Metrics
from publish.serve.problems import Problem
from publish.serve.store import KeyReused, QueueFull, Store
from stages.contracts.policy import Refused
from stages.contracts.serve_settings import Serve
from stages.runtime.errors import UserError

T = TypeVar("T")
RETRY_S = 5  # after which a full queue is worth another try


@dataclass
class Service:
    """One server's state.  Reads of the store are short and happen in the event loop; all else in threads."""

    settings: Serve
    output: Path
    keys: KeyRing
    gates: Gates
    worker_lives: Callable[[], bool] = lambda: True
    metrics: Metrics = field(default_factory=Metrics)

    def __post_init__(self) -> None:
        self.requests = Buckets(self.settings.requests_per_minute, self.settings.requests_burst)
        self.pictures = Buckets(self.settings.pictures_per_minute, self.settings.pictures_burst)
        self.reader = Store(self.output)
        self._writer = Store(self.output)
        # One thread each: a write that waits for the worker's, or a slow classifier, holds up no answer.
        self._writing = ThreadPoolExecutor(1, "writer")
        self._gating = ThreadPoolExecutor(1, "gates")

    def close(self) -> None:
        """Let files and threads go."""
        self._writing.shutdown()
        self._gating.shutdown()
        self.reader.close()
        self._writer.close()

    async def _write(self, change: Callable[[Store], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._writing, change, self._writer)

    async def check_subject(self) -> None:
        """Nothing while the subject card allows drawing.

        Raises:
            Problem: subject.
        """
        try:
            await asyncio.get_running_loop().run_in_executor(self._gating, self.gates.check_subject)
        except UserError as error:
            raise Problem("subject", f"The subject card does not allow it: {error.what}.") from None

    async def check_prompt(self, asked: Asked) -> None:
        """Nothing when the prompt policy allows the prompt and the negative prompt.

        Raises:
            Problem: policy, with the rule.
        """
        try:
            await asyncio.get_running_loop().run_in_executor(self._gating, self.gates.check_prompt, asked)
        except Refused as refused:
            raise Problem("policy", f"The prompt policy refuses it: {refused.reason}", rule=refused.rule) from None

    async def submit(self, owner: str, asked: Asked, body_sha256: str, idempotency: str | None) -> tuple[Job, bool]:
        """The job of this order, and whether it is new.

        Raises:
            Problem: too-many-pictures, key-reused or queue-full; nothing is counted against the key then.
        """
        wait = self.pictures.take(owner, asked.count)
        if wait:
            raise Problem("too-many-pictures", headers={"Retry-After": str(wait)})
        limits = (self.settings.queue, self.settings.queue_per_key)
        new = False
        try:
            job, new = await self._write(lambda store: store.submit(owner, asked, body_sha256, idempotency, *limits))
        except KeyReused:
            raise Problem("key-reused") from None
        except QueueFull:
            raise Problem("queue-full", headers={"Retry-After": str(RETRY_S)}) from None
        finally:
            if not new:
                self.pictures.give_back(owner, asked.count)
        return job, new

    async def cancel(self, job: str, owner: str) -> Job | None:
        """Cancel an open job; how it stands then."""
        return await self._write(lambda store: store.cancel(job, owner))

    async def read_picture(self, job: Job, number: int) -> tuple[bytes, str]:
        """A delivered picture's file, and its SHA-256.

        Raises:
            Problem: not-found, or gone when the file is not the one that was made.
        """
        found = next((draw for draw in job.pictures if draw.picture == number), None)
        if found is None:
            raise Problem("not-found")
        path = picture_path(self.output, job.id, number)
        data = await asyncio.to_thread(read_inside, self.output, path, found.sha256)
        if data is None:
            raise Problem("gone")
        return data, found.sha256

    async def show_metrics(self) -> bytes:
        """The page that Prometheus reads."""
        jobs, pictures = await self._write(lambda store: (store.count_jobs(), store.count_draws()))
        worker = self.reader.worker()
        up = worker is not None and worker[1] and self.worker_lives()
        return self.metrics.show(jobs, pictures, up, time.time() - worker[2] if worker else 0.0)

    async def check_ready(self) -> None:
        """Nothing when a job that is sent now would be drawn.

        Raises:
            Problem: subject, or not-ready.
        """
        await self.check_subject()
        worker = self.reader.worker()
        if worker is None or not worker[1] or not self.worker_lives():
            raise Problem("not-ready", headers={"Retry-After": str(RETRY_S)})
