"""The page of a review answers this machine's owner alone, and shows the pictures of one folder alone."""

import errno
import json
import os
import socket
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from batches import make_batch
from reviewing import Server, serve_review

SECRET = b"nobody else's business"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    top = tmp_path_factory.mktemp("top")
    (top / "secret.png").write_bytes(SECRET)
    (top / "secret.txt").write_bytes(SECRET)
    make_batch(top / "batch", 8, 48)
    (top / "batch/secret.txt").write_bytes(SECRET)
    return top / "batch"


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[Server]:
    with serve_review(folder) as started:
        yield started


def lines(folder: Path) -> int:
    path = folder / "votes.jsonl"
    return len(path.read_bytes().splitlines()) if path.exists() else 0


PATHS = ("", "page.css", "items/state", "items/report", "pictures/{picture}", "thumbs/{item}", "items/{item}/gate")


@pytest.mark.parametrize("path", PATHS)
def test_every_address_wants_the_token(server: Server, path: str) -> None:
    first = server.get("items/state")["items"][0]
    path = path.format(picture=first["pictures"][0], item=first["id"])
    assert server.ask("GET", f"/{server.token}/{path}")[0] == 200
    wrong = [server.token[:-1], server.token + "x", server.token.swapcase(), "", "x" * 32, f"x/../{server.token}"]
    for token in wrong:
        status, body, _ = server.ask("GET", f"/{token}/{path}")
        assert status == 403, token
        assert b"address" in body
    assert server.ask("GET", f"/{path}?token={server.token}")[0] == 403
    assert server.ask("GET", f"/{path}", headers={"Cookie": f"token={server.token}"})[0] == 403


def test_votes_want_the_token_too(server: Server, folder: Path) -> None:
    before = lines(folder)
    item = server.get("items/state")["items"][0]["id"]
    body = {"id": str(uuid.uuid4()), "item": item, "vote": "approve", "scores_shown": False, "milliseconds": 1}
    for path in ("/votes", "/x/votes", "/undo", "/x/undo"):
        assert server.ask("POST", path, json.dumps(body).encode())[0] == 403
    assert lines(folder) == before


def test_a_token_is_long_and_new_every_time(server: Server, folder: Path) -> None:
    assert len(server.token) >= 32
    with serve_review(folder) as other:
        assert other.token != server.token
        assert other.port != server.port


@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:{port}", "127.0.0.1", "127.0.0.1:1", "[::1]:{port}", "", "127.0.0.1:{port}.x"],
)
def test_a_foreign_name_that_leads_here_is_refused(server: Server, host: str) -> None:
    named = host.format(port=server.port)
    assert server.ask("GET", f"/{server.token}/items/state", headers={"Host": named})[0] == 421


def test_two_names_or_none_are_refused(server: Server) -> None:
    for hosts in ([], [f"127.0.0.1:{server.port}", "evil.example"]):
        names = "".join(f"Host: {host}\r\n" for host in hosts)
        with socket.create_connection((server.host, server.port), timeout=10) as door:
            door.sendall(f"GET /{server.token}/items/state HTTP/1.1\r\n{names}Connection: close\r\n\r\n".encode())
            assert door.recv(4096).split()[1] in (b"400", b"421")


def test_localhost_is_this_machine_too(server: Server) -> None:
    headers = {"Host": f"localhost:{server.port}", "Origin": f"http://localhost:{server.port}"}
    assert server.ask("GET", f"/{server.token}/items/state", headers=headers)[0] == 200


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://127.0.0.1:1", "http://127.0.0.1"])
def test_another_page_cannot_vote(server: Server, folder: Path, origin: str) -> None:
    before = lines(folder)
    status, _, _ = server.ask("POST", f"/{server.token}/undo", b"{}", headers={"Origin": origin})
    assert status == 403
    assert lines(folder) == before


def test_it_listens_on_loopback_alone(server: Server) -> None:
    assert server.host == "127.0.0.1"
    table = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    listening = [
        row[1].split(":")[0] for row in table if row[3] == "0A" and int(row[1].split(":")[1], 16) == server.port
    ]
    assert listening == ["0100007F"]


@pytest.mark.parametrize(
    "path",
    [
        "../secret.png", "../../secret.png", "..%2fsecret.png", "%2e%2e/secret.png", "%2e%2e%2fsecret.png",
        "..%252fsecret.png", "....//secret.png", "..\\secret.png", "..%5csecret.png", "%00secret.png", "secret.txt",
        "//etc/passwd", "/etc/passwd", "file:///etc/passwd", "approved/../../secret.png", "votes.jsonl",
        "%c0%ae%c0%ae/x",
    ],
)  # fmt: skip
@pytest.mark.parametrize("place", ["", "pictures/", "thumbs/"])
def test_no_path_leads_to_a_file(server: Server, place: str, path: str) -> None:
    status, body, _ = server.ask("GET", f"/{server.token}/{place}{path}")
    assert status in (400, 403, 404)
    assert SECRET not in body
    assert b"root:" not in body


def test_a_picture_that_became_a_link_out_is_not_shown(tmp_path: Path) -> None:
    make_batch(tmp_path / "batch", 8, 48)
    with serve_review(tmp_path / "batch") as server:
        (tmp_path / "secret.png").write_bytes(SECRET)
        for path in list((tmp_path / "batch").glob("*/*.png")):
            path.unlink()
            path.symlink_to(tmp_path / "secret.png")
        for item in server.get("items/state")["items"]:
            for place in (f"pictures/{item['pictures'][0]}", f"thumbs/{item['id']}"):
                status, body, _ = server.ask("GET", f"/{server.token}/{place}")
                assert status == 409
                assert SECRET not in body


def test_a_body_that_is_too_long_is_refused(server: Server, folder: Path) -> None:
    before = lines(folder)
    path = f"/{server.token}/votes"
    assert server.ask("POST", path, b'{"id": "' + b"x" * 5000 + b'"}')[0] == 413
    for length in ("99999999999999999999", "-1", "1e3"):
        assert server.ask("POST", path, b"{}", headers={"Content-Length": length})[0] in (400, 413)
    chunk = b"1000\r\n" + b"x" * 4096 + b"\r\n"
    status, _, _ = server.ask("POST", path, chunk * 3 + b"0\r\n\r\n", headers={"Transfer-Encoding": "chunked"})
    assert status == 413
    assert lines(folder) == before
    assert server.ask("GET", f"/{server.token}/items/state")[0] == 200


@pytest.mark.parametrize(
    "body",
    [
        b"", b"{", b"[]", b"null", b'"x"', b"\xff\xfe", b"{}", b"[" * 4000, b'{"a":' * 800, b"1" * 4000, b'{"id": NaN}',
        b'{"id": 1, "item": 2, "vote": 3, "scores_shown": 4, "milliseconds": 5}',
    ],
)  # fmt: skip
def test_a_body_that_is_no_vote_is_refused(server: Server, folder: Path, body: bytes) -> None:
    before = lines(folder)
    for path in ("votes", "undo"):
        status, said, _ = server.ask("POST", f"/{server.token}/{path}", body)
        assert status in (400, 422), said
        assert b"Traceback" not in said
    assert lines(folder) == before


@pytest.mark.parametrize(
    "change",
    [
        {"vote": "undo"}, {"vote": "left"}, {"vote": "x"}, {"item": "0" * 16}, {"item": "../x"}, {"item": "x" * 100},
        {"id": "x"}, {"id": "../" * 4}, {"milliseconds": -1}, {"milliseconds": 10**12}, {"milliseconds": "1"},
        {"voter": "ada"}, {"time": "2030-01-01"}, {"scores_shown": "no"}, {"id": "abcdef12\n"},
    ],
    ids=str,
)  # fmt: skip
def test_a_vote_that_does_not_follow_the_schema_is_refused(
    server: Server, folder: Path, change: dict[str, object]
) -> None:
    before = lines(folder)
    item = server.get("items/state")["items"][0]["id"]
    body = {"id": str(uuid.uuid4()), "item": item, "vote": "approve", "scores_shown": False, "milliseconds": 1}
    status, _ = server.post("votes", **(body | change))
    assert status in (409, 422)
    assert lines(folder) == before


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "BREW"])
def test_other_methods_do_nothing(server: Server, folder: Path, method: str) -> None:
    before = lines(folder)
    assert server.ask(method, f"/{server.token}/votes", b"{}")[0] in (400, 405)
    assert lines(folder) == before


def test_every_answer_carries_the_headers(server: Server) -> None:
    for path in (f"/{server.token}/", f"/{server.token}/items/state", f"/{server.token}/nothing", "/", "/docs"):
        _, _, headers = server.ask("GET", path)
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "http" not in policy
        assert headers["cache-control"] == "no-store"
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cross-origin-resource-policy"] == "same-origin"
        assert "access-control-allow-origin" not in headers


def test_the_state_says_nothing_of_the_gate_s_verdict(server: Server, folder: Path) -> None:
    text = json.dumps(server.get("items/state"))
    for word in ("approved", "rejected", "similarity", "p00_s", str(folder)):
        assert word not in text


def test_a_full_disk_is_an_answer_and_not_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_batch(tmp_path / "batch", 4, 48)
    with serve_review(tmp_path / "batch") as server:
        item, again = server.get("items/state")["items"][0]["id"], str(uuid.uuid4())

        def full(_: int) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        with monkeypatch.context() as disk:
            disk.setattr(os, "fsync", full)
            status, said = server.vote(item, "approve", vote_id=again)
        assert status == 507
        assert "make room" in said["what"]
        assert server.get("items/state")["items"][0]["vote"] is None
        assert server.vote(item, "approve", vote_id=again)[0] == 200
    assert lines(tmp_path / "batch") == 1
