"""Who signs: the user's certificate, or one that is made here and says that nobody vouches for it."""

import os
import subprocess
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from filelock import FileLock

from stages.contracts.publish_settings import Publish
from stages.runtime.errors import UserError
from stages.runtime.files import replacing_folder

KEY_VARIABLE = "PISTACHIO_SIGNING_KEY"
SELF_MADE = "Pistachio, made on the publisher's machine: nobody vouches for it"
YEARS = 10  # a signature without a time stamp is valid as long as its certificate
CHAIN_FILE, KEY_FILE = "chain.pem", "key.pem"


@dataclass(frozen=True)
class Certificate:
    """A chain that ends in a private key."""

    chain: bytes  # PEM, the signer's first
    key: bytes  # PEM, PKCS 8, not encrypted
    algorithm: str  # as C2PA names it: es256, ps256, ed25519 ...
    signer: str  # common name
    serial: str  # of the signer's certificate, decimal
    self_made: bool


def config_folder() -> Path:
    """The user's folder for what must outlive a workspace."""
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "pistachio" / "passport"


def open_certificate(publish: Publish) -> Certificate:
    """The certificate that ``publish`` names, or the one that is made here at first use.

    Raises:
        UserError: when it or its key cannot be read, do not belong together or are out of date.
    """
    named = os.environ.get(KEY_VARIABLE)
    key = Path(named) if named else publish.key
    if publish.certificate is None:
        if key is not None:
            raise UserError("publish.certificate", "there is a key and no certificate", "set it, or unset publish.key")
        return _self_made()
    if key is None:
        raise UserError("publish.key", "there is a certificate and no key", f"set it, or {KEY_VARIABLE}")
    _refuse_committed(key)
    return _read_pair(publish.certificate, key, self_made=False)


def _refuse_committed(key: Path) -> None:
    """A key that git keeps is everybody's."""
    command = ["git", "ls-files", "--error-unmatch", "--", key.name]
    try:
        done = subprocess.run(command, cwd=key.parent, capture_output=True, check=False, timeout=20)
    except (OSError, subprocess.TimeoutExpired):  # no git, or no such folder: reading the key says so
        return
    if done.returncode == 0:
        raise UserError(key, "a private key that git keeps", "take it out of git, and have a new certificate issued")


def _self_made() -> Certificate:
    folder = config_folder()
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.with_suffix(".lock")):  # two programs that start at once must not make two
        if not (folder / KEY_FILE).exists() or _is_over(folder / CHAIN_FILE):
            _make(folder)
        return _read_pair(folder / CHAIN_FILE, folder / KEY_FILE, self_made=True)


def _is_over(chain: Path) -> bool:
    return _read_chain(chain)[0].not_valid_after_utc <= datetime.now(UTC)


def _make(folder: Path) -> None:
    """An authority whose key is forgotten at once, and a signer's certificate with its key, mode 0600."""
    authority, signer = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    top = _build("authority", authority.public_key(), "authority", authority, authority.public_key())
    own = _build("signer", signer.public_key(), "authority", authority, authority.public_key())
    key = signer.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    with replacing_folder(folder) as beside:
        beside.chmod(0o700)
        descriptor = os.open(beside / KEY_FILE, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(key)
        (beside / CHAIN_FILE).write_bytes(b"".join(c.public_bytes(serialization.Encoding.PEM) for c in (own, top)))


def _name(role: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, SELF_MADE),
            x509.NameAttribute(NameOID.COMMON_NAME, f"self-made {role}"),
        ]
    )


def _build(
    subject: str, public: ec.EllipticCurvePublicKey, issuer: str, key: ec.EllipticCurvePrivateKey,
    issuing: ec.EllipticCurvePublicKey,
) -> x509.Certificate:  # fmt: skip
    """A certificate as C2PA's certificate profile asks for: the signer's for signatures alone, by an authority."""
    now, top = datetime.now(UTC), subject == issuer
    builder = (
        x509.CertificateBuilder()
        .subject_name(_name(subject)).issuer_name(_name(issuer)).public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5)).not_valid_after(now + timedelta(days=366 * YEARS))
        .add_extension(x509.BasicConstraints(ca=top, path_length=0 if top else None), critical=True)
        .add_extension(_usage(signs_certificates=top), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuing), critical=False)
    )  # fmt: skip
    if not top:
        builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION]), critical=False)
    return builder.sign(key, hashes.SHA256())


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates, content_commitment=False, key_encipherment=False,
        data_encipherment=False, key_agreement=False, key_cert_sign=signs_certificates, crl_sign=signs_certificates,
        encipher_only=False, decipher_only=False,
    )  # fmt: skip


def _read_pair(chain: Path, key: Path, *, self_made: bool) -> Certificate:
    certificates, private = _read_chain(chain), _read_key(key)
    own = certificates[0]
    if own.public_key() != private.public_key():
        raise UserError(key, f"not the key of the first certificate in {chain}", "name the two that belong together")
    now = datetime.now(UTC)
    if now > own.not_valid_after_utc:
        raise UserError(chain, f"expired on {own.not_valid_after_utc:%Y-%m-%d}", "have a new certificate issued")
    if now < own.not_valid_before_utc:
        raise UserError(chain, f"valid only from {own.not_valid_before_utc:%Y-%m-%d} on", "wait, or mend the clock")
    names = own.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    pem = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return Certificate(
        b"".join(c.public_bytes(serialization.Encoding.PEM) for c in certificates), pem, _algorithm(private, key),
        str(names[0].value) if names else "", str(own.serial_number), self_made,
    )  # fmt: skip


def _read_chain(path: Path) -> list[x509.Certificate]:
    try:
        certificates = x509.load_pem_x509_certificates(path.read_bytes())
    except FileNotFoundError:
        raise UserError(path, "no such certificate", "set publish.certificate") from None
    except ValueError as error:
        raise UserError(path, f"not a certificate in PEM ({error})", "set publish.certificate") from None
    for own, issuer in pairwise(certificates):
        try:
            own.verify_directly_issued_by(issuer)
        except (ValueError, TypeError, InvalidSignature):
            what = "each certificate must be issued by the one that follows it"
            raise UserError(path, what, "yours first, then its issuer, and so on") from None
    return certificates


def _read_key(path: Path) -> PrivateKeyTypes:
    try:
        return serialization.load_pem_private_key(path.read_bytes(), password=None)
    except FileNotFoundError:
        raise UserError(path, "no such private key", f"set publish.key or {KEY_VARIABLE}") from None
    except TypeError:
        raise UserError(
            path, "a private key with a password", "decrypt it: openssl pkey -in KEY -out KEY.pem"
        ) from None
    except ValueError:
        raise UserError(path, "not a private key in PEM", f"set publish.key or {KEY_VARIABLE}") from None


def _algorithm(key: PrivateKeyTypes, path: Path) -> str:
    match key:
        case ec.EllipticCurvePrivateKey(curve=ec.SECP256R1()):
            return "es256"
        case ec.EllipticCurvePrivateKey(curve=ec.SECP384R1()):
            return "es384"
        case ec.EllipticCurvePrivateKey(curve=ec.SECP521R1()):
            return "es512"
        case ed25519.Ed25519PrivateKey():
            return "ed25519"
        case rsa.RSAPrivateKey():
            return "ps256"
        case _:
            raise UserError(path, "a kind of key that C2PA does not know", "P-256, P-384, P-521, Ed25519 or RSA")
