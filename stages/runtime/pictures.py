"""Picture files: listed, read as they are seen, written so that the same pixels are the same bytes."""

import hashlib
import io
import os
import unicodedata
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from stages.runtime.decoding import CONVERT, REPLACE, decode_picture
from stages.runtime.errors import UserError
from stages.runtime.files import replacing

MASK = ".mask.png"  # photo.jpg's mask is photo.jpg.mask.png
SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff"})
# Photos that nothing here reads: leaving them out silently would lose half of a phone's pictures.
FOREIGN = frozenset(
    ".heic .heif .hif .avif .jxl .jp2 .gif .psd .svg .dng .cr2 .cr3 .nef .arw .raf .orf .rw2 .pef .raw".split()
)
NAMED = 10  # problems in one error


@dataclass(frozen=True)
class Listing:
    """What lies in a folder of pictures; hidden files and folders are nobody's business, masks are no photos."""

    pictures: list[Path]  # sorted by their path relative to the folder
    texts: list[Path]  # .txt files, likewise
    problems: list[UserError]  # one per thing that would be lost or would hurt later


def survey(folder: Path) -> Listing:
    """Look through ``folder`` and its subfolders without opening a file.

    Links to files are followed inside the folder only: what lies elsewhere is not hashed with it, and nobody who gets
    the folder gets the photo. Links to folders are not followed at all.

    Raises:
        UserError: when there is no such folder.
        OSError: when a subfolder cannot be read.
    """
    if not folder.is_dir():
        raise UserError(folder, "no such folder", "put the photos there, or set dataset.photos")
    root, listing = folder.resolve(), Listing([], [], [])
    for path in sorted(_visible(folder, listing), key=lambda path: path.relative_to(folder).as_posix()):
        suffix = path.suffix.lower()
        problem = _objection(path, root) if suffix in SUFFIXES | FOREIGN | {".txt"} else None
        if problem is not None:
            listing.problems.append(problem)
        elif suffix == ".txt":
            listing.texts.append(path)
        elif suffix in SUFFIXES:
            listing.pictures.append(path)
    listing.problems.extend(_twins(listing.pictures))
    listing.problems.sort(key=lambda problem: problem.where)
    return listing


def _raise(error: OSError) -> None:
    raise error


def _visible(folder: Path, listing: Listing) -> Iterator[Path]:
    for parent, folders, files in os.walk(folder, onerror=_raise):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for path in (Path(parent, name) for name in folders):
            if path.is_symlink():
                listing.problems.append(
                    UserError(path, "a link to a folder, which is not followed", "copy the photos in")
                )
            elif path.suffix.lower() == ".txt":
                listing.problems.append(UserError(path, "a folder with the name of a caption file", "rename it"))
        yield from (Path(parent, name) for name in files if not name.startswith(".") and not name.endswith(MASK))


def _objection(path: Path, root: Path) -> UserError | None:
    """What is wrong with a file before it is opened."""
    try:
        str(path).encode("utf-8")
        target = path.resolve(strict=True)
    except UnicodeEncodeError:
        return UserError(path, "the file name is not UTF-8", "rename the file")
    except (OSError, RuntimeError):  # nothing there, or a loop
        return UserError(path, "a link that leads nowhere", REPLACE)
    if not target.is_relative_to(root):
        return UserError(path, f"a link that leaves the folder (to {target})", "copy the file in")
    if not target.is_file():
        return UserError(path, "neither a file nor a folder", "remove it")
    if path.suffix.lower() in FOREIGN:
        return UserError(path, f"pictures of type {path.suffix} are not read", CONVERT)
    return None


def _twins(pictures: Iterable[Path]) -> Iterator[UserError]:
    """Names that look the same: a caption or another system would keep only one of them."""
    seen: dict[str, Path] = {}
    for path in pictures:
        other = seen.setdefault(unicodedata.normalize("NFC", str(path)), path)
        if other is not path:
            what = "another photo has this name, written with other Unicode characters (NFC and NFD)"
            yield UserError(path, what, "rename one of the two")


def list_pictures(folder: Path, *, recursive: bool = True) -> list[Path]:
    """The picture files under ``folder`` (or just in it), sorted by their relative path.

    Raises:
        UserError: when there is no such folder or no picture in it, naming everything in it that is not read.
    """
    found = survey(folder)
    raise_all(folder, found.problems)
    pictures = [path for path in found.pictures if recursive or path.parent == folder]
    if not pictures:
        raise no_pictures(folder)
    return pictures


def mask_path(photo: Path) -> Path:
    """Where the mask of a photo lies: beside it; a mask is no photo."""
    return photo.with_name(f"{photo.name}{MASK}")


def no_pictures(folder: Path) -> UserError:
    """The error of a folder without pictures."""
    return UserError(folder, "holds no pictures", f"known types: {' '.join(sorted(SUFFIXES))}")


def raise_all(where: object, problems: list[UserError]) -> None:
    """Raise what there is to raise.

    Raises:
        UserError: the problem itself when it is the only one, else one that names them all, up to ``NAMED``.
    """
    if not problems:
        return
    if len(problems) == 1:
        raise problems[0]
    more = f"; and {len(problems) - NAMED} more" if len(problems) > NAMED else ""
    raise UserError(where, f"{len(problems)} problems: " + "; ".join(str(p) for p in problems[:NAMED]) + more)


def read_bytes(path: Path, sha256: str | None = None) -> bytes:
    """A file's bytes.

    Raises:
        UserError: when it cannot be read, or is another file than the one with ``sha256``.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UserError(path, f"cannot be read ({error.strerror})", REPLACE) from None
    if sha256 is not None and hashlib.sha256(data).hexdigest() != sha256:
        raise UserError(path, "changed since the manifest was written", "run `dvc repro manifest`")
    return data


def read_picture(path: Path, sha256: str | None = None) -> np.ndarray:
    """A picture as it is seen: uint8 (height, width, 3) sRGB, upright, transparency laid on white.

    Raises:
        UserError: when the file is not a picture that can be read whole, or not the one with ``sha256``.
    """
    return decode_picture(read_bytes(path, sha256), path)


def encode_png(pixels_HWC: np.ndarray, text: dict[str, str] | None = None) -> bytes:
    """uint8 (height, width, 3) RGB as a PNG file's bytes; ``text`` becomes iTXt entries in sorted order."""
    from PIL.PngImagePlugin import PngInfo

    info, stream = PngInfo(), io.BytesIO()
    for key, value in sorted((text or {}).items()):
        info.add_itxt(key, value)
    Image.fromarray(pixels_HWC).save(stream, format="PNG", pnginfo=info)
    return stream.getvalue()


def write_png(path: Path, pixels_HWC: np.ndarray, text: dict[str, str] | None = None) -> None:
    """Write uint8 (height, width, 3) RGB as PNG, atomically; ``text`` as ``encode_png`` takes it."""
    data = encode_png(pixels_HWC, text)
    with replacing(path) as beside:
        beside.write_bytes(data)  # not by Pillow, whose errors do not say that a disk is full


def hash_pixels(pixels_HWC: np.ndarray) -> str:
    """sha256 of uint8 (height, width, 3) RGB pixels, row by row: the same in every file format."""
    return hashlib.sha256(np.ascontiguousarray(pixels_HWC).tobytes()).hexdigest()


def resize(pixels_HWC: np.ndarray, width: int, height: int) -> np.ndarray:
    """Resize uint8 RGB with Lanczos (antialiased when shrinking)."""
    return np.asarray(Image.fromarray(pixels_HWC).resize((width, height), Image.Resampling.LANCZOS))


def read_pictures(paths: Iterable[Path], workers: int = 1, ahead: int = 16) -> Iterator[np.ndarray]:
    """Read pictures, in order, by so many threads; ``ahead`` are read while the caller looks at those it has."""
    with ThreadPoolExecutor(workers) as pool:
        reading: deque[Future[np.ndarray]] = deque()
        try:
            for path in paths:
                reading.append(pool.submit(read_picture, path))
                if len(reading) > ahead:
                    yield reading.popleft().result()
            while reading:
                yield reading.popleft().result()
        finally:  # nobody wants the others any more
            for one in reading:
                one.cancel()
