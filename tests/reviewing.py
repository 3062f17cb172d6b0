"""`pistachio review`, started, asked and killed: in this program or as one of its own."""

import http.client
import json
import os
import re
import signal
import subprocess
import sys
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import uvicorn

from publish.review.app import HOST, QUIETLY, build_app, listen, make_token
from publish.review.session import Review, open_review

ROOT = Path(__file__).parent.parent
PATIENCE_S = 60.0


class Server:
    """A review that answers at ``address``."""

    def __init__(self, address: str, review: Review | None = None) -> None:
        records = {item.id: item.pictures[0].record for item in review.items} if review else {}
        self.gate = {item: record.scores for item, record in records.items() if record}  # known in this program alone
        parts = urlsplit(address)
        self.address, self.host, self.port = address, str(parts.hostname), int(parts.port or 0)
        self.token = parts.path.strip("/")

    def ask(
        self, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None
    ) -> tuple[int, bytes, dict[str, str]]:
        """Status, body and headers of a request whose path is sent as it is written here."""
        connection = http.client.HTTPConnection(self.host, self.port, timeout=20)
        try:
            connection.putrequest(method, path, skip_host=True)
            wanted = {"Host": f"{self.host}:{self.port}", **(headers or {})}
            if body is not None and "Transfer-Encoding" not in wanted:
                wanted.setdefault("Content-Length", str(len(body)))
                wanted.setdefault("Content-Type", "application/json")
            for name, value in wanted.items():
                connection.putheader(name, value)
            connection.endheaders()
            if body is not None:
                connection.send(body)
            answer = connection.getresponse()
            return answer.status, answer.read(), {name.lower(): value for name, value in answer.getheaders()}
        finally:
            connection.close()

    def get(self, path: str) -> Any:
        status, body, _ = self.ask("GET", f"/{self.token}/{path}")
        assert status == 200, (status, body)
        return json.loads(body)

    def post(self, path: str, **body: object) -> tuple[int, Any]:
        """Status and answer; a vote gets an id where it has none."""
        status, said, _ = self.ask("POST", f"/{self.token}/{path}", json.dumps(body).encode())
        return status, json.loads(said)

    def vote(self, item: str, vote: str, *, vote_id: str = "", seen: bool = False) -> tuple[int, Any]:
        chosen = vote_id or str(uuid.uuid4())
        return self.post("votes", id=chosen, item=item, vote=vote, scores_shown=seen, milliseconds=1)


class Program(Server):
    """The same as a program of its own."""

    def __init__(self, *words: object) -> None:
        command = [sys.executable, "-m", "publish", "review", *map(str, words), "--no-browser"]
        environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
        )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        found = re.match(r"review: (http://\S+)$", line)
        if found is None:
            raise RuntimeError(f"no address: {line} {self.end()[1]}")
        super().__init__(found[1])

    def kill(self) -> None:
        """As a crash does."""
        self.process.send_signal(signal.SIGKILL)
        self.process.communicate()

    def end(self) -> tuple[str, str]:
        """Ctrl+C; what it had said since."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        try:
            return self.process.communicate(timeout=PATIENCE_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.communicate()


@contextmanager
def run_review(*words: object) -> Iterator[Program]:
    """`pistachio review words` until the block ends."""
    program = Program(*words)
    try:
        yield program
    finally:
        if not program.process.stdout or not program.process.stdout.closed:
            program.end()


@contextmanager
def serve_review(folder: Path, against: Path | None = None, seed: int | None = None) -> Iterator[Server]:
    """The same in a thread of this program, which starts sooner."""
    other = None if against is None else str(against)
    review = open_review(str(folder), other, voter="owner", votes=None, seed=seed, reveal=False, writable=True)
    door, token = listen(0), make_token()
    port = door.getsockname()[1]
    config = uvicorn.Config(build_app(review, token, port), **QUIETLY)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [door]})
    thread.start()
    try:
        yield Server(f"http://{HOST}:{port}/{token}/", review)
    finally:
        server.should_exit = True
        thread.join(PATIENCE_S)
        door.close()
