"""Where DVC keeps objects: the cache and the remotes, each listed, read and written in the same few ways."""

import os
import re
import shutil
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stages.flows.storage_errors import explaining, patience, probe
from stages.runtime.errors import UserError, one_line
from stages.runtime.files import replacing

if TYPE_CHECKING:
    from dvc.repo import Repo

# DVC promises none of what is used here (Repo, Repo.cloud, HashFileDB.oid_to_path, FileSystem.fs).  It was read in
# dvc 3.67.1, dvc-data 3.18.3 and dvc-objects 5.2.0, which constraints.txt pins; tests/flows/test_fsck.py sees changes.

OBJECT = re.compile(r"[0-9a-f]{32}(\.dir)?")
CHUNK_BYTES = 1 << 20
RANGE_BYTES = 8 << 20  # one request to a remote
PART_BYTES = 16 << 20  # one part of a large upload, held in memory
PROTECTED = 0o444  # what DVC gives an object that it believes in
DAMAGED = "damaged"


@dataclass(frozen=True)
class Held:
    """An object as a store lists it, not yet read."""

    size: int  # bytes
    stamp: str  # another one when the object was written anew


@dataclass(frozen=True)
class Copy:
    """A copy of an object, to be read."""

    where: str
    read: Callable[[], Iterator[bytes]]  # pieces that fit into memory
    path: Path | None  # on this machine


@dataclass
class FolderStore:
    """A folder of this machine: the cache, or a remote that is a folder."""

    name: str
    folder: Path  # files/md5 of the cache or remote
    aside: Path  # where to move what is damaged: DVC must not look there

    def list_prefixes(self) -> list[str]:
        """The first two digits of whatever objects are here."""
        if not self.folder.is_dir():
            return []
        return sorted(path.name for path in self.folder.iterdir() if re.fullmatch(r"[0-9a-f]{2}", path.name))

    def list_objects(self, prefix: str) -> dict[str, Held]:
        """The objects whose names begin with the two digits ``prefix``."""
        try:
            entries = list(os.scandir(self.folder / prefix))
        except FileNotFoundError:
            return {}
        found = {}
        for entry in entries:
            oid = prefix + entry.name
            if OBJECT.fullmatch(oid) and entry.is_file():
                status = entry.stat()
                found[oid] = Held(status.st_size, f"{status.st_size}-{status.st_mtime_ns}-{status.st_ino}")
        return found

    def copy_of(self, oid: str, size: int) -> Copy:
        """The object as it is here, ``size`` bytes by its listing."""
        return file_copy(self._place(oid), self.name)

    def write_object(self, oid: str, copy: Copy) -> None:
        """Put an object in its place, whole or not at all."""
        place = self._place(oid)
        with replacing(place) as beside:
            with beside.open("wb") as stream:
                for chunk in copy.read():
                    stream.write(chunk)
                stream.flush()
                os.fsync(stream.fileno())
            beside.chmod(PROTECTED)
            if place.exists():
                place.chmod(stat.S_IRUSR | stat.S_IWUSR)  # Windows replaces no read-only file

    def set_aside(self, oid: str) -> str:
        """Move an object to where DVC does not look; returns where that is."""
        place = self._place(oid)
        self.aside.mkdir(parents=True, exist_ok=True)
        target = next(path for path in (self.aside / name for name in _names(oid)) if not path.exists())
        place.chmod(stat.S_IRUSR | stat.S_IWUSR)
        shutil.move(place, target)
        return target.as_posix()

    def _place(self, oid: str) -> Path:
        return self.folder / oid[:2] / oid[2:]


@dataclass
class CloudStore:
    """A remote behind a network, through DVC's own file system for it; the same methods as ``FolderStore``."""

    name: str
    odb: Any  # dvc_data.hashfile.db.HashFileDB

    def list_objects(self, prefix: str) -> dict[str, Held]:
        """The objects whose names begin with the two digits ``prefix``."""
        fs = self.odb.fs
        fs.fs.invalidate_cache()  # fsspec remembers listings, and not what was repaired since
        with explaining(self.name):
            try:
                listing = fs.fs.find(fs.join(self.odb.path, prefix), detail=True, **patience(fs.fs))
            except FileNotFoundError:
                return {}
        found = {}
        for path, info in listing.items():
            oid = prefix + fs.name(path)
            if OBJECT.fullmatch(oid):
                found[oid] = Held(int(info["size"]), f"{info['size']}-{info.get('ETag') or info.get('mtime')}")
        return found

    def copy_of(self, oid: str, size: int) -> Copy:
        """The object as it is there, ``size`` bytes by its listing."""
        return Copy(self.name, lambda: self._read(self.odb.oid_to_path(oid), size), None)

    def _read(self, place: str, size: int) -> Iterator[bytes]:
        fs = self.odb.fs.fs
        for start in range(0, size, RANGE_BYTES):
            end = min(start + RANGE_BYTES, size)
            with explaining(self.name):
                piece = fs.cat_file(place, start=start, end=end, **patience(fs, end - start))
            yield piece

    def write_object(self, oid: str, copy: Copy) -> None:
        """Put an object in its place, whole or not at all."""
        assert copy.path is not None, "remotes are mended from this machine"
        # s3fs would hold ten parts of 50 MB in memory.
        fs, parts = self.odb.fs.fs, {"chunksize": PART_BYTES, "max_concurrency": 1}
        options = (parts if self.odb.fs.protocol == "s3" else {}) | patience(fs, copy.path.stat().st_size)
        with explaining(self.name):
            fs.put_file(str(copy.path), self.odb.oid_to_path(oid), **options)

    def set_aside(self, oid: str) -> str:
        """Move an object to where DVC does not look, copied before it is removed; returns where that is."""
        fs, place = self.odb.fs, self.odb.oid_to_path(oid)
        folder = fs.join(fs.parent(fs.parent(self.odb.path)), DAMAGED)
        cloud, limit = fs.fs, patience(fs.fs)
        with explaining(self.name):
            places = (fs.join(folder, name) for name in _names(oid))
            target = next(path for path in places if not cloud.exists(path, **limit))
            fs.makedirs(folder)
            size = cloud.info(place, **limit)["size"]
            cloud.cp_file(place, target, **patience(cloud, size))
            cloud.invalidate_cache()
            if cloud.info(target, **limit)["size"] != size:
                raise UserError(target, "is not what was copied there", f"nothing was removed; look at {place}")
            cloud.rm_file(place, **limit)
        return str(fs.unstrip_protocol(target))


Store = FolderStore | CloudStore


def _names(oid: str) -> Iterator[str]:
    """Names for a damaged object: what was set aside before stays, too."""
    yield oid
    yield from (f"{oid}.{number}" for number in range(1, 1000))


def file_copy(path: Path, where: str) -> Copy:
    """A file as a copy of an object."""

    def read() -> Iterator[bytes]:
        with path.open("rb") as stream:
            while chunk := stream.read(CHUNK_BYTES):
                yield chunk

    return Copy(where, read, path)


@contextmanager
def open_repo() -> Iterator["Repo"]:
    """The DVC repository around the folder that the command was started in.

    Raises:
        UserError: when there is none, or its settings cannot be read.
    """
    from dvc.config import ConfigError
    from dvc.exceptions import NotDvcRepoError
    from dvc.repo import Repo

    try:
        repo = Repo()
    except NotDvcRepoError:
        raise UserError(Path.cwd(), "no DVC repository", "start the command in a workspace (pistachio init)") from None
    except ConfigError as error:
        raise UserError(".dvc/config", one_line(str(error)), "mend it") from None
    with repo:
        yield repo


def open_cache(repo: "Repo") -> FolderStore:
    """The local cache."""
    return FolderStore("cache", Path(repo.cache.local.path), damaged_folder(repo))


def damaged_folder(repo: "Repo") -> Path:
    """Where damaged objects of the cache are kept."""
    return work_folder(repo) / DAMAGED


def work_folder(repo: "Repo") -> Path:
    """What fsck writes beside objects: ignored by git, in no one's way."""
    assert repo.tmp_dir is not None
    return Path(repo.tmp_dir) / "fsck"


def choose_remote(repo: "Repo", name: str | None) -> str | None:
    """The remote that is meant: ``name``, or the default one; None where there is no default."""
    return (name or repo.config["core"].get("remote") or "").lower() or None


def open_remote(repo: "Repo", name: str) -> Store:
    """A remote that answers.

    Raises:
        UserError: when there is no such remote, it is of a kind that cannot be checked, or nobody answers.
    """
    from dvc.config import ConfigError
    from dvc.fs import RemoteMissingDepsError

    settings = repo.config["remote"].get(name)
    if settings is None:
        known = ", ".join(sorted(repo.config["remote"])) or "none"
        raise UserError(f"remote {name}", f"not in .dvc/config (known: {known})", "pistachio remote add URL")
    if endpoint := settings.get("endpointurl"):
        probe(name, endpoint)
    try:
        with explaining(name):
            odb = repo.cloud.get_remote_odb(name)
            local = odb.fs.protocol == "local"
            odb.fs.fs  # noqa: B018  connects
    except RemoteMissingDepsError as error:
        raise UserError(f"remote {name}", one_line(str(error)), "install it") from None
    except ConfigError as error:
        raise UserError(f"remote {name}", one_line(str(error)), "use a plain remote") from None
    if not local:
        return CloudStore(name, odb)
    return FolderStore(name, Path(odb.path), Path(odb.path).parents[1] / DAMAGED)
