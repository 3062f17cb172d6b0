"""What is looked at: the pictures of a batch or of any folder, one by one, in an order that gives nothing away."""

import hashlib
import io
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from stages.contracts.production import PictureRecord, read_record, record_path
from stages.runtime.errors import UserError
from stages.runtime.pictures import hash_pixels, no_pictures, read_bytes, read_picture, survey

BATCH = ("approved", "rejected")  # folders of a batch
SHOWN_AS = {".png": "image/png", ".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".webp": "image/webp"}
THUMB = 160  # px, longer side


@dataclass(frozen=True)
class Picture:
    """One file that may be shown."""

    path: Path
    root: Path  # it is not read when it leads out of here
    file: str  # name in the folder; with a record the name alone: a verdict of the gate moves it
    pixels_sha256: str
    record: PictureRecord | None = None
    size: tuple[int, int] | None = None  # width and height to be shown at, px; None: as it is
    alike: Path | None = None  # a JPEG as coarsely as which it is shown


@dataclass(frozen=True)
class Item:
    """What is voted on: one picture, or two from left to right."""

    id: str
    prompt: str
    pictures: tuple[Picture, ...]
    left_is_first: bool = True  # of a pair: the left one is of the first version


def name_item(*parts: object) -> str:
    """16 hexadecimal digits that say nothing of what they stand for."""
    return hashlib.sha256("\x1f".join(map(str, parts)).encode()).hexdigest()[:16]


def read_gallery(folder: Path) -> tuple[list[Item], list[str]]:
    """Every picture of a batch folder, or under any other folder, and what was left out of it.

    The order is that of the items' names, which are hashes: neither the gate's verdict nor the prompt shows in it.

    Raises:
        UserError: when the folder is missing or holds no pictures, or a picture leads out of it.
    """
    items: dict[str, Item] = {}
    paths, notices = find_pictures(folder)
    for picture in read_entries(paths, folder):
        if isinstance(picture, UserError):
            notices.append(f"left out: {picture.line}")
            continue
        item = name_item(picture.file, picture.pixels_sha256)
        if item in items:
            notices.append(f"left out: {picture.file} is there twice")
            continue
        items[item] = Item(item, picture.record.origin.text if picture.record else "", (picture,))
    if not items:
        raise UserError(folder, "holds no picture that can be read", "; ".join(notices[:3]))
    return [items[item] for item in sorted(items)], notices


def find_pictures(folder: Path) -> tuple[list[Path], list[str]]:
    """The pictures of approved/ and rejected/ where ``folder`` is a batch, else all under it; and what is left out.

    Raises:
        UserError: when there are none, or something leads out of the folder.
    """
    if not folder.is_dir():
        raise UserError(folder, "no such folder", "name the folder of a batch, or any folder of pictures")
    parts = [folder / name for name in BATCH if (folder / name).is_dir()] or [folder]
    root, found, notices = folder.resolve(), list[Path](), list[str]()
    for part in parts:
        if not part.resolve().is_relative_to(root):
            raise UserError(part, "a link that leaves the folder", "copy the pictures in")
        listing = survey(part)
        for problem in listing.problems:
            if Path(problem.where).is_symlink():
                raise problem
            notices.append(f"left out: {problem.line}")
        found += listing.pictures
    if not found:
        raise no_pictures(folder)
    return found, notices


def read_entries(paths: Sequence[Path], folder: Path) -> Iterator[Picture | UserError]:
    """Every picture, or why it cannot be shown, in order; several at once, for each without a record is decoded."""

    def read(path: Path) -> Picture | UserError:
        try:
            return read_entry(path, folder)
        except UserError as error:
            return error

    with ThreadPoolExecutor() as readers:
        yield from readers.map(read, paths)


def read_entry(path: Path, folder: Path) -> Picture:
    """A picture with its record, where it has one.

    Raises:
        UserError: when the picture cannot be read, or its record is another picture's.
    """
    root = folder.resolve()
    if not record_path(path).is_file():
        return Picture(path, root, path.relative_to(folder).as_posix(), hash_pixels(read_picture(path)))
    record = read_record(path)
    if record.file != path.name:
        raise UserError(record_path(path), f"the record of {record.file}", "restore the record")
    return Picture(path, root, record.file, record.pixels_sha256, record)


def show_picture(picture: Picture) -> tuple[bytes, str]:
    """The bytes and media type that a browser shows.

    Raises:
        UserError: when the picture is gone, cannot be read, or leads out of its folder by now.
    """
    _check_inside(picture)
    kind = SHOWN_AS.get(picture.path.suffix.lower())
    if kind and picture.size is None:
        return read_bytes(picture.path), kind
    stream = io.BytesIO()
    _even_image(picture).save(stream, format="PNG", compress_level=1)
    return stream.getvalue(), "image/png"


def _even_image(picture: Picture) -> Image.Image:
    """As it is shown in a pair: nothing in size, format or file may tell the versions apart."""
    image = Image.fromarray(read_picture(picture.path))
    if picture.size is not None:
        image = image.resize(picture.size, Image.Resampling.LANCZOS)
    if picture.alike is not None:
        with Image.open(picture.alike, formats=("JPEG", "MPO")) as other:
            tables = getattr(other, "quantization", None)
        stream = io.BytesIO()
        image.save(stream, format="JPEG", qtables=tables)
        image = Image.open(stream)
        image.load()
    return image


def show_thumbnail(item: Item) -> bytes:
    """A small JPEG of an item; a pair's pictures stand side by side."""
    small = []
    for picture in item.pictures:
        _check_inside(picture)
        image = _even_image(picture)
        image.thumbnail((THUMB, THUMB), Image.Resampling.LANCZOS)
        small.append(image.resize((THUMB, THUMB)) if len(item.pictures) > 1 else image)
    sheet = Image.new("RGB", (sum(image.width for image in small), max(image.height for image in small)))
    for number, image in enumerate(small):
        sheet.paste(image, (sum(one.width for one in small[:number]), 0))
    stream = io.BytesIO()
    sheet.save(stream, format="JPEG", quality=82)
    return stream.getvalue()


def _check_inside(picture: Picture) -> None:
    try:
        target = picture.path.resolve(strict=True)
    except (OSError, RuntimeError):
        raise UserError(picture.path, "is gone", "start the review again") from None
    if not target.is_relative_to(picture.root) or not target.is_file():
        raise UserError(picture.path, "leads out of the folder", "start the review again")
