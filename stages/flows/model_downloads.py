"""Fetch a model of conf/models: its folder appears whole and checked, or not at all."""

import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from threading import Event
from urllib.parse import quote

from filelock import FileLock, Timeout
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from stages.contracts.models import Hash, Model, Part, read_seen, write_seen
from stages.contracts.paths import REGISTRY, SEEN
from stages.flows.downloads import CHUNK_BYTES, FULL, Address, Advance, receive
from stages.flows.models import fault, find_missing, find_unwritten, record_path, remember
from stages.runtime.errors import UserError
from stages.runtime.files import write_text
from stages.runtime.provenance import hash_file

HUB = "https://huggingface.co"
PARALLEL = 3  # files at once
PARTIAL = ".part"


@dataclass(frozen=True)
class Origin:
    """Where files are taken from, when not from where conf/models says."""

    mirror: str | None = None  # address of a folder that is laid out as models/
    local: Path | None = None  # a file or a folder of this machine


def get_models(models: Mapping[str, Model], origin: Origin, say: Callable[[str], None]) -> None:
    """Fetch what is missing of every model, one model after the other, with progress on standard error.

    Raises:
        UserError: at the first model that cannot be fetched; those before it are there.
    """
    console = Console(stderr=True)
    for name, model in models.items():
        missing = find_missing(name, model)
        if not missing and not find_unwritten(model):
            say(f"{name}: is here, {model.folder}")
            continue
        size = sum(part.size or 0 for part in missing.values())
        say(f"{name}: {len(missing)} files, {size / 1e9:.2f} GB, licence: {model.licence}")
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            DownloadColumn(),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
            task = progress.add_task(name, total=size or None)
            new = get_model(name, model, missing, origin, partial(progress.advance, task))
        say(f"{name}: {model.folder}")
        if new:
            what = f"{len(new)} files are not pinned in {REGISTRY / name}.yaml"
            say(f"warning: {name}: {what}; their hashes are kept in {SEEN}: commit it")


class _Stopped(Exception):  # noqa: N818
    """Another file has failed, or the user has had enough."""


def get_model(name: str, model: Model, missing: Mapping[str, Part], origin: Origin, advance: Advance) -> list[str]:
    """Bring the files ``missing`` beside the folder, check them, and move them into place together.

    Returns the files that conf/models does not pin, seen for the first time; models/seen.json has their hashes now.

    Raises:
        UserError: when a file cannot be brought or is another one; what was brought whole is kept for the next time.
    """
    with _alone(model):
        staging = model.folder.with_name(f".{model.folder.name}{PARTIAL}")
        _check_room(missing, staging)
        found = _bring_all(name, model, missing, origin, staging, advance)
        for path, text in model.written().items():
            write_text(staging / path, text)
        new = {path: found[path] for path, part in missing.items() if part.sha256 is None}
        if new:
            seen = read_seen()
            write_seen(seen | {name: seen.get(name, {}) | new})
        _move(staging, model)
        remember(model)
    return sorted(new)


@contextmanager
def _alone(model: Model) -> Iterator[None]:
    path = record_path(model).with_suffix(".lock")
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise UserError(model.folder, "another process is fetching this model", "wait for it, or end it") from None
    try:
        yield
    finally:
        lock.release()


def _check_room(missing: Mapping[str, Part], staging: Path) -> None:
    staging.parent.mkdir(parents=True, exist_ok=True)
    have = sum(path.stat().st_size for path in staging.rglob("*") if path.is_file())
    needed = sum(part.size or 0 for part in missing.values()) - have
    free = shutil.disk_usage(staging.parent).free
    if needed > free:
        what = f"{needed / 1e9:.1f} GB are needed and {free / 1e9:.1f} GB are free"
        raise UserError(staging.parent, what, "make room, or make models/ a link to a larger disk")


def _bring_all(
    name: str, model: Model, missing: Mapping[str, Part], origin: Origin, staging: Path, advance: Advance
) -> dict[str, Hash]:
    """Bring the files into ``staging``, a few at a time; the first that fails ends the others."""
    stop = Event()

    def told(count: int) -> None:
        if stop.is_set():
            raise _Stopped
        advance(count)

    sources = {path: _locate(name, model, path, part, origin) for path, part in missing.items()}
    pool = ThreadPoolExecutor(PARALLEL)
    try:
        brought = {
            path: pool.submit(_bring, sources[path], part, staging / path, told) for path, part in missing.items()
        }
        done, _ = wait(brought.values(), return_when=FIRST_EXCEPTION)
        for future in (future for future in brought.values() if future in done):
            future.result()
        return {path: future.result() for path, future in brought.items()}
    finally:
        stop.set()
        pool.shutdown(cancel_futures=True)
        if not any(file.is_file() for file in staging.rglob("*")):
            shutil.rmtree(staging, ignore_errors=True)


def _bring(source: Address | Path, part: Part, target: Path, advance: Advance) -> Hash:
    """Bring one file to ``target``, unless it lies there whole from an earlier time."""
    if part.sha256 is None or fault(target, part):
        beside = target.with_name(target.name + PARTIAL)
        if isinstance(source, Address):
            receive(source, beside, advance)
        else:
            _copy(source, part, beside, advance)
        os.replace(beside, target)
    else:
        advance(target.stat().st_size)
    return Hash(size=target.stat().st_size, sha256=part.sha256 or hash_file(target))


def _locate(name: str, model: Model, path: str, part: Part, origin: Origin) -> Address | Path:
    """Where the file ``path`` is to be had."""
    if origin.local is not None:
        return _find(origin.local, model, path, part)
    token = ""
    if origin.mirror is not None:
        url = f"{origin.mirror.rstrip('/')}/{'/'.join(model.folder.parts[1:])}/{quote(path)}"
    elif model.hub is not None:
        endpoint = os.environ.get("HF_ENDPOINT") or HUB
        url = f"{endpoint.rstrip('/')}/{model.hub}/resolve/{model.revision}/{quote(part.source or path)}"
        token = os.environ.get("HF_TOKEN", "")
    else:
        url = f"{(model.url or '').rstrip('/')}/{quote(part.source or path)}"
    return Address(part.sha256, url, f"{name}: {path}", part.size, token)


def _find(local: Path, model: Model, path: str, part: Part) -> Path:
    """The file of ``path`` in what the user has: a copy of models/, of the folder or of its source, or one file."""
    source = part.source or path
    if local.is_file() and (len(model.files) == 1 or local.name in (Path(source).name, Path(path).name)):
        return local
    inside = "/".join(model.folder.parts[1:])
    for candidate in (f"{inside}/{path}", f"{model.folder.name}/{path}", f"{model.folder.name}/{source}", path, source):
        if (local / candidate).is_file():
            return local / candidate
    raise UserError(local, f"holds no {path} of {model.folder.name}", f"expected {local / source}")


def _copy(source: Path, part: Part, beside: Path, advance: Advance) -> None:
    beside.parent.mkdir(parents=True, exist_ok=True)
    try:
        with source.open("rb") as reader, beside.open("wb") as writer:
            while chunk := reader.read(CHUNK_BYTES):
                writer.write(chunk)
                advance(len(chunk))
        if why := fault(beside, part):
            raise UserError(source, why, "this is another file")
    except BaseException as error:
        beside.unlink(missing_ok=True)  # half a copy helps nobody
        if not isinstance(error, OSError):
            raise
        todo = "make room" if error.errno in FULL else ""
        raise UserError(source, f"cannot be copied ({error.strerror})", todo) from None


def _move(staging: Path, model: Model) -> None:
    """Put what was brought into place: the folder whole when it is new, else file by file."""
    wanted = {*model.files, *model.writes}
    for stray in [path for path in staging.rglob("*") if path.is_file()]:
        if stray.relative_to(staging).as_posix() not in wanted:
            stray.unlink()  # of an earlier edition of conf/models
    if not model.folder.exists():
        os.replace(staging, model.folder)
        return
    for file in [path for path in staging.rglob("*") if path.is_file()]:
        target = model.folder / file.relative_to(staging)
        target.parent.mkdir(parents=True, exist_ok=True)
        os.replace(file, target)
    shutil.rmtree(staging)
