"""Ray's cluster: one of this program's own, on loopback and gone with it, or one that is running already."""

import logging
import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from stages.backends.crew import undertaker
from stages.contracts.settings import Machine
from stages.runtime.errors import UserError, one_line

KEY = "machine.ray_address"
LOCAL = "local"
PREFIX = "pistachio-ray-"
LONGEST = 30  # characters of the temporary folder: Ray makes sockets below it, and a socket's path may have 107
STORE = 1 << 30  # bytes for results on their way, of a cluster of our own
CONNECT_S = 5.0
SILENT = {
    "RAY_USAGE_STATS_ENABLED": "0",  # nothing is told to anybody
    "RAY_LOG_TO_STDERR": "0",
    "RAY_NUM_REDIS_GET_RETRIES": "10",  # about as many seconds for a cluster that does not answer
}
ALONE = {
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # Ray's switch for: this machine only, every port on 127.0.0.1
    "AUTOSCALER_METRIC_PORT": "-1",  # the only port that would listen elsewhere
    "RAY_AUTH_MODE": "token",
}


def prepare_ray(address: str | None) -> None:
    """Set what Ray reads when it is imported, never later.

    Raises:
        UserError: when it is not installed.
    """
    if find_spec("ray") is None:
        raise UserError(KEY, "Ray is not installed", "pip install 'pistachio[scale]', or leave the address empty")
    os.environ.update(SILENT)
    if address == LOCAL:
        os.environ.update(ALONE)
        os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)  # this program and its workers know it, nobody else


class Cluster:
    """A connection to Ray; ``close`` ends it, and all of the cluster when it is this program's own."""

    def __init__(self, machine: Machine) -> None:
        """Start or find the cluster.

        Raises:
            UserError: when it does not answer.
        """
        self.address = machine.ray_address or LOCAL
        self.undertaker: subprocess.Popen[bytes] | None = None
        logging.getLogger("ray").setLevel(logging.CRITICAL)
        if self.address == LOCAL:
            self._start(machine)
        else:
            self._find()

    def _start(self, machine: Machine) -> None:
        place = tempfile.gettempdir()
        folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=place if len(place) <= LONGEST else "/tmp")).resolve()
        self.undertaker = call_undertaker(folder)
        on_gpu = machine.device.startswith("cuda")
        cpus = None if machine.ray_workers is None or on_gpu else machine.ray_workers * machine.threads
        try:
            _init(address=LOCAL, num_cpus=cpus, num_gpus=None if on_gpu else 0, include_dashboard=False,
                  object_store_memory=STORE, _temp_dir=str(folder))  # fmt: skip
        except Exception as error:  # Ray's own class for a start that takes longer than half a minute
            raise UserError(KEY, f"Ray does not start: {one_line(str(error))[:200]}", "is the machine busy?") from error

    def _find(self) -> None:
        host, _, port = self.address.rpartition(":")
        if port.isdecimal() and "/" not in host:  # Ray itself would ask for minutes
            try:
                socket.create_connection((host.strip("[]"), int(port)), timeout=CONNECT_S).close()
            except OSError as error:
                raise UserError(KEY, f"no answer from {self.address} ({error})", TODO) from None
        try:
            _init(address=self.address)
        except (OSError, RuntimeError, ValueError, ImportError) as error:
            raise UserError(KEY, f"no cluster at {self.address}: {one_line(str(error))[:200]}", TODO) from None

    def close(self) -> None:
        """Leave the cluster."""
        import ray

        ray.shutdown()
        if self.undertaker is not None and self.undertaker.stdin is not None:
            self.undertaker.stdin.close()
            self.undertaker.wait()


TODO = "start one, or give its token (docs/scale.md), or use machine.ray_address=local"


def _init(**settings: Any) -> None:
    with _signals_kept():
        import ray
        from ray._private import worker

        worker.print_to_stdstream = lambda *_, **__: None  # on stdout, whatever log_to_driver says
        ray.init(
            log_to_driver=False,
            logging_level=logging.CRITICAL,
            configure_logging=False,
            namespace="pistachio",
            **settings,
        )


@contextmanager
def _signals_kept() -> Iterator[None]:
    """Ray puts a handler of its own in place of the program's."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def call_undertaker(folder: Path) -> subprocess.Popen[bytes]:
    """Start what clears up after this program; it stays out of the way of signals that end this program."""
    command = [sys.executable, "-I", "-S", undertaker.__file__, str(folder)]
    quiet = subprocess.DEVNULL
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=quiet, stderr=quiet, start_new_session=True, cwd="/")
