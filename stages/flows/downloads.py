"""Files named by their hash and address: fetched whole, checked, and kept, so that an interrupted list goes on."""

import re
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path

from stages.runtime.errors import UserError
from stages.runtime.files import replacing
from stages.runtime.progress import track
from stages.runtime.provenance import hash_file

TIMEOUT_S = 30.0
ATTEMPTS = 3
PAUSE_S = 1.0  # before the second attempt; doubled before each further one
CHUNK_BYTES = 1 << 20


@dataclass(frozen=True)
class Address:
    """One line of a list: where a file lies and which one it must be."""

    sha256: str
    url: str
    where: str  # file and line, for messages


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
        address = Address(parts[0].lower(), parts[1], where)
        if address.sha256 in seen:
            raise UserError(where, f"the same sha256 as {seen[address.sha256].where}", "remove one of the lines")
        seen[address.sha256] = address
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
    """The file of ``address`` in ``folder``, fetched unless it lies there whole.

    Raises:
        UserError: when it cannot be fetched or is not what its hash says.
    """
    path = folder / address.sha256
    if path.is_file() and hash_file(path) == address.sha256:
        return path
    with replacing(path) as beside:
        _receive_patiently(address, beside)
        found = hash_file(beside)
        if found != address.sha256:
            what = f"{address.url} has sha256 {found}, not {address.sha256}"
            raise UserError(address.where, what, "the file has changed: check it and mend the line")
    return path


def _receive_patiently(address: Address, path: Path) -> None:
    for attempt in range(ATTEMPTS):
        try:
            return _receive(address.url, path)
        except (OSError, HTTPException) as error:  # URLError and time-outs are OSErrors
            lasting = isinstance(error, urllib.error.HTTPError) and error.code < 500
            if lasting or attempt == ATTEMPTS - 1:
                what = f"{address.url} cannot be fetched ({error})"
                raise UserError(
                    address.where, what, "mend the address or try again; what was fetched is kept"
                ) from None
        time.sleep(PAUSE_S * 2**attempt)
    raise AssertionError("the last attempt returns or raises")


def _receive(url: str, path: Path) -> None:
    request = urllib.request.Request(url, headers={"User-Agent": "pistachio"})
    with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer, path.open("wb") as file:
        while chunk := answer.read(CHUNK_BYTES):
            file.write(chunk)
        promised = answer.headers.get("Content-Length")
        if promised is not None and file.tell() < int(promised):
            raise ConnectionError(f"ended after {file.tell()} of {promised} bytes")
