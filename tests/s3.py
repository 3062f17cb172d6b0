"""A real S3 server on loopback: OpenStack Swift with s3api and tempauth, four processes that end with the test run.

Swift lives in a virtual environment of its own, tests/swift-requirements.txt, built once and kept in pytest's cache:
its 79 MB and its eventlet are nothing that `make setup` should bring to everybody.
"""

import configparser
import hashlib
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

REQUIREMENTS = Path(__file__).with_name("swift-requirements.txt")
ROLES = ("account", "container", "object", "proxy")
STARTING_S = 240.0  # on a machine that is busy with something else
# Swift reads swift.conf from /etc/swift unless told, before anything else; on Linux a server dies with who started it.
SERVER = """
import ctypes, sys
ctypes.CDLL(None).prctl(1, 9)
from swift.common.utils import set_swift_dir
set_swift_dir(sys.argv[1])
from swift.common.wsgi import run_wsgi
sys.exit(run_wsgi(f"{sys.argv[1]}/{sys.argv[2]}.conf", f"{sys.argv[2]}-server"))
"""
RINGS = """
import sys
from swift.common.ring import RingBuilder
for part in sys.argv[2:]:
    role, port = part.split(":")
    builder = RingBuilder(4, 1, 1)
    builder.add_dev({"region": 1, "zone": 1, "ip": "127.0.0.1", "port": int(port), "device": "disk", "weight": 1.0})
    builder.rebalance(seed=1)
    builder.get_ring().save(f"{sys.argv[1]}/{role}.ring.gz")
"""
OWNER = ("pistachio:owner", "secret-of-the-tests")
GUEST = ("pistachio:guest", "guest-of-the-tests")  # known, and allowed nothing


class NoSwift(Exception):
    """Swift cannot run here; the message says why."""


@dataclass
class S3:
    """A running server."""

    folder: Path
    python: Path
    ports: dict[str, int]
    processes: dict[str, "subprocess.Popen[bytes]"] = field(default_factory=dict)

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.ports['proxy']}"

    def env(self, who: tuple[str, str] = OWNER) -> dict[str, str]:
        """What a client finds in its environment."""
        return {"AWS_ACCESS_KEY_ID": who[0], "AWS_SECRET_ACCESS_KEY": who[1], "AWS_DEFAULT_REGION": "us-east-1"}

    def make_bucket(self, name: str) -> str:
        """Make a bucket; returns its address."""
        client(self).create_bucket(Bucket=name)
        return f"s3://{name}"

    def start(self, role: str) -> None:
        """Start one of the four servers and wait until it listens."""
        with (self.folder / f"{role}.log").open("ab") as log:
            command = [self.python, "-c", SERVER, self.folder, role]
            self.processes[role] = subprocess.Popen(
                command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, env=clean_env()
            )
        wait_for(self, role)

    def stop(self, role: str) -> None:
        """End one of the four servers, however it is."""
        self.processes[role].kill()
        self.processes[role].wait()

    def memory_MB(self) -> float:
        """Resident memory of the four processes."""
        return sum(psutil.Process(process.pid).memory_info().rss for process in self.processes.values()) / 2**20


def client(server: S3) -> Any:
    """A botocore client of the owner: whatever the code under test uses, this sees what the server holds."""
    from botocore.session import Session

    names = dict(zip(("aws_access_key_id", "aws_secret_access_key"), OWNER, strict=True))
    return Session().create_client("s3", endpoint_url=server.endpoint, region_name="us-east-1", **names)


def find_swift(cache: Path) -> Path:
    """The Python that has Swift, in a virtual environment below ``cache`` that is made when it is not there.

    Raises:
        NoSwift: when this is not Linux, or no package index gives it.
    """
    if sys.platform != "linux":
        raise NoSwift("Swift runs on Linux alone")
    folder = cache / hashlib.sha256(REQUIREMENTS.read_bytes()).hexdigest()[:12]
    python = folder / "bin" / "python"
    ready = folder / "ready"
    if ready.exists():
        return python
    shutil.rmtree(folder, ignore_errors=True)
    commands = [
        [sys.executable, "-m", "venv", folder],
        [python, "-m", "pip", "install", "--quiet", "--only-binary", ":all:", "--requirement", REQUIREMENTS],
    ]
    for command in commands:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
        if done.returncode != 0:
            raise NoSwift(f"Swift cannot be installed: {done.stderr.strip().splitlines()[-1]}")
    ready.touch()
    return python


@contextmanager
def serve_s3(folder: Path, python: Path) -> Iterator[S3]:
    """Serve until the block ends; ``folder`` holds settings, logs and objects."""
    server = S3(folder, python, dict(zip(ROLES, free_ports(len(ROLES)), strict=True)))
    (folder / "devices" / "disk").mkdir(parents=True)
    (folder / "swift.conf").write_text("[swift-hash]\nswift_hash_path_suffix = tests\n")
    parts = [f"{role}:{server.ports[role]}" for role in ROLES[:3]]
    subprocess.run([python, "-c", RINGS, folder, *parts], check=True, timeout=60)
    for role in ROLES:
        write_settings(server, role)
    try:
        for role in ROLES:
            server.start(role)
        yield server
    finally:
        for role in server.processes:
            server.stop(role)


def clean_env() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}


def free_ports(count: int) -> list[int]:
    """Ports of loopback that nobody listens at."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for taken in sockets:
            taken.bind(("127.0.0.1", 0))
        return [taken.getsockname()[1] for taken in sockets]


def write_settings(server: S3, role: str) -> None:
    """Write ROLE.conf: one worker, no daemon beside it, what it has to say to its log."""
    common = {
        "bind_ip": "127.0.0.1", "bind_port": str(server.ports[role]), "workers": "0", "swift_dir": str(server.folder),
        "devices": str(server.folder / "devices"), "mount_check": "false", "log_level": "WARNING",
        "user": "", "log_address": str(server.folder / "no-syslog"), "log_statsd_host": "",
        "fallocate_reserve": "0", "recon_cache_path": str(server.folder), "disk_chunk_size": "1048576",
    }  # fmt: skip
    sections: dict[str, dict[str, str]] = {"DEFAULT": common}
    if role == "proxy":
        # No memcached: s3api signs every request with the secret, and nothing here needs a token.
        sections["pipeline:main"] = {"pipeline": "catch_errors gatekeeper s3api tempauth slo proxy-server"}
        for name in ("catch_errors", "gatekeeper", "slo"):
            sections[f"filter:{name}"] = {"use": f"egg:swift#{name}"}
        sections["filter:s3api"] = {"use": "egg:swift#s3api", "location": "us-east-1", "s3_acl": "false"}
        users = {"user_pistachio_owner": f"{OWNER[1]} .admin", "user_pistachio_guest": GUEST[1]}
        sections["filter:tempauth"] = {"use": "egg:swift#tempauth", **users}
        sections["app:proxy-server"] = {"use": "egg:swift#proxy", "account_autocreate": "true"}
    else:
        sections["pipeline:main"] = {"pipeline": f"{role}-server"}
        sections[f"app:{role}-server"] = {"use": f"egg:swift#{role}"}
    config = configparser.RawConfigParser()
    config.read_dict(sections)
    with (server.folder / f"{role}.conf").open("w") as stream:
        config.write(stream)


def wait_for(server: S3, role: str) -> None:
    """Wait until a server listens.

    Raises:
        RuntimeError: when it ended, or did not listen in time.
    """
    end = time.monotonic() + STARTING_S
    while time.monotonic() < end and server.processes[role].poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", server.ports[role])) == 0:
                return
        time.sleep(0.05)
    raise RuntimeError(f"Swift's {role} server does not start: {(server.folder / f'{role}.log').read_text()[-2000:]}")
