"""The HTTP service for tests: gates that open and close, a drawer that draws nothing, and servers as processes."""

import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from publish.serve.drawer import NotAllowed, Verdict
from publish.serve.job import Asked, Job
from publish.serve.keys import KeyRing, add_key
from publish.serve.service import Service
from publish.serve.store import Store, build_store
from publish.serve.worker import work
from stages.contracts.policy import Refused
from stages.contracts.serve_settings import Serve
from stages.runtime.errors import UserError
from stages.runtime.provenance import hash_bytes

ROOT = Path(__file__).parent.parent
PROMPT = {"prompt": "{trigger}, a {class_word}, smiling"}
HERE = str(Path(__file__).parent)


class Gates:
    """A card that can be revoked, and a policy against the word child."""

    revoked = False

    def check_subject(self) -> None:
        if self.revoked:
            raise UserError("data/subject.yaml", "revoked: on 2026-01-01 (asked); nothing is drawn any more")

    def check_prompt(self, asked: Asked) -> None:
        if "child" in asked.prompt:
            raise Refused("minors", "it names a minor")


class Sketch:
    """Writes the job and the seed where a picture would be; every seed that 3 divides is rejected.

    ``seconds`` pass over each; the file ``revoked`` in its folder is a revoked card.
    """

    def __init__(self, folder: Path, seconds: float = 0.0) -> None:
        self.folder, self.seconds = folder, seconds
        self.drawn: list[tuple[str, int]] = []

    def draw(self, job: Job, number: int, path: Path) -> Verdict:
        if (self.folder / "revoked").exists():
            raise NotAllowed("data/subject.yaml", "revoked: on 2026-01-01 (asked)")
        time.sleep(self.seconds)
        self.drawn.append((job.id, number))
        if job.asked.prompt == "crash":
            os.kill(os.getpid(), signal.SIGKILL)
        seed = job.seed_of(number)
        if seed % 3 == 0:
            return Verdict("", ("no face was found",))
        data = json.dumps({"prompt": job.asked.prompt, "seed": seed}).encode()
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        return Verdict(hash_bytes(data), ())


def sketch_until_the_end(output: Path, settings: Serve, seconds: float) -> None:
    """A worker process that sketches; see `sketcher`."""
    from publish.serve.worker import be_the_worker, listen_for_the_end
    from stages.runtime.processes import end_with_parent

    end_with_parent()
    if (parent := os.getppid()) == 1:  # the server was killed before this began to listen
        return
    stop = listen_for_the_end(parent)
    with be_the_worker(output):
        work(Store(output), Sketch(output, seconds), output, settings, stop)


def sketcher(settings: Serve, seconds: float = 0.0) -> list[str]:
    """The command that starts a worker which sketches."""
    code = (
        f"import sys; sys.path[:0] = [{str(ROOT)!r}, {HERE!r}]\n"
        "from pathlib import Path\nfrom serving import sketch_until_the_end\n"
        "from stages.contracts.serve_settings import Serve\n"
        f"settings = Serve.model_validate_json({settings.model_dump_json()!r})\n"
        f"sketch_until_the_end(settings.output, settings, {seconds})"
    )
    return [sys.executable, "-c", code]


def make_settings(folder: Path, **changes: Any) -> Serve:
    """Settings of a server on a free port that keeps everything in ``folder``."""
    generous = {
        "requests_per_minute": 1e6, "requests_burst": 100_000, "pictures_per_minute": 1e6, "pictures_burst": 100_000,
        "queue": 10_000, "queue_per_key": 10_000,
    }  # fmt: skip
    return Serve.model_validate(
        {"port": 0, "output": folder / "served", "keys": folder / "keys.json"} | generous | changes
    )


def make_service(settings: Serve, gates: Gates | None = None) -> Service:
    """A service without a server."""
    build_store(settings.output)
    assert settings.keys is not None
    return Service(settings, settings.output, KeyRing(settings.keys), gates or Gates())


def add_client_key(settings: Serve, name: str = "chatbot") -> dict[str, str]:
    """A new key as the header that sends it."""
    assert settings.keys is not None
    return {"Authorization": f"Bearer {add_key(settings.keys, name)}"}


def draw_everything(service: Service, drawer: Sketch | None = None, seconds: float = 30.0) -> Sketch:
    """Work until no job is open."""
    stop, drawer = threading.Event(), drawer or Sketch(service.output)

    def watch() -> None:
        until, store = time.monotonic() + seconds, Store(service.output)
        while time.monotonic() < until:
            counts = store.count_jobs()
            if not counts["queued"] and not counts["running"]:  # type: ignore[index]
                break
            time.sleep(0.01)
        stop.set()
        store.close()

    threading.Thread(target=watch, daemon=True).start()
    store = Store(service.output)
    work(store, drawer, service.output, service.settings, stop)
    store.close()
    return drawer


@contextmanager
def run_server(settings: Serve, seconds: float = 0.0) -> Iterator["Server"]:
    """A server process with a worker that sketches."""
    server = Server(settings, seconds)
    server.start()
    try:
        yield server
    finally:
        server.end()


class Server:
    """A server process; it may be killed and started again on the same port."""

    def __init__(self, settings: Serve, seconds: float) -> None:
        with socket.create_server(("127.0.0.1", 0)) as probe:
            port = probe.getsockname()[1]
        self.settings = settings.model_copy(update={"port": port})
        self.url, self._seconds = f"http://127.0.0.1:{port}", seconds
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        code = (
            f"import sys; sys.path[:0] = [{str(ROOT)!r}, {HERE!r}]\n"
            "from serving import Gates, sketcher\nfrom publish.serve.server import serve\n"
            "from stages.contracts.serve_settings import Serve\n"
            f"settings = Serve.model_validate_json({self.settings.model_dump_json()!r})\n"
            f"serve(settings, Gates(), sketcher(settings, {self._seconds}))"
        )
        self.process = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT)
        wait_for(lambda: self._answers(), 30)

    def _answers(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, "the server ended"
        try:
            return httpx.get(f"{self.url}/readyz").status_code == 200
        except httpx.TransportError:
            return False

    def worker_pid(self) -> int:
        store = Store(self.settings.output)
        seen = store.worker()
        store.close()
        assert seen is not None
        return seen[0]

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def end(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.kill()


def wait_for(holds: Callable[[], bool], seconds: float) -> None:
    """Wait until ``holds``; fail after ``seconds``."""
    until = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < until, f"not within {seconds} s"
        time.sleep(0.02)


def some_key() -> str:
    """A fresh idempotency key."""
    return secrets.token_hex(8)
