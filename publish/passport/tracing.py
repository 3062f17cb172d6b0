"""From a published picture, or a copy of one, back to prompt, seed, LoRA, manifest, photos and subject card."""

import sys
from datetime import date
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import Field, ValidationError

from publish.passport.containers import find_type
from publish.passport.credentials import read_credentials
from publish.passport.fingerprints import read_fingerprint
from publish.passport.pictures import read_any
from publish.passport.search import Match, Shelf, choose_claim, find_copies
from stages.contracts.artifact import Closed
from stages.contracts.lora import DATASET
from stages.contracts.manifest import read_manifest
from stages.contracts.paths import LORA, MANIFEST, PUBLISHED
from stages.contracts.production import Origin
from stages.contracts.publish_settings import Publish
from stages.contracts.published import Published, read_published
from stages.contracts.subject import read_subject
from stages.runtime.errors import UserError
from stages.runtime.pictures import hash_pixels
from stages.runtime.provenance import hash_file

How = Literal["credentials", "pixels", "looks", "nothing"]
State = Literal["there", "another", "gone"]


class Source(Closed):
    """A file that a picture was made from, and whether it is still that file."""

    path: str
    sha256: str
    state: State = Field(description="there; another: a file of this name with other bytes; gone")


class Trace(Closed):
    """What is known of a picture's origin."""

    image: str
    how: How = Field(description="what led back: credentials, the very pixels, their looks, or nothing")
    score: float = Field(0.0, description="looks: correlation with the original after registration")
    view: tuple[float, float, float, float] | None = Field(
        None, description="looks: left, top, width, height of what the copy shows, in shares of the original"
    )
    mirrored: bool = False
    picture: str = Field("", description="the published file")
    folder: str = Field("", description="its batch's")
    origin: Origin | None = Field(None, description="everything that decided the picture")
    record_sha256: str = ""
    lora: Source | None = None
    manifest: Source | None = None
    photos: tuple[str, ...] = Field((), description="names of the dataset's photos, where its manifest is there")
    subject: str = Field("", description="the subject card: valid, or what speaks against it")
    subject_name: str = ""
    stated: dict[str, str] = Field({}, description="what credentials say that no row of the index bears out")


def trace_picture(path: Path, publish: Publish, index: Path = PUBLISHED) -> Trace:
    """Find out where the picture at ``path`` comes from.

    Args:
        path: a picture file, whatever was done to it.
        publish: says how near a copy must come to be claimed.
        index: what was published.

    Raises:
        UserError: when it is no picture.
    """
    data, pixels = read_any(path)
    rows = list(_last_rows(index))
    sha256, mime = hash_pixels(pixels), find_type(data)
    credentials = read_credentials(data, mime) if mime else None
    said = dict(credentials.origin or {}) if credentials and credentials.state != "Invalid" else {}
    for row in rows:
        if row.record.pixels_sha256 == sha256:
            signed = said.get("record_sha256") == row.record_sha256
            return _walk_back(path, row, "credentials" if signed else "pixels")
    match = find_among(pixels, rows, publish)
    if match is not None:
        return _walk_back(path, rows[match.row], "looks", match)
    return Trace(image=path.as_posix(), how="nothing", stated={key: str(value) for key, value in said.items()})


def find_among(pixels_HWC: np.ndarray, rows: list[Published], publish: Publish) -> Match | None:
    """The row that the picture is a copy of; None: of none, or its looks are not sure enough."""
    shelf = open_shelf(rows)
    matches = find_copies(pixels_HWC, shelf) if len(shelf.fingerprints) else []
    return choose_claim(matches, publish.trace, publish.trace_colour)


def open_shelf(rows: list[Published]) -> Shelf:
    """The rows' fingerprints; ``read_published`` has checked that they can be read."""
    prints = [read_fingerprint(row.fingerprint) for row in rows]
    aspects = [row.record.origin.width / row.record.origin.height for row in rows]
    return Shelf(np.stack(prints) if prints else np.empty((0, 32, 32, 3), np.uint8), np.round(aspects, 4))


def _last_rows(index: Path) -> list[Published]:
    """The last row of each picture; broken ones are named and passed over: the others must still be found."""
    rows: dict[str, Published] = {}
    for row in read_published(index):
        if isinstance(row, UserError):
            print(f"warning: {row.line}", file=sys.stderr)
        else:
            rows[row.record.pixels_sha256] = row
    return list(rows.values())


def _walk_back(path: Path, row: Published, how: How, match: Match | None = None) -> Trace:
    origin, picture = row.record.origin, Path(row.picture)
    manifest, photos = _find_manifest(origin)
    state, name = _judge_subject(origin.subject_sha256)
    view = (match.view.left, match.view.top, match.view.width, match.view.height) if match else None
    return Trace(
        image=path.as_posix(), how=how, score=round(match.score, 4) if match else 1.0, view=view,
        mirrored=bool(match and match.mirrored), picture=row.picture,
        folder=(picture.parent.parent if picture.parent.name == "approved" else picture.parent).as_posix(),
        origin=origin, record_sha256=row.record_sha256, lora=_find(Path(origin.lora), origin.lora_sha256),
        manifest=manifest, photos=photos, subject=state, subject_name=name,
    )  # fmt: skip


def _find(path: Path, sha256: str) -> Source:
    there = path.is_file()
    state: State = "gone" if not there else "there" if hash_file(path) == sha256 else "another"
    return Source(path=path.as_posix(), sha256=sha256, state=state)


def _find_manifest(origin: Origin) -> tuple[Source, tuple[str, ...]]:
    """The manifest with that sha256, in the dataset's place or beside the LoRA, and the photos that it names."""
    places = list(dict.fromkeys((MANIFEST, Path(origin.lora).parent / DATASET, LORA / DATASET)))
    found = [_find(place, origin.manifest_sha256) for place in places]
    best = min(found, key=lambda source: ("there", "another", "gone").index(source.state))
    if best.state != "there":
        return best, ()
    return best, tuple(photo.filename for photo in read_manifest(Path(best.path)).images)


def _judge_subject(sha256: str) -> tuple[str, str]:
    """What the subject card says today, and the pseudonym on it."""
    try:
        card = read_subject()
    except (UserError, ValidationError) as error:
        return f"no card that can be read: {error}", ""
    if card.sha256 != sha256:
        return "another card than the one under which it was drawn", card.name
    if card.revoked is not None:
        return f"revoked on {card.revoked.date}: {card.revoked.reason}", card.name
    if card.expires is not None and card.expires < date.today():
        return f"expired on {card.expires}", card.name
    return "valid", card.name
