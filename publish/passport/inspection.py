"""Signature and marking of a picture, ours or anybody's."""

from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from publish.passport.containers import find_type, read_xmp
from publish.passport.credentials import Credentials, read_credentials
from publish.passport.marking import MARKS, find_source_type
from publish.passport.pictures import read_any
from stages.contracts.artifact import Closed
from stages.runtime.errors import UserError
from stages.runtime.pictures import hash_pixels

Signature = Literal["none", "valid", "trusted", "invalid"]


class Inspection(Closed):
    """What a picture says about itself, and whether that can be believed."""

    image: str
    signature: Signature = Field(description="trusted: somebody that publish.trust names vouches for the signer")
    signer: str = Field("", description="common name and organisation of the certificate: who they say they are")
    vouched: str = Field("", description="whether anybody vouches for the signer, in words")
    tampered: bool = Field(False, description="pixels or other signed bytes are not what they were")
    problems: tuple[str, ...] = Field((), description="what C2PA's reader has against the credentials, its own words")
    generator: str = ""
    c2pa: str = Field("", description="digital source type in the credentials; empty: none")
    xmp: str = Field("", description="IPTC digital source type in XMP; empty: none")
    ingredients: tuple[str, ...] = ()
    says: dict[str, Any] = Field({}, description="our own assertion, org.pistachio.origin")

    @property
    def marked(self) -> bool:
        """Whether it is marked in both ways as drawn by a model."""
        return self.c2pa in MARKS and self.xmp in MARKS

    @property
    def sound(self) -> bool:
        """Marked, and signed over what it is now."""
        return self.marked and self.signature in ("valid", "trusted") and not self.tampered


def inspect_picture(path: Path, trust: Path | None = None) -> Inspection:
    """Check the picture at ``path``; ``trust`` is a PEM file of authorities that are believed.

    Raises:
        UserError: when it is no picture, or ``trust`` cannot be read.
    """
    data, pixels = read_any(path)
    mime = find_type(data)
    found = read_credentials(data, mime, _read_trust(trust)) if mime else None
    xmp = find_source_type(read_xmp(data))
    if found is None:
        return Inspection(image=path.as_posix(), signature="none", xmp=xmp)
    says = dict(found.origin or {})
    signature: Signature = {"Trusted": "trusted", "Valid": "valid"}.get(found.state, "invalid")  # type: ignore[assignment]
    stated = says.get("pixels_sha256")
    return Inspection(
        image=path.as_posix(), signature=signature, signer=", ".join(filter(None, (found.signer, found.issuer))),
        vouched=_vouching(found, trust), problems=found.problems, generator=found.generator, c2pa=found.source_type,
        tampered=found.tampered or (stated is not None and stated != hash_pixels(pixels)), xmp=xmp,
        ingredients=found.ingredients, says=says,
    )  # fmt: skip


def _vouching(found: Credentials, trust: Path | None) -> str:
    if found.state == "Trusted":
        return f"yes: an authority in {trust}"
    if found.self_made:
        return "nobody: the publisher's machine made the certificate"
    return "nobody that is known here: publish.trust names no authority of this certificate"


def _read_trust(path: Path | None) -> bytes:
    if path is None:
        return b""
    from cryptography import x509

    try:
        data = path.read_bytes()
        x509.load_pem_x509_certificates(data)
    except FileNotFoundError:
        raise UserError(path, "not found", "mend publish.trust") from None
    except ValueError:
        raise UserError(path, "not certificates in PEM", "mend publish.trust") from None
    return data
