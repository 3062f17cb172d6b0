"""Content credentials (C2PA): the claim about a picture, its signature, and what a reader makes of both."""

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from publish.passport.certificates import SELF_MADE, Certificate
from publish.passport.marking import SOURCE_TYPES, TRAINED, tool_version
from stages.contracts.production import PictureRecord
from stages.contracts.publish_settings import Reveal
from stages.runtime.errors import UserError
from stages.runtime.provenance import hash_json

ORIGIN = "org.pistachio.origin"  # our assertion
UNTRUSTED = "signingCredential.untrusted"  # not a fault: nobody was named to be believed
# Neither a stranger's manifest nor a certificate makes this machine ask a server.
OFFLINE = {"remote_manifest_fetch": False, "ocsp_fetch": False}


@dataclass(frozen=True)
class Credentials:
    """What a file's active manifest says, and whether that can be believed."""

    state: str  # Trusted: somebody who was named vouches for the signer; Valid: nobody does; Invalid
    problems: tuple[str, ...]  # what the reader has against them, its own words
    signer: str
    issuer: str  # organisation that the certificate names
    serial: str
    generator: str  # the program that made the claim
    source_type: str  # IPTC's, of the first action; empty: none
    origin: Mapping[str, Any] | None  # our assertion; None: somebody else's credentials
    ingredients: tuple[str, ...]

    @property
    def self_made(self) -> bool:
        """Whether the certificate is one that the publisher's own machine made."""
        return self.issuer == SELF_MADE

    @property
    def tampered(self) -> bool:
        """Whether pixels, or other bytes that were signed, are not what they were."""
        return any("Hash.mismatch" in problem or "hashedURI.mismatch" in problem for problem in self.problems)


def hash_record(record: PictureRecord) -> str:
    """sha256 of a record, whatever the order of its keys."""
    return hash_json(record.model_dump(mode="json"))


def describe_origin(record: PictureRecord, certificate: Certificate, reveal: Reveal) -> dict[str, Any]:
    """The assertion that leads back to us: hashes and a batch; with ``full`` what was asked for, too.

    Never the names of photos, and by default nothing that names the person: not prompt, seed or the LoRA's file.
    """
    origin = record.origin
    said: dict[str, Any] = {
        "batch": origin.batch, "record_sha256": hash_record(record), "pixels_sha256": record.pixels_sha256,
        "lora_sha256": origin.lora_sha256, "manifest_sha256": origin.manifest_sha256,
        "subject_sha256": origin.subject_sha256,
        "certificate": "self-made: nobody vouches for it" if certificate.self_made else "the publisher's",
    }  # fmt: skip
    if reveal == "full":
        said |= {
            "prompt": origin.text, "negative_prompt": origin.negative_prompt, "seed": origin.seed,
            "version": origin.version, "lora": Path(origin.lora).name, "strength": origin.strength,
            "mode": origin.mode, "guidance": origin.guidance, "sampler": origin.sampler, "steps": origin.steps,
        }  # fmt: skip
    return said


def build_claim(record: PictureRecord, origin: Mapping[str, Any], mime: str) -> dict[str, Any]:
    """The manifest as c2pa takes it: created by a trained model, from a base model and a LoRA."""
    agent = {"name": "Pistachio", "version": tool_version()}
    models = [("base", Path(record.origin.base).name or "base model", record.origin.base_sha256),
              ("lora", origin.get("lora", "LoRA"), record.origin.lora_sha256)]  # fmt: skip
    created = {"action": "c2pa.created", "digitalSourceType": TRAINED, "softwareAgent": agent,
               "parameters": {"ingredientIds": [label for label, _, _ in models]}}  # fmt: skip
    return {
        "claim_generator_info": [agent], "title": "picture", "format": mime,
        "ingredients": [
            {"label": label, "title": title, "relationship": "inputTo", "metadata": {"org.pistachio.sha256": sha256}}
            for label, title, sha256 in models
        ],
        "assertions": [
            {"label": "c2pa.actions.v2", "data": {"actions": [created]}, "created": True},
            {"label": ORIGIN, "data": dict(origin), "created": True},
        ],
    }  # fmt: skip


def sign(
    data: bytes, mime: str, claim: Mapping[str, Any], certificate: Certificate, timestamp_url: str | None
) -> bytes:
    """The file with its claim in it, signed.

    Raises:
        UserError: when C2PA does not take the certificate, or the time-stamp authority does not answer.
    """
    import c2pa

    info = c2pa.C2paSignerInfo(
        alg=certificate.algorithm.encode(), sign_cert=certificate.chain, private_key=certificate.key,
        ta_url=timestamp_url.encode() if timestamp_url else None,
    )  # fmt: skip
    signed = io.BytesIO()
    try:
        with c2pa.Signer.from_info(info) as signer, c2pa.Builder(json.dumps(claim), context=_context("")) as builder:
            builder.sign(signer, mime, io.BytesIO(data), signed)
    except c2pa.C2paError as error:
        where = "publish.timestamp_url" if timestamp_url else "publish.certificate"
        raise UserError(where, f"cannot sign ({error})", "see docs/publishing.md, The passport") from None
    return signed.getvalue()


def try_certificate(certificate: Certificate) -> None:
    """Sign one pixel and read it back, so that no picture is drawn for a certificate that cannot sign it.

    Raises:
        UserError: when C2PA does not take the certificate.
    """
    from PIL import Image

    stream, mime = io.BytesIO(), "image/png"
    Image.new("RGB", (1, 1)).save(stream, "PNG")
    created = {"action": "c2pa.created", "digitalSourceType": TRAINED}
    claim = {"format": mime, "assertions": [{"label": "c2pa.actions.v2", "data": {"actions": [created]}}]}
    found = read_credentials(sign(stream.getvalue(), mime, claim, certificate, None), mime)
    if found is None or found.state == "Invalid":
        why = ", ".join(found.problems) if found else "nothing was signed"
        raise UserError("publish.certificate", f"cannot sign: C2PA does not take it ({why})", "docs/publishing.md")


def read_credentials(data: bytes, mime: str, trust: bytes = b"") -> Credentials | None:
    """What the credentials of a file say; None: it has none.  ``trust`` holds PEM of authorities that are believed."""
    import c2pa

    try:
        reader = c2pa.Reader.try_create(mime, io.BytesIO(data), context=_context(trust.decode("ascii", "replace")))
    except c2pa.C2paError as error:
        return Credentials("Invalid", (str(error),), "", "", "", "", "", None, ())
    if reader is None:
        return None
    with reader:
        return _describe(json.loads(reader.json()))


@cache
def _context(trust: str) -> Any:
    import c2pa

    settings: dict[str, Any] = {"builder": {"thumbnail": {"enabled": False}}, "verify": OFFLINE}
    if trust:
        settings |= {"trust": {"trust_anchors": trust}, "verify": OFFLINE | {"verify_trust": True}}
    return c2pa.Context(c2pa.Settings.from_dict(settings))


def _describe(store: dict[str, Any]) -> Credentials:
    """``store`` is what c2pa's reader prints; whoever wrote the manifest decides what stands in it."""
    manifest = store.get("manifests", {}).get(store.get("active_manifest"), {})
    assertions = {str(a.get("label")): a.get("data") for a in manifest.get("assertions", []) if isinstance(a, dict)}
    statuses = store.get("validation_results", {}).get("activeManifest", {}).get("failure", [])
    problems = tuple(str(s.get("code")) for s in [*statuses] if s.get("code") != UNTRUSTED)
    signature, origin = manifest.get("signature_info") or {}, assertions.get(ORIGIN)
    generators = manifest.get("claim_generator_info") or [{}]
    return Credentials(
        str(store.get("validation_state", "Invalid")), problems, str(signature.get("common_name") or ""),
        str(signature.get("issuer") or ""), str(signature.get("cert_serial_number") or ""),
        " ".join(str(generators[0].get(key) or "") for key in ("name", "version")).strip(),
        _source_type(assertions), origin if isinstance(origin, dict) else None,
        tuple(str(i.get("title")) for i in manifest.get("ingredients", [])),
    )  # fmt: skip


def _source_type(assertions: Mapping[str, Any]) -> str:
    actions = assertions.get("c2pa.actions.v2") or assertions.get("c2pa.actions") or {}
    for action in actions.get("actions", []) if isinstance(actions, dict) else []:
        stated = str(action.get("digitalSourceType") or "") if isinstance(action, dict) else ""
        if stated.replace("https:", "http:").startswith(SOURCE_TYPES):
            return stated.replace("https:", "http:")
    return ""
