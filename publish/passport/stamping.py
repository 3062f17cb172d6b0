"""Give a picture its passport: marking, signed credentials, and a row in the index."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from publish.passport.certificates import Certificate, open_certificate
from publish.passport.containers import find_type, read_xmp, replace_marking
from publish.passport.credentials import (
    build_claim,
    describe_origin,
    hash_record,
    read_credentials,
    sign,
    try_certificate,
)
from publish.passport.fingerprints import take_fingerprint, write_fingerprint
from publish.passport.marking import render_xmp
from stages.contracts.paths import PUBLISHED
from stages.contracts.production import PictureRecord, read_record
from stages.contracts.publish_settings import Publish, Reveal
from stages.contracts.published import Published, append_published, parse_published
from stages.runtime.decoding import decode_picture
from stages.runtime.errors import UserError
from stages.runtime.files import replacing
from stages.runtime.pictures import hash_pixels, raise_all, read_bytes, survey
from stages.runtime.progress import track
from stages.runtime.provenance import hash_bytes

APPROVED = "approved"  # in a batch's folder


@dataclass
class Issuer:
    """Who signs, what is told, and the index that remembers; made by ``open_issuer``."""

    certificate: Certificate
    reveal: Reveal = "minimal"
    timestamp_url: str | None = None
    index: Path = PUBLISHED
    _known: set[tuple[str, str]] = field(default_factory=set)  # file and record of rows that were read
    _read: int = 0  # bytes of the index that were read

    def knows(self, file_sha256: str, record_sha256: str) -> bool:
        """Whether the index has a row of this file and record; reads what was appended since it was last asked."""
        if self.index.exists() and self.index.stat().st_size != self._read:
            for line in self._new_lines():
                try:
                    row = parse_published(line, str(self.index))
                except UserError:  # `pistachio trace` names it
                    continue
                self._known.add((row.file_sha256, row.record_sha256))
        return (file_sha256, record_sha256) in self._known

    def _new_lines(self) -> Iterator[bytes]:
        if self.index.stat().st_size < self._read:  # another file than before
            self._known, self._read = set(), 0
        with self.index.open("rb") as stream:
            stream.seek(self._read)
            for line in stream:
                if not line.endswith(b"\n"):  # somebody is writing it
                    return
                self._read += len(line)
                if line.strip():
                    yield line


def open_issuer(publish: Publish, index: Path = PUBLISHED) -> Issuer:
    """The issuer that section ``publish`` describes; makes a certificate where there is none.

    Args:
        publish: the section of params.yaml.
        index: the file that remembers what was published.

    Raises:
        UserError: when certificate or key cannot be used: missing, expired, mismatched, not what C2PA takes.
    """
    certificate = open_certificate(publish)
    if not certificate.self_made:
        try_certificate(certificate)
    return Issuer(certificate, publish.reveal, publish.timestamp_url, index)


def stamp_picture(path: Path, record: PictureRecord, issuer: Issuer) -> None:
    """Mark and sign the PNG, JPEG or WebP at ``path``, and add it to the index.

    The file is replaced as a whole and its pixels stay what they were; everything else that it held (text, EXIF, older
    credentials) is gone.  A file that has this very passport is left alone.

    Raises:
        UserError: when the file is no such picture, the record rejects it, or its pixels are not the record's.
    """
    data = read_bytes(path)
    pixels = decode_picture(data, path)
    if not record.approved:
        raise UserError(path, f"rejected ({'; '.join(record.reasons) or 'no reason given'})", "approve it first")
    if hash_pixels(pixels) != record.pixels_sha256:
        raise UserError(path, "not the pixels of its record", "leave it out, or draw it again")
    mime = find_type(data)
    if mime is None:
        raise UserError(path, "passports are for PNG, JPEG and WebP", "convert it to PNG")
    if not _has_passport(data, mime, record, issuer):
        data = _sign(data, mime, path, record, issuer)
        with replacing(path) as beside:
            beside.write_bytes(data)
    sha256, record_sha256 = hash_bytes(data), hash_record(record)
    if not issuer.knows(sha256, record_sha256):
        fingerprint = write_fingerprint(take_fingerprint(pixels))
        row = Published(picture=_place(path), file_sha256=sha256, record_sha256=record_sha256, stamped_at=_now(),
                        record=record, fingerprint=fingerprint)  # fmt: skip
        append_published(row, issuer.index)


def _has_passport(data: bytes, mime: str, record: PictureRecord, issuer: Issuer) -> bool:
    found = read_credentials(data, mime)
    return (
        found is not None
        and found.state != "Invalid"
        and found.serial == issuer.certificate.serial
        and found.origin == describe_origin(record, issuer.certificate, issuer.reveal)
        and read_xmp(data) == render_xmp()
    )


def _sign(data: bytes, mime: str, path: Path, record: PictureRecord, issuer: Issuer) -> bytes:
    origin = describe_origin(record, issuer.certificate, issuer.reveal)
    marked = replace_marking(data, render_xmp(), path)
    signed = sign(marked, mime, build_claim(record, origin, mime), issuer.certificate, issuer.timestamp_url)
    if hash_pixels(decode_picture(signed, path)) != record.pixels_sha256:
        raise UserError(path, "its pixels are seen through EXIF or a profile", "save the picture upright, as PNG")
    return signed


def _place(path: Path) -> str:
    """Where a picture lies, from the workspace on where it lies inside."""
    whole, workspace = path.resolve(), Path.cwd().resolve()
    return (whole.relative_to(workspace) if whole.is_relative_to(workspace) else whole).as_posix()


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def stamp_folder(folder: Path, issuer: Issuer) -> int:
    """Stamp the pictures in ``folder``/approved, or in ``folder`` itself where it has no such folder.

    Returns:
        How many have their passport now.

    Raises:
        UserError: naming every picture that was refused, after all others were stamped.
    """
    approved = folder / APPROVED
    held = approved if approved.is_dir() else folder
    listing = survey(held)
    pictures, problems = [path for path in listing.pictures if path.parent == held], listing.problems
    for path in track(pictures, "stamp", len(pictures), unit="picture"):
        try:
            stamp_picture(path, read_record(path), issuer)
        except UserError as error:
            if error.where.startswith("publish."):  # the certificate's, so every picture's
                raise
            problems.append(error)
    raise_all(folder, problems)
    return len(pictures)
