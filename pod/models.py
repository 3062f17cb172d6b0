"""Model files by address, size and sha256: taken up where they broke off, skipped when present and right."""

import os
import shutil
import time
import urllib.error
import urllib.request
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.parse import quote

from pod.errors import PodError
from pod.files import CHUNK_BYTES, read_json, sha256_file, write_json
from pod.startup_settings import Model
from pod.table import RAN, SKIPPED

TIMEOUT_S = 30.0
ATTEMPTS = 4  # in a row that bring nothing
PAUSE_S = 1.0


class Seen:
    """What was hashed before: path -> (size, mtime, sha256), so that gigabytes are not read at every start."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.files: dict[str, Any] = read_json(path) or {}

    def sha256(self, file: Path) -> str:
        """The hash of a file, from memory when size and time are as they were."""
        stat, known = file.stat(), self.files.get(str(file))
        if known and [stat.st_size, stat.st_mtime_ns] == known[:2]:
            return str(known[2])
        return self.remember(file, sha256_file(file))

    def remember(self, file: Path, sha256: str) -> str:
        stat = file.stat()
        self.files[str(file)] = [stat.st_size, stat.st_mtime_ns, sha256]
        write_json(self.path, self.files)
        return sha256

    def first(self, file: Path) -> str:
        """The hash that was recorded for a file nobody publishes a hash of; empty: none yet."""
        return str((self.files.get(f"first {file}") or [""])[0])

    def keep_first(self, file: Path, sha256: str) -> None:
        self.files[f"first {file}"] = [sha256]
        write_json(self.path, self.files)


def bring(model: Model, folder: Path, mirror: str, seen: Seen) -> tuple[str, str]:
    """Have the file below ``folder``; status and why.

    Raises:
        PodError: when it cannot be had, or what came is another file.
    """
    target = folder / model.path
    wanted = model.sha256.lower() or seen.first(target)
    why = _fault(target, model, wanted, seen)
    if not why:
        return SKIPPED, "present and right"
    beside = target.with_name(f".{target.name}.part")
    beside.parent.mkdir(parents=True, exist_ok=True)
    resumed = beside.stat().st_size if beside.exists() else 0
    source = _source(model, mirror)
    _receive(source, beside, model.size, fresh=not wanted)
    found = sha256_file(beside)
    if wanted and found != wanted and resumed:
        beside.unlink()  # the piece that lay there may have been of another file: once more from the start
        _receive(source, beside, model.size, fresh=True)
        found = sha256_file(beside)
    if wanted and found != wanted:
        size = beside.stat().st_size
        beside.unlink()
        raise PodError(model.path, f"{source} has sha256 {found}, {size} bytes, not {wanted}", "check the address")
    os.replace(beside, target)
    seen.remember(target, found)
    if not wanted:
        seen.keep_first(target, found)
    began = f", taken up at {resumed / 1e6:.1f} MB" if resumed else ""
    note = "" if model.sha256 else f"; sha256 {found} is not pinned, put it into pod.toml"
    return RAN, f"{why}; {target.stat().st_size / 1e6:.1f} MB{began}{note}"


def _fault(target: Path, model: Model, wanted: str, seen: Seen) -> str:
    """What is wrong with what lies there; empty when it is right."""
    if not target.is_file():
        return "was not there"
    size = target.stat().st_size
    if model.size and size != model.size:
        return f"had {size} bytes instead of {model.size}"
    if wanted and seen.sha256(target) != wanted:
        return "had another sha256"
    return ""


def _source(model: Model, mirror: str) -> str:
    """An address, or the path of a file."""
    if mirror and "://" not in mirror:
        inside = Path(mirror).expanduser() / model.path
        return str(inside) if inside.is_file() else model.url
    return f"{mirror.rstrip('/')}/{quote(model.path)}" if mirror else model.url


def _receive(source: str, beside: Path, size: int, fresh: bool) -> None:
    if fresh or (size and beside.exists() and beside.stat().st_size > size):
        beside.unlink(missing_ok=True)
    if "://" not in source:
        if not Path(source).expanduser().is_file():
            raise PodError(source, "there is no such file")
        shutil.copyfile(Path(source).expanduser(), beside)
        return None
    tried, most = 0, _length(beside)
    while True:
        try:
            return _receive_once(source, beside, size)
        except (OSError, HTTPException) as error:
            tried = 1 if _length(beside) > most else tried + 1
            most = max(most, _length(beside))
            lasts = isinstance(error, urllib.error.HTTPError) and error.code < 500 and error.code not in (408, 429)
            if lasts or tried >= ATTEMPTS:
                raise PodError(source, f"cannot be fetched ({error})", "try again: what came is kept") from None
            time.sleep(PAUSE_S * 2 ** (tried - 1))


def _receive_once(url: str, beside: Path, size: int) -> None:
    """Ask for what is missing and append it."""
    have = _length(beside)
    if size and have == size:
        return
    request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})
    token = os.environ.get("HF_TOKEN", "")
    if token and url.startswith("https://huggingface.co/"):
        request.add_unredirected_header("Authorization", f"Bearer {token}")
    try:
        answer = urllib.request.urlopen(request, timeout=TIMEOUT_S)
    except urllib.error.HTTPError as error:
        if error.code == 416 and have:  # nothing follows: the file is whole, as far as this server knows
            return
        raise
    with answer, beside.open("ab") as stream:
        if have and answer.status != 206:
            stream.truncate(0)  # it knows no ranges
            have = 0
        expected = answer.headers.get("Content-Length")
        got = 0
        while chunk := answer.read(CHUNK_BYTES):
            stream.write(chunk)
            got += len(chunk)
        if expected is not None and got < int(expected):
            raise ConnectionError(f"broke off after {have + got} bytes")


def _length(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
