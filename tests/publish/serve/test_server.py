"""Server and worker as processes: killed, asked to end, and kept busy by bad clients."""

import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest
from serving import PROMPT, ROOT, Server, add_client_key, make_settings, run_server, some_key, wait_for

from publish.serve.keys import add_key
from publish.serve.server import serve
from publish.serve.store import FILE
from stages.contracts.serve_settings import Serve
from stages.runtime.errors import UserError


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, dict[str, str]]]:
    """A server that nobody kills, and a key."""
    settings = make_settings(tmp_path_factory.mktemp("running"), header_seconds=1, request_seconds=2, connections=60)
    key = add_client_key(settings)
    with run_server(settings) as server:
        yield server, key


def submit(server: Server, key: dict[str, str], **body: Any) -> str:
    answer = httpx.post(f"{server.url}/v1/jobs", json=PROMPT | body, headers=key | {"Idempotency-Key": some_key()})
    assert answer.status_code == 202, answer.text
    job: str = answer.json()["id"]
    return job


def show(server: Server, key: dict[str, str], job: str) -> dict[str, Any]:
    shown: dict[str, Any] = httpx.get(f"{server.url}/v1/jobs/{job}", headers=key).json()
    return shown


def wait_until_done(server: Server, key: dict[str, str], jobs: list[str]) -> list[dict[str, Any]]:
    wait_for(lambda: all(show(server, key, job)["finished"] for job in jobs), 60)
    return [show(server, key, job) for job in jobs]


def check_nothing_is_lost_or_doubled(server: Server, key: dict[str, str], jobs: list[str], count: int) -> None:
    for shown in wait_until_done(server, key, jobs):
        assert shown["state"] == "done"
        assert [picture["number"] for picture in shown["pictures"]] == list(range(count))
        assert len({picture["seed"] for picture in shown["pictures"]}) == count
        for picture in shown["pictures"]:
            assert httpx.get(server.url + picture["href"], headers=key).json()["seed"] == picture["seed"]
    with closing(sqlite3.connect(server.settings.output / FILE)) as db:
        assert db.execute("SELECT count(*) FROM jobs").fetchone()[0] == len(jobs)
        assert db.execute("SELECT count(picture) FROM draws").fetchone()[0] == len(jobs) * count


def test_jobs_survive_kills_of_the_worker(tmp_path: Path) -> None:
    settings = make_settings(tmp_path)
    key = add_client_key(settings)
    with run_server(settings, 0.05) as server:
        jobs = [submit(server, key, count=4) for _ in range(4)]
        for _ in range(2):
            time.sleep(0.3)
            pid = server.worker_pid()
            os.kill(pid, signal.SIGKILL)
            wait_for(lambda pid=pid: server.worker_pid() != pid, 20)  # type: ignore[misc]
        check_nothing_is_lost_or_doubled(server, key, jobs, 4)


@pytest.mark.slow
def test_jobs_survive_kills_of_the_server_and_its_worker_ends_with_it(tmp_path: Path) -> None:
    settings = make_settings(tmp_path)
    key = add_client_key(settings)
    with run_server(settings, 0.05) as server:
        jobs = [submit(server, key, count=4) for _ in range(4)]
        for _ in range(2):
            time.sleep(0.3)
            pid = server.worker_pid()
            server.kill()
            wait_for(lambda pid=pid: not is_alive(pid), 10)  # type: ignore[misc]
            server.start()
        check_nothing_is_lost_or_doubled(server, key, jobs, 4)


def is_alive(pid: int) -> bool:
    stat = Path(f"/proc/{pid}/stat")
    return stat.exists() and stat.read_text().rpartition(") ")[2][0] != "Z"


def test_a_server_that_is_asked_to_end_does_so_and_the_next_one_goes_on(tmp_path: Path) -> None:
    settings = make_settings(tmp_path)
    key = add_client_key(settings)
    with run_server(settings, 0.2) as server:
        job = submit(server, key, count=4)
        wait_for(lambda: show(server, key, job)["drawn"] > 0, 20)
        worker = server.worker_pid()
        server.end()
        assert server.process is not None
        assert server.process.returncode in (0, -signal.SIGTERM)  # uvicorn raises the signal again when it is done
        assert not is_alive(worker)
        server.start()
        check_nothing_is_lost_or_doubled(server, key, [job], 4)


def test_a_job_that_kills_its_workers_fails_and_the_others_are_drawn(tmp_path: Path) -> None:
    settings = make_settings(tmp_path, attempts=2)
    key = add_client_key(settings)
    with run_server(settings) as server:
        jobs = [submit(server, key, prompt=prompt) for prompt in ("crash", "a woman")]
        crashed, fine = wait_until_done(server, key, jobs)
    assert (crashed["state"], crashed["failure"], fine["state"]) == ("failed", "worker-died", "done")


def test_a_worker_that_hangs_is_killed(tmp_path: Path) -> None:
    settings = make_settings(tmp_path, draw_seconds=0.5, attempts=1)
    key = add_client_key(settings)
    with run_server(settings, 60.0) as server:
        (shown,) = wait_until_done(server, key, [submit(server, key)])
    assert (shown["state"], shown["failure"]) == ("failed", "worker-died")


def test_a_job_is_cancelled_midway(tmp_path: Path) -> None:
    settings = make_settings(tmp_path)
    key = add_client_key(settings)
    with run_server(settings, 0.1) as server:
        job, following = submit(server, key, count=8), submit(server, key)
        wait_for(lambda: len(show(server, key, job)["pictures"]) > 1, 20)
        assert httpx.delete(f"{server.url}/v1/jobs/{job}", headers=key).json()["state"] == "cancelled"
        wait_until_done(server, key, [following])
        shown = show(server, key, job)
        assert shown["state"] == "cancelled"
        assert 1 < len(shown["pictures"]) < 8
        assert httpx.get(server.url + shown["pictures"][0]["href"], headers=key).status_code == 200


def connect(server: Server) -> socket.socket:
    return socket.create_connection(("127.0.0.1", server.settings.port), timeout=10)


@pytest.mark.parametrize("begun", [b"", b"GET /healthz HTTP/1.1\r\nHost: x\r\n"], ids=["nothing", "half the headers"])
def test_slow_headers_are_not_waited_for(running: tuple[Server, dict[str, str]], begun: bytes) -> None:
    server, _ = running
    with connect(server) as client:
        began = time.monotonic()
        client.sendall(begun)
        for _ in range(10):  # a slow loris: a byte now and then keeps no connection open
            try:
                client.sendall(b"X" if begun else b"")
                time.sleep(0.25)
            except OSError:
                break
        wait_for(lambda: ended(client), 10)
        assert time.monotonic() - began < 8


def ended(client: socket.socket) -> bool:
    try:
        return client.recv(4096) == b""
    except OSError:
        return True


def test_slow_headers_on_a_kept_connection_are_not_waited_for(running: tuple[Server, dict[str, str]]) -> None:
    server, _ = running
    with connect(server) as client:
        client.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        assert b"200 OK" in client.recv(4096)
        time.sleep(1.5)  # waiting for the next request is allowed longer
        client.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n")
        began = time.monotonic()
        wait_for(lambda: ended(client), 10)
        assert 0.5 < time.monotonic() - began < 8


def test_a_slow_body_is_not_waited_for(running: tuple[Server, dict[str, str]]) -> None:
    server, key = running
    head = "POST /v1/jobs HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n"
    head += f"Authorization: {key['Authorization']}\r\n\r\n{{"
    with connect(server) as client:
        client.sendall(head.encode())
        client.settimeout(10)
        answer = client.recv(65536)
        assert b"408" in answer.split(b"\r\n")[0]
        assert b"connection: close" in answer.lower()
        wait_for(lambda: ended(client), 10)


RAW = [
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"GET\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"\x00" * 100,
    b"GET /v1/jobs/\xff\xfe HTTP/1.1\r\nHost: x\r\n\r\n", b"GET /../../etc/passwd HTTP/1.1\r\nHost: x\r\n\r\n",
    b"POST /v1/jobs HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
    b"POST /v1/jobs HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999\r\n\r\n",
    b"POST /v1/jobs HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"POST /v1/jobs HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 100_000 + b"\r\n\r\n",
    b"GET /v1/jobs HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
]  # fmt: skip


@pytest.mark.parametrize("sent", RAW, ids=lambda sent: sent[:30].decode("latin-1"))
def test_what_is_no_http_is_refused_without_a_5xx(running: tuple[Server, dict[str, str]], sent: bytes) -> None:
    server, _ = running
    with connect(server) as client:
        try:
            client.sendall(sent)
            answer = client.recv(65536)
        except ConnectionError:
            answer = b""
        assert answer == b"" or answer.startswith(b"HTTP/1.1 4"), answer[:200]
    assert httpx.get(f"{server.url}/healthz").status_code == 200


def test_more_connections_than_allowed_are_refused_and_the_rest_goes_on(running: tuple[Server, dict[str, str]]) -> None:
    server, _ = running
    held = [connect(server) for _ in range(70)]
    try:
        assert httpx.get(f"{server.url}/healthz").status_code == 503
    finally:
        for client in held:
            client.close()
    wait_for(lambda: httpx.get(f"{server.url}/healthz").status_code == 200, 10)


def settings_of(tmp_path: Path, **changes: Any) -> Serve:
    settings = make_settings(tmp_path, **changes)
    assert settings.keys is not None
    add_key(settings.keys, "chatbot")
    return settings


def test_a_server_without_keys_does_not_start(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="keys add"):
        serve(make_settings(tmp_path), None, [])  # type: ignore[arg-type]


def test_a_taken_address_is_told_in_one_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        settings = settings_of(tmp_path, port=other.getsockname()[1])
        with pytest.raises(UserError, match="cannot listen"):
            serve(settings, None, [])  # type: ignore[arg-type]


def test_a_second_server_on_the_same_folder_is_refused(running: tuple[Server, dict[str, str]]) -> None:
    server, _ = running
    with pytest.raises(UserError, match="another server"):
        serve(server.settings.model_copy(update={"port": 0}), None, [])  # type: ignore[arg-type]


@pytest.mark.parametrize(("host", "warned"), [("0.0.0.0", True), ("127.0.0.1", False)])
def test_listening_to_everybody_is_warned_of(tmp_path: Path, host: str, warned: bool) -> None:
    settings = settings_of(tmp_path)
    code = (
        "import socket\nfrom publish.serve.server import _announce\nfrom stages.contracts.serve_settings import Serve\n"
        f"with socket.create_server(({host!r}, 0)) as listening: _announce(Serve(output='served'), listening)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.startswith(f"http://{host}:")
    assert ("TLS" in done.stderr) is warned
    assert json.loads(settings.model_dump_json())["host"] == "127.0.0.1"  # what it is unless somebody says otherwise
