"""`python -m publish.serve.worker`: takes jobs from the store and draws them, apart from the process that answers.

It may be killed at any line: a picture is kept by one transaction after its file is there, and the same job and number
are the same picture, so the next worker goes on where the store says.
"""

import argparse
import logging
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock

from publish.serve.drawer import Drawer, NotAllowed, Verdict, picture_path
from publish.serve.job import Draw, Job, State
from publish.serve.params import read_service_params
from publish.serve.producing import open_drawer
from publish.serve.store import Store
from stages.contracts.policy import Refused
from stages.contracts.serve_settings import Serve
from stages.runtime.entry import program
from stages.runtime.errors import UserError
from stages.runtime.processes import end_with_parent

LOCK = "worker.lock"
IDLE_S = 0.1  # between two looks for a job
logger = logging.getLogger(__name__)


@contextmanager
def be_the_worker(output: Path) -> Iterator[None]:
    """Wait until no other worker draws into ``output``; the lock ends with the process, however that ends."""
    with FileLock(output / LOCK):
        yield


def listen_for_the_end(parent: int) -> threading.Event:
    """An event that is set when this process should end: by a signal, or because who started it is no more."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())

    def watch() -> None:
        while not stop.wait(1.0):
            if os.getppid() != parent:
                stop.set()

    threading.Thread(target=watch, daemon=True).start()
    return stop


def work(store: Store, drawer: Drawer, output: Path, settings: Serve, stop: threading.Event) -> None:
    """Draw job after job until ``stop`` is set."""
    store.beat(os.getpid(), ready=True)
    while not stop.is_set():
        job = store.take(settings.attempts)
        if job is None:
            store.beat(os.getpid(), ready=True)
            stop.wait(IDLE_S)
            continue
        _finish(store, job, drawer, output, settings, stop)


def _finish(
    store: Store, job: Job, drawer: Drawer, output: Path, settings: Serve, stop: threading.Event
) -> None:  # fmt: skip
    """Draw what is missing of a job."""
    try:
        ended = _draw(store, job, drawer, output, settings, stop)
    except Refused as refused:
        store.finish(job, State.FAILED, "policy", f"{refused.rule}: {refused.reason}")
    except UserError as error:
        logger.error("job %s: %s", job.id, error.line)
        kind = "subject" if isinstance(error, NotAllowed) else "settings"
        store.finish(job, State.FAILED, kind, "see the server's log")
    else:
        if not ended:
            store.put_back(job)


def _draw(
    store: Store, job: Job, drawer: Drawer, output: Path, settings: Serve, stop: threading.Event
) -> bool:  # fmt: skip
    """Draw until the job has ended; False when this process has to end first."""
    delivered, drawn = len(job.pictures), len(job.draws)
    most = job.asked.count * settings.draws_per_picture
    while delivered < job.asked.count and drawn < most:
        if stop.is_set():
            return False
        if not store.is_running(job):
            return True
        store.beat(os.getpid(), ready=True)
        verdict = drawer.draw(job, drawn, picture_path(output, job.id, delivered))
        store.add_draw(job, _to_draw(job, drawn, delivered, verdict))
        delivered, drawn = delivered + bool(verdict.sha256), drawn + 1
    missing = job.asked.count - delivered
    detail = f"{missing} of {job.asked.count} pictures are missing: {drawn} were drawn, which is the limit"
    store.finish(job, *((State.INCOMPLETE, "", detail) if missing else (State.DONE,)))
    return True


def _to_draw(job: Job, number: int, picture: int, verdict: Verdict) -> Draw:
    seed = job.seed_of(number)
    return Draw(number, seed, picture if verdict.sha256 else None, verdict.sha256, verdict.reasons)


def main() -> None:
    """The worker's program: it is started by the server, with its words."""
    parser = argparse.ArgumentParser(prog="python -m publish.serve.worker", description=__doc__)
    parser.add_argument("--output-dir", type=Path, required=True)
    parser.add_argument("--lora")
    parser.add_argument("--parent", type=int, required=True, help="process whose end is the worker's")
    words = parser.parse_args()
    # Threads that wait must sleep: spinning ones take the cores from the server (read when torch is loaded).
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    with program():
        end_with_parent()
        stop = listen_for_the_end(words.parent)
        params = read_service_params()
        os.nice(params.serve.nice)
        with be_the_worker(words.output_dir):
            store = Store(words.output_dir)
            store.beat(os.getpid(), ready=False)
            with open_drawer(params, words.output_dir, words.lora) as drawer:
                work(store, drawer, words.output_dir, params.serve, stop)


if __name__ == "__main__":
    main()
