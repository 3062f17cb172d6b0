"""The archive of a backup: tar.gz, its manifest first, every file with size and sha256, and nothing that is not listed.

manifest.json is {"made_at": ..., "sha256": ..., "body": {...}}: the sha256 is of the body as canonical JSON, and
``made_at`` is the only clock, outside of it.  So the same files have the same hash whenever they are backed up.
"""

import gzip
import hashlib
import io
import json
import os
import tarfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import IO, Any

from pod.errors import PodError
from pod.files import CHUNK_BYTES

FORMAT = "pistachio-backup-1"
MANIFEST = "manifest.json"
MOST_MANIFEST_BYTES = 64 << 20
SPOILT = (OSError, EOFError, zlib.error, tarfile.TarError, ValueError, KeyError, TypeError)


class Damaged(Exception):
    """An archive that must not be trusted; the message says where it is wrong."""


@dataclass(frozen=True)
class Source:
    """One file to be packed: from the disk, or bytes that were asked of a server."""

    path: Path | None = None
    data: bytes = b""

    @contextmanager
    def open(self) -> Iterator[IO[bytes]]:
        """Its bytes."""
        stream: IO[bytes] = io.BytesIO(self.data) if self.path is None else self.path.open("rb")
        with stream:
            yield stream

    @property
    def executable(self) -> bool:
        """Whether it may be run."""
        return self.path is not None and os.name != "nt" and bool(self.path.stat().st_mode & 0o100)


def describe(sources: Mapping[str, Source], facts: Mapping[str, Any]) -> dict[str, Any]:
    """The manifest's body: every file, and ``facts`` (LoRAs, nodes) that are no files of the archive."""
    files = []
    for name in sorted(sources):
        with sources[name].open() as stream:
            size, digest = _measure(stream)
        files.append({"path": name, "size": size, "sha256": digest, "executable": sources[name].executable})
    return {"format": FORMAT, "files": files, **facts}


def body_hash(body: Mapping[str, Any]) -> str:
    """The sha256 by which a backup is known."""
    return hashlib.sha256(json.dumps(body, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def write_archive(path: Path, sources: Mapping[str, Source], body: Mapping[str, Any], made_at: str) -> None:
    """Pack everything, whole or not at all.

    Raises:
        PodError: when a file changes while it is packed.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}.part")
    manifest = json.dumps({"made_at": made_at, "sha256": body_hash(body), "body": body}, indent=1, sort_keys=True)
    try:
        with (
            beside.open("wb") as raw,
            gzip.GzipFile("", "wb", fileobj=raw, mtime=0) as packed,
            tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as tar,
        ):
            _add(tar, MANIFEST, io.BytesIO(manifest.encode()), len(manifest.encode()), False)
            for entry in body["files"]:
                with sources[entry["path"]].open() as stream:
                    _add(tar, entry["path"], stream, entry["size"], entry["executable"])
        read_archive(beside)
        os.replace(beside, path)
    except (Damaged, OSError) as error:
        raise PodError(
            path, f"was not written ({error})", "run it again when nothing writes to the workspace"
        ) from None
    finally:
        beside.unlink(missing_ok=True)


def _add(tar: tarfile.TarFile, name: str, stream: IO[bytes], size: int, executable: bool) -> None:
    member = tarfile.TarInfo(name)  # time 0, owner 0, no names: only what the manifest says
    member.size, member.mode = size, 0o755 if executable else 0o644
    tar.addfile(member, stream)


def read_archive(path: Path, take: Callable[[dict[str, Any], IO[bytes]], None] | None = None) -> dict[str, Any]:
    """The manifest of an archive after every byte of it was found right.

    Args:
        path: the archive.
        take: is given every file's entry and a stream of its bytes; without it they are only hashed.

    Raises:
        Damaged: when anything is missing, added, altered, or named so that it would leave the folder.
    """
    try:
        with gzip.open(path, "rb") as packed, tarfile.open(fileobj=packed, mode="r|") as tar:
            members = iter(tar)
            manifest = _read_manifest(tar, next(members, None))
            wanted = {entry["path"]: entry for entry in manifest["body"]["files"]}
            for member in members:
                entry = wanted.pop(member.name, None)
                if entry is None or not member.isreg():
                    raise Damaged(f"{member.name} is not in the manifest, twice there, or no file")
                stream = tar.extractfile(member)
                assert stream is not None
                _check(entry, _Hashed(stream), take)
            while rest := packed.read(CHUNK_BYTES):  # to the end, where gzip's own checksum is
                if rest.strip(b"\0"):
                    raise Damaged("there is more behind its end")
    except SPOILT as error:
        raise Damaged(f"{type(error).__name__}: {error}") from None
    if wanted:
        raise Damaged(f"{sorted(wanted)[0]} is in the manifest and not in the archive")
    return manifest


def _read_manifest(tar: tarfile.TarFile, member: tarfile.TarInfo | None) -> dict[str, Any]:
    if member is None or member.name != MANIFEST or member.size > MOST_MANIFEST_BYTES:
        raise Damaged("does not begin with a manifest")
    stream = tar.extractfile(member)
    assert stream is not None
    manifest: dict[str, Any] = json.loads(stream.read())
    if manifest["body"]["format"] != FORMAT:
        raise Damaged(f"format {manifest['body']['format']!r} is not {FORMAT}")
    if body_hash(manifest["body"]) != manifest["sha256"]:
        raise Damaged("the manifest is not as it was written")
    for entry in manifest["body"]["files"]:
        if not is_safe(entry["path"]):
            raise Damaged(f"{entry['path']} would leave the folder")
    return manifest


def is_safe(name: str) -> bool:
    """Whether a name stays in the folder that it is unpacked to, here and on Windows."""
    posix, windows = PurePosixPath(name), PureWindowsPath(name)
    return bool(name) and not (posix.is_absolute() or windows.drive or windows.root or "\\" in name or "\0" in name
                               or ".." in posix.parts or posix.as_posix() != name)  # fmt: skip


class _Hashed(io.RawIOBase):
    """A stream that hashes what is read from it."""

    def __init__(self, stream: IO[bytes]) -> None:
        self.stream, self.digest, self.size = stream, hashlib.sha256(), 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self.stream.read(len(buffer))
        buffer[: len(data)] = data
        self.digest.update(data)
        self.size += len(data)
        return len(data)


def _check(entry: dict[str, Any], stream: _Hashed, take: Callable[[dict[str, Any], IO[bytes]], None] | None) -> None:
    if take is not None:
        take(entry, stream)  # type: ignore[arg-type]
    while stream.read(CHUNK_BYTES):
        pass
    if (stream.size, stream.digest.hexdigest()) != (entry["size"], entry["sha256"]):
        raise Damaged(f"{entry['path']} is not as the manifest says")


def _measure(stream: IO[bytes]) -> tuple[int, str]:
    hashed = _Hashed(stream)
    while hashed.read(CHUNK_BYTES):
        pass
    return hashed.size, hashed.digest.hexdigest()
