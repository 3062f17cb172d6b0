"""Files are fetched from a real server on loopback, checked by their hash, and fetched once."""

import hashlib
from collections.abc import Iterator
from email.message import Message
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import quote

import pytest
from web import Web, serve

from stages.flows import downloads
from stages.flows.downloads import Address, fetch, fetch_all, read_addresses, receive
from stages.runtime.errors import UserError

FILES = {f"/{number} ü.png": bytes([number]) * 70_000 for number in range(4)}


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Web]:
    monkeypatch.setattr(downloads, "PAUSE_S", 0.01)
    with serve() as web:
        web.files |= FILES
        yield web


def listed(server: Web) -> list[Address]:
    return [
        Address(hashlib.sha256(body).hexdigest(), server.address + quote(path), f"urls.txt:{number}")
        for number, (path, body) in enumerate(FILES.items(), start=1)
    ]


def test_a_list_is_fetched_in_its_order_and_never_twice(server: Web, tmp_path: Path) -> None:
    paths = fetch_all(listed(server), tmp_path / "cache", workers=3)
    assert [path.read_bytes() for path in paths] == list(FILES.values())
    assert fetch_all(listed(server), tmp_path / "cache", workers=3) == paths
    assert set(server.asked.values()) == {1}


def test_a_file_that_rotted_in_the_cache_is_fetched_again(server: Web, tmp_path: Path) -> None:
    (address, *_) = listed(server)
    path = fetch(address, tmp_path)
    path.write_bytes(b"rotten")
    assert fetch(address, tmp_path).read_bytes() == FILES["/0 ü.png"]


def test_another_file_than_the_hash_says_is_refused_and_not_kept(server: Web, tmp_path: Path) -> None:
    address = Address("0" * 64, listed(server)[1].url, "urls.txt:2")
    with pytest.raises(UserError, match=r"urls\.txt:2: .* has sha256 [0-9a-f]{64}, not 0000"):
        fetch(address, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_what_was_fetched_before_a_failure_is_kept_for_the_next_time(server: Web, tmp_path: Path) -> None:
    good = listed(server)
    with pytest.raises(UserError, match=r"urls\.txt:9: .*404"):
        fetch_all([*good, Address("1" * 64, f"{server.address}/nothing", "urls.txt:9")], tmp_path, workers=1)
    assert server.asked["/nothing"] == 1  # what is not there does not come by asking again
    fetch_all(good, tmp_path, workers=1)
    assert all(server.asked[path] == 1 for path in FILES)


def test_a_server_that_fails_or_hangs_up_is_asked_again_but_not_forever(server: Web, tmp_path: Path) -> None:
    server.knows_ranges = False
    first, second, third, _ = listed(server)
    paths = list(FILES)
    server.failures[paths[0]] = 1
    server.cuts[paths[1]] = [1000, 1000]
    server.cuts[paths[2]] = [1000] * 9
    assert fetch(first, tmp_path).read_bytes() == FILES[paths[0]]
    assert fetch(second, tmp_path).read_bytes() == FILES[paths[1]]
    with pytest.raises(UserError, match=r"urls\.txt:3: .*ended after 1000 of 70000 bytes"):
        fetch(third, tmp_path)
    assert server.asked[paths[2]] == 3
    assert len(list(tmp_path.iterdir())) == 2


def test_a_server_that_hangs_up_is_asked_for_the_rest_as_long_as_it_brings_some(server: Web, tmp_path: Path) -> None:
    path, body = next(iter(FILES.items()))
    server.cuts[path] = [10_000] * 6
    assert fetch(listed(server)[0], tmp_path).read_bytes() == body
    assert server.ranges == [f"{path} {have}" for have in range(10_000, 70_000, 10_000)]


def part_of(tmp_path: Path, content: bytes) -> Path:
    part = tmp_path / "file.part"
    part.write_bytes(content)
    return part


def test_what_lies_there_is_not_fetched_again(server: Web, tmp_path: Path) -> None:
    address, told = listed(server)[1], list[int]()
    body = FILES["/1 ü.png"]
    part = part_of(tmp_path, body[:30_000])
    assert receive(address, part, told.append) == address.sha256
    assert part.read_bytes() == body
    assert server.ranges == ["/1 ü.png 30000"]
    assert (told[0], sum(told)) == (30_000, 70_000)


@pytest.mark.parametrize("lying", [b"another" * 100, b"too long" * 20_000], ids=["another file's", "too long"])
def test_a_piece_of_another_file_costs_one_more_try_and_spoils_nothing(
    server: Web, tmp_path: Path, lying: bytes
) -> None:
    address, told = listed(server)[2], list[int]()
    part = part_of(tmp_path, lying)
    assert receive(address, part, told.append) == address.sha256
    assert part.read_bytes() == FILES["/2 ü.png"]
    assert sum(told) == 70_000


def test_a_server_without_ranges_sends_the_whole_again(server: Web, tmp_path: Path) -> None:
    server.knows_ranges = False
    part = part_of(tmp_path, FILES["/3 ü.png"][:500])
    told = list[int]()
    receive(listed(server)[3], part, told.append)
    assert part.read_bytes() == FILES["/3 ü.png"]
    assert sum(told) == 70_000


def test_a_file_whose_hash_nobody_knows_begins_anew(server: Web, tmp_path: Path) -> None:
    part = part_of(tmp_path, b"half of something")
    found = receive(Address(None, listed(server)[1].url, "here"), part)
    assert found == listed(server)[1].sha256
    assert server.ranges == []


def test_another_length_than_the_known_one_is_refused_before_it_is_fetched(server: Web, tmp_path: Path) -> None:
    known = listed(server)[0]
    address = Address(known.sha256, known.url, "conf", size=60_000)
    part = part_of(tmp_path, b"")
    with pytest.raises(UserError, match="has 70000 bytes, not 60000"):
        receive(address, part)
    assert part.read_bytes() == b""


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_full_disk_is_said_at_once(server: Web, tmp_path: Path) -> None:
    part = tmp_path / "file.part"
    part.symlink_to("/dev/full")
    with pytest.raises(UserError, match=r"file\.part: cannot be written \(No space left on device\); make room"):
        receive(listed(server)[0], part)
    assert server.asked["/0 ü.png"] == 1


def test_a_token_goes_to_the_host_it_is_for_and_not_where_that_sends_us(server: Web, tmp_path: Path) -> None:
    with serve() as store:
        store.files["/blob"] = FILES["/0 ü.png"]
        server.redirects["/gated"] = f"{store.address}/blob"
        address = Address(listed(server)[0].sha256, f"{server.address}/gated", "conf", token="secret")
        receive(address, tmp_path / "file.part")
        assert server.tokens["/gated"] == "Bearer secret"
        assert store.tokens["/blob"] == ""
    assert "secret" not in repr(address)


def test_a_server_that_is_not_there_is_named(server: Web, tmp_path: Path) -> None:
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


@pytest.mark.parametrize(("code", "asked"), [(408, 3), (429, 3), (500, 3), (503, 3), (403, 1), (404, 1), (410, 1)])
def test_refusals_that_pass_are_asked_again_and_those_that_last_are_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, asked: int
) -> None:
    waits: list[float] = []
    tried: list[int] = []

    def refuse(address: Address, part: Path, advance: downloads.Advance) -> None:
        tried.append(code)
        raise HTTPError(address.url, code, "no", Message(), None)

    monkeypatch.setattr(downloads, "_receive", refuse)
    monkeypatch.setattr(downloads.time, "sleep", waits.append)
    with pytest.raises(UserError, match=f"urls.txt:7: http://x/a cannot be fetched .HTTP Error {code}"):
        receive(Address("0" * 64, "http://x/a", "urls.txt:7"), tmp_path / "part")
    assert len(tried) == asked
    assert waits == [1.0, 2.0][: asked - 1]
