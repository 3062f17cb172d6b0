"""Files are fetched from a real server on loopback, checked by their hash, and fetched once."""

import hashlib
import threading
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from stages.flows import downloads
from stages.flows.downloads import Address, fetch, fetch_all, read_addresses
from stages.runtime.errors import UserError

FILES = {f"/{number} ü.png".replace(" ", "%20").replace("ü", "%C3%BC"): bytes([number]) * 70_000 for number in range(4)}


class Server:
    """What was asked for, how often, and what goes wrong how many times."""

    def __init__(self, address: str) -> None:
        self.address, self.asked = address, Counter[str]()
        self.failures: Counter[str] = Counter()  # path -> answers of 503
        self.cuts: Counter[str] = Counter()  # path -> answers that end early


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            state.asked[self.path] += 1
            if state.failures[self.path] > 0:
                state.failures[self.path] -= 1
                return self.send_error(503)
            if self.path not in FILES:
                return self.send_error(404)
            body = FILES[self.path]
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if state.cuts[self.path] > 0:
                state.cuts[self.path] -= 1
                body = body[:1000]
            self.wfile.write(body)
            return None

        def log_message(self, *_: object) -> None:
            pass

    monkeypatch.setattr(downloads, "PAUSE_S", 0.01)
    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    state = Server(f"http://127.0.0.1:{http.server_port}")
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield state
    http.shutdown()
    thread.join()
    http.server_close()


def listed(server: Server) -> list[Address]:
    return [
        Address(hashlib.sha256(body).hexdigest(), server.address + path, f"urls.txt:{number}")
        for number, (path, body) in enumerate(FILES.items(), start=1)
    ]


def test_a_list_is_fetched_in_its_order_and_never_twice(server: Server, tmp_path: Path) -> None:
    paths = fetch_all(listed(server), tmp_path / "cache", workers=3)
    assert [path.read_bytes() for path in paths] == list(FILES.values())
    assert fetch_all(listed(server), tmp_path / "cache", workers=3) == paths
    assert set(server.asked.values()) == {1}


def test_a_file_that_rotted_in_the_cache_is_fetched_again(server: Server, tmp_path: Path) -> None:
    (address, *_) = listed(server)
    path = fetch(address, tmp_path)
    path.write_bytes(b"rotten")
    assert fetch(address, tmp_path).read_bytes() == FILES["/0%20%C3%BC.png"]


def test_another_file_than_the_hash_says_is_refused_and_not_kept(server: Server, tmp_path: Path) -> None:
    address = Address("0" * 64, listed(server)[1].url, "urls.txt:2")
    with pytest.raises(UserError, match=r"urls\.txt:2: .* has sha256 [0-9a-f]{64}, not 0000"):
        fetch(address, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_what_was_fetched_before_a_failure_is_kept_for_the_next_time(server: Server, tmp_path: Path) -> None:
    good = listed(server)
    with pytest.raises(UserError, match=r"urls\.txt:9: .*404"):
        fetch_all([*good, Address("1" * 64, f"{server.address}/nothing", "urls.txt:9")], tmp_path, workers=1)
    assert server.asked["/nothing"] == 1  # what is not there does not come by asking again
    fetch_all(good, tmp_path, workers=1)
    assert all(server.asked[path] == 1 for path in FILES)


def test_a_server_that_fails_or_hangs_up_is_asked_again_but_not_forever(server: Server, tmp_path: Path) -> None:
    first, second, third, _ = listed(server)
    paths = list(FILES)
    server.failures[paths[0]] = 1
    server.cuts[paths[1]] = 2
    server.cuts[paths[2]] = 3
    assert fetch(first, tmp_path).read_bytes() == FILES[paths[0]]
    assert fetch(second, tmp_path).read_bytes() == FILES[paths[1]]
    with pytest.raises(UserError, match=r"urls\.txt:3: .*ended after 1000 of 70000 bytes"):
        fetch(third, tmp_path)
    assert server.asked[paths[2]] == 3
    assert len(list(tmp_path.iterdir())) == 2


def test_a_server_that_is_not_there_is_named(server: Server, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"urls\.txt:1: http://127\.0\.0\.1:9/x cannot be fetched"):
        fetch(Address("0" * 64, "http://127.0.0.1:9/x", "urls.txt:1"), tmp_path)


def test_blank_lines_and_remarks_are_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "urls.txt"
    path.write_text(f"# women, CC0\n\n{'AB' * 32}  https://example.org/a.jpg \n")
    assert read_addresses(path) == [Address("ab" * 32, "https://example.org/a.jpg", f"{path}:3")]


@pytest.mark.parametrize(
    "line", ["https://example.org/a.jpg", "abc https://example.org/a.jpg", f"{'a' * 64} ftp://example.org/a.jpg",
             f"{'a' * 64} https://example.org/a b.jpg", f"{'a' * 64} file:///etc/passwd"]
)  # fmt: skip
def test_a_line_that_is_no_address_is_refused_with_its_number(tmp_path: Path, line: str) -> None:
    path = tmp_path / "urls.txt"
    path.write_text(f"# remark\n{line}\n")
    with pytest.raises(UserError, match=r"urls\.txt:2: .* is not 'sha256 url'"):
        read_addresses(path)


def test_a_file_that_is_listed_twice_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "urls.txt"
    path.write_text(f"{'a' * 64} https://example.org/a\n{'A' * 64} https://example.org/b\n")
    with pytest.raises(UserError, match=r"urls\.txt:2: the same sha256 as .*urls\.txt:1"):
        read_addresses(path)


def test_a_list_that_is_missing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be read"):
        read_addresses(tmp_path / "urls.txt")
