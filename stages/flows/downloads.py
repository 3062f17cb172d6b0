"""Files named by address and hash: checked before they count, taken up again where they broke off."""

import errno
import re
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from http.client import HTTPException
from pathlib import Path
from typing import Any

from stages.runtime.errors import UserError
from stages.runtime.files import replacing
from stages.runtime.progress import track
from stages.runtime.provenance import hash_file

TIMEOUT_S = 30.0
ATTEMPTS = 3  # counted anew when one brings more than there was
PAUSE_S = 1.0  # before the second attempt; doubled before each further one
CHUNK_BYTES = 1 << 20
PASSING = frozenset({408, 429})  # refusals that pass, as every answer of 500 and above
FULL = frozenset({errno.ENOSPC, errno.EDQUOT})

Advance = Callable[[int], None]
"""Told of every number of bytes that arrived; negative when they have to come again."""


@dataclass(frozen=True)
class Address:
    """Where a file lies and which one it must be."""

    sha256: str | None  # None: nobody could say
    url: str
    where: str  # who names it, for messages
    size: int | None = None  # bytes
    token: str = field(default="", repr=False)  # for the host of ``url`` alone


def ignore(_: int) -> None:
    """Nobody is told."""


def read_addresses(path: Path) -> list[Address]:
    """The lines ``sha256 url`` of a list; blank lines and lines that begin with # are passed over.

    Raises:
        UserError: naming the first line that is not one, or that repeats another.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(path, f"cannot be read ({error})", "a text file of lines 'sha256 url'") from None
    seen: dict[str, Address] = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        where = f"{path}:{number}"
        parts = line.split()
        if len(parts) != 2 or not re.fullmatch(r"[0-9a-fA-F]{64}", parts[0]) or not re.match(r"https?://", parts[1]):
            raise UserError(
                where, f"{line.strip()!r} is not 'sha256 url'", "64 hexadecimal digits, a blank, http(s)://..."
            )
        sha256 = parts[0].lower()
        if sha256 in seen:
            raise UserError(where, f"the same sha256 as {seen[sha256].where}", "remove one of the lines")
        seen[sha256] = Address(sha256, parts[1], where)
    return list(seen.values())


def fetch_all(addresses: Sequence[Address], folder: Path, workers: int) -> list[Path]:
    """Fetch what ``folder`` does not hold yet, ``workers`` at a time; files are named by their sha256.

    Raises:
        UserError: when one cannot be fetched or is not what its hash says.
    """
    with ThreadPoolExecutor(workers) as pool:
        found = pool.map(lambda address: fetch(address, folder), addresses)
        return list(track(found, "download", len(addresses), "file"))


def fetch(address: Address, folder: Path) -> Path:
    """The file of ``address`` in ``folder``, named by its sha256, fetched unless it lies there whole.

    Raises:
        UserError: when it cannot be fetched or is not what its hash says.
    """
    assert address.sha256 is not None
    path = folder / address.sha256
    if path.is_file() and hash_file(path) == address.sha256:
        return path
    with replacing(path) as beside:
        receive(address, beside)
    return path


def receive(address: Address, part: Path, advance: Advance = ignore) -> str:
    """Fetch to ``part``, going on from what lies there, and return the sha256 of the whole.

    What breaks off stays in ``part`` for the next time; what turns out to be another file is removed.  A file whose
    hash is not known begins anew: nothing could tell two halves of different files from one whole.

    Raises:
        UserError: when it cannot be fetched, cannot be written, or is not what its hash says.
    """
    part.parent.mkdir(parents=True, exist_ok=True)
    if address.sha256 is None or (address.size is not None and _length(part) > address.size):
        part.unlink(missing_ok=True)
    resumed = _length(part)
    advance(resumed)
    while True:
        _receive_patiently(address, part, advance)
        found = hash_file(part)
        if address.sha256 in (None, found):
            return found
        advance(-_length(part))
        part.unlink()
        if not resumed:
            what = f"{address.url} has sha256 {found}, not {address.sha256}"
            raise UserError(address.where, what, "the file has changed, or the mirror has another one: check it")
        resumed = 0  # the piece that lay there may have been of another file: once more from the start


def _length(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _receive_patiently(address: Address, part: Path, advance: Advance) -> None:
    """Ask until the file is whole; give up when ``ATTEMPTS`` in a row bring no more than there was."""
    tried, most = 0, _length(part)
    while True:
        try:
            return _receive(address, part, advance)
        except (OSError, HTTPException) as error:  # URLError and time-outs are OSErrors
            tried = 1 if _length(part) > most else tried + 1
            most = max(most, _length(part))
            if _lasts(error) or tried >= ATTEMPTS:
                what = f"{address.url} cannot be fetched ({error})"
                todo = "mend the address or try again; what was fetched is kept"
                raise UserError(address.where, what, todo) from None
        time.sleep(PAUSE_S * 2 ** (tried - 1))


def _lasts(error: Exception) -> bool:
    return isinstance(error, urllib.error.HTTPError) and error.code < 500 and error.code not in PASSING


def _receive(address: Address, part: Path, advance: Advance) -> None:
    have = _length(part)
    if have and have == address.size:
        return
    try:
        answer = urllib.request.urlopen(_request(address, have), timeout=TIMEOUT_S)
    except urllib.error.HTTPError as error:
        if error.code != 416 or not have:
            raise
        advance(-have)  # the server has no more than lies here: that is of another file, or whole already
        part.unlink()
        _receive(address, part, advance)
        return
    with answer:
        if have and answer.status != 206:  # it knows no ranges
            advance(-have)
            have = 0
        _write(address, answer, part, have, advance)


def _request(address: Address, have: int) -> urllib.request.Request:
    request = urllib.request.Request(address.url, headers={"User-Agent": "pistachio"})
    if address.token:  # unredirected: a store that the hub sends us on to must not see it
        request.add_unredirected_header("Authorization", f"Bearer {address.token}")
    if have:
        request.add_header("Range", f"bytes={have}-")
    return request


def _write(address: Address, answer: Any, part: Path, have: int, advance: Advance) -> None:
    promised = answer.headers.get("Content-Length")
    if address.size is not None and promised is not None and have + int(promised) != address.size:
        what = f"{address.url} has {have + int(promised)} bytes, not {address.size}"
        raise UserError(address.where, what, "the file has changed, or the mirror has another one: check it")
    written = 0
    try:
        with part.open("ab" if have else "wb") as file:
            while chunk := answer.read1(CHUNK_BYTES):
                file.write(chunk)
                written += len(chunk)
                advance(len(chunk))
    except OSError as error:
        if error.errno not in FULL:
            raise
        what = f"cannot be written ({error.strerror})"
        raise UserError(part, what, "make room; what was fetched is kept") from None
    if promised is not None and written < int(promised):
        raise ConnectionError(f"ended after {written} of {promised} bytes")
