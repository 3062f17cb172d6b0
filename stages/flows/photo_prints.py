"""Hash, size and look of every photo in a folder: read in parallel, and not again while its file stays as it is."""

import inspect
import json
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

import PIL

from stages.runtime import decoding, looks
from stages.runtime.errors import UserError
from stages.runtime.files import write_text
from stages.runtime.looks import hash_look
from stages.runtime.pictures import read_bytes
from stages.runtime.provenance import hash_bytes, hash_file, hash_json
from stages.runtime.state import cache_folder

RESTED_NS = 2_000_000_000  # a file that changed so shortly before it was read may change again under the same stamp
Stamp = tuple[int, int, int, int]


@dataclass(frozen=True)
class Print:
    """What one photo file is, whatever its name."""

    sha256: str  # of its bytes
    phash: str  # 16 hexadecimal digits
    size_bytes: int
    width: int
    height: int


def read_print(path: Path) -> Print:
    """Read a photo once: the hashes are those of the same bytes.

    Raises:
        UserError: when it is not a picture that can be read whole.
    """
    data = read_bytes(path)
    phash, width, height = hash_look(data, path)
    return Print(hash_bytes(data), phash, len(data), width, height)


def gather_prints(photos: Sequence[Path], workers: int, state_dir: Path | None) -> list[Print | UserError]:
    """The print of every photo, or what is wrong with it, in order.

    What an earlier call has read is taken from the state folder where size, times of change and inode of the file are
    the same (the kernel sets one of the times, and nobody else can); a book that cannot be read or written is none.

    Args:
        photos: files, in any folder.
        workers: threads that read and decode.
        state_dir: ``machine.state_dir``.
    """
    book = cache_folder(state_dir) / "prints" / f"{_describe_reading(photos)}.json"
    known, kept = _open_book(book), dict[str, list[Any]]()

    def read(path: Path) -> Print | UserError:
        try:
            key, stamp, began = str(path.absolute()), _stamp(path), time.time_ns()
            found = known.get(key)
            if found and tuple(found[0]) == stamp:
                kept[key] = found
                return Print(*found[1])
            made = read_print(path)
            if stamp == _stamp(path) and max(stamp[1:3]) < began - RESTED_NS:
                kept[key] = [stamp, astuple(made)]
            return made
        except UserError as error:
            return error
        except OSError as error:
            return UserError(path, f"cannot be read ({error.strerror})", decoding.REPLACE)

    with ThreadPoolExecutor(workers) as pool:
        prints = list(pool.map(read, photos))
    if kept != known:
        _write_book(book, kept)
    return prints


def _stamp(path: Path) -> Stamp:
    status = path.stat()
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino


def _describe_reading(photos: Sequence[Path]) -> str:
    """The hash of where the photos lie and of all that decides what a print says of the same bytes."""
    code = [hash_file(Path(inspect.getfile(module))) for module in (decoding, looks)]
    folder = str(photos[0].parent.absolute()) if photos else ""
    return hash_json([folder, code, PIL.__version__])


def _open_book(book: Path) -> dict[str, list[Any]]:
    """What was read before; nothing where the file is missing or damaged."""
    try:
        found = json.loads(book.read_bytes())
        return {key: [stamp, astuple(Print(*values))] for key, (stamp, values) in found.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def _write_book(book: Path, kept: dict[str, list[Any]]) -> None:
    try:
        write_text(book, json.dumps(kept))
    except OSError:  # the next call reads the photos again
        return
