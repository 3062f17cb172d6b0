"""What an interrupted fsck had found sound, so that the next one need not read it again."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from stages.flows.storage import Held
from stages.runtime.errors import UserError

FRESH_S = 24 * 3600.0  # older findings are not believed: what rots does not change its stamp


class Journal:
    """One line per sound object: store, name, stamp.  Only ever appended; a torn last line counts for nothing."""

    def __init__(self, path: Path) -> None:
        self._path, self._lock = path, threading.Lock()
        self._known = _read(path)

    def knows(self, store: str, oid: str, held: Held) -> bool:
        """Whether this very object was found sound."""
        return self._known.get((store, oid)) == held.stamp

    def note(self, store: str, oid: str, held: Held) -> None:
        """Remember that an object is sound; where the disk is full, the next run reads it again."""
        with suppress(OSError), self._lock, self._path.open("a", encoding="utf-8") as stream:
            stream.write(f"{store}\t{oid}\t{held.stamp}\n")


def _read(path: Path) -> dict[tuple[str, str], str]:
    if not path.exists():
        return {}
    if time.time() - path.stat().st_mtime > FRESH_S:
        path.unlink()
        return {}
    text = path.read_text(encoding="utf-8", errors="replace")
    whole = text[: text.rfind("\n") + 1]
    if whole != text:
        path.write_text(whole, encoding="utf-8")
    rows = (line.split("\t") for line in whole.splitlines())
    return {(row[0], row[1]): row[2] for row in rows if len(row) == 3}


@contextmanager
def open_journal(folder: Path) -> Iterator[Journal]:
    """The journal of the run before this one if that was interrupted; removed when the block ends well.

    Raises:
        UserError: when another fsck is at work here.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / "lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise UserError(folder, "another fsck is at work here", "wait for it, or end it") from None
    path = folder / "sound.tsv"
    try:
        yield Journal(path)
        path.unlink(missing_ok=True)
    finally:
        lock.release()
