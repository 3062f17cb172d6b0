"""5,000 photos hashed, measured and looked at, against `sha256sum` and a loop of `imagehash.phash`."""

import subprocess
from importlib.metadata import version
from pathlib import Path

import imagehash
from PIL import Image

from bench.harness import Case
from bench.photos import PNG_EVERY, write_photos
from stages.contracts.settings import Machine
from stages.flows.photo_prints import Print, gather_prints
from stages.runtime.errors import UserError

DOES = "sha256, size and perceptual hash of 5,000 photos of 1024 px, against sha256sum and imagehash"
PHOTOS = 5000
WITHIN = 2  # bits
TOLERANCE = f"the same sha256, width and height, perceptual hashes within {WITHIN} of 64 bits"
Row = tuple[str, str, int, int]  # sha256, phash, width, height


def describe(found: list[Print | UserError]) -> list[Row]:
    """What both sides tell of a photo.

    Raises:
        UserError: the first photo's that could not be read.
    """
    for one in found:
        if isinstance(one, UserError):
            raise one
    return [(one.sha256, one.phash, one.width, one.height) for one in found if isinstance(one, Print)]


def run_peer(paths: list[Path]) -> list[Row]:
    """The files' digests from coreutils, then picture by picture what imagehash's README says."""
    listed = subprocess.run(["sha256sum", "--", *paths], capture_output=True, text=True, check=True).stdout
    digests = [line.split()[0] for line in listed.splitlines()]
    rows = []
    for path, digest in zip(paths, digests, strict=True):
        with Image.open(path) as image:
            rows.append((digest, str(imagehash.phash(image)), image.width, image.height))
    return rows


def differ(ours: list[Row], peer: list[Row]) -> str:
    """What is not the same within the tolerance; empty when all is."""
    for number, (mine, theirs) in enumerate(zip(ours, peer, strict=True)):
        if (mine[0], *mine[2:]) != (theirs[0], *theirs[2:]) or _bits(mine, theirs) > WITHIN:
            return f"photo {number}: {mine} and {theirs}"
    return ""


def _bits(a: Row, b: Row) -> int:
    return (int(a[1], 16) ^ int(b[1], 16)).bit_count()


def build_case(name: str, paths: list[Path], folder: Path, *, known: bool = False, aim: float | None = None) -> Case:
    """Ours and the peer on ``paths``; ``known``: nothing has changed since ours read them."""
    state, workers = folder / f"state-{name.replace(' ', '-')}", Machine().workers

    def forget() -> None:
        if not known:
            for book in (state / "prints").glob("*.json"):
                book.unlink()

    megabytes = round(sum(path.stat().st_size for path in paths) / 1e6)
    return Case(
        lambda: describe(gather_prints(paths, workers, state)), lambda: run_peer(paths), differ, TOLERANCE, len(paths),
        "photos", name, aim, forget, {"imagehash": {"version": version("imagehash")}},
        lambda: {"megabytes": megabytes, "threads": workers},
    )  # fmt: skip


def prepare(folder: Path) -> list[Case]:
    """Mixed as in the persona's folder, JPEG and PNG alone, and the mixture once more with nothing changed."""
    paths = write_photos(folder / f"photos-{PHOTOS}", PHOTOS)
    jpegs, pngs = ([path for path in paths if path.suffix == suffix] for suffix in (".jpg", ".png"))
    few = max(1, PHOTOS // PNG_EVERY)
    return [
        build_case("first time", paths, folder, aim=3.0),
        build_case("jpeg alone", jpegs[:few], folder),
        build_case("png alone", pngs[:few], folder),
        build_case("unchanged since", paths, folder, known=True),
    ]
