"""Who signs, and what is said when they cannot."""

import datetime
import subprocess
from pathlib import Path

import numpy as np
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from passports import publish

from publish.passport.certificates import config_folder, open_certificate
from publish.passport.inspection import inspect_picture
from publish.passport.stamping import Issuer, open_issuer
from stages.contracts.publish_settings import Publish
from stages.runtime.errors import UserError

KEYS = {
    "es256": lambda: ec.generate_private_key(ec.SECP256R1()), "es384": lambda: ec.generate_private_key(ec.SECP384R1()),
    "ed25519": ed25519.Ed25519PrivateKey.generate,
    "ps256": lambda: rsa.generate_private_key(public_exponent=65537, key_size=2048),
}  # fmt: skip
PEM, PKCS8 = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8


def name(common: str) -> x509.Name:
    return x509.Name(
        [x509.NameAttribute(NameOID.COMMON_NAME, common), x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Studio")]
    )


def issue(algorithm: str = "es256", days: tuple[int, int] = (-1, 30), alone: bool = False) -> Publish:
    """Write chain.pem, key.pem and top.pem as an authority hands them out."""
    top, key, now = KEYS["es256"](), KEYS[algorithm](), datetime.datetime.now(datetime.UTC)
    written = []
    for subject, public, ca in (("Ada", key.public_key(), False), ("Authority", top.public_key(), True)):
        usage = [False] * 9
        usage[5 if ca else 0] = True
        builder = (
            x509.CertificateBuilder().subject_name(name(subject)).issuer_name(name("Authority")).public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now + datetime.timedelta(days=min(days[0], -1) if ca else days[0]))
            .not_valid_after(now + datetime.timedelta(days=100 if ca else days[1]))
            .add_extension(x509.BasicConstraints(ca, None), True).add_extension(x509.KeyUsage(*usage), True)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(top.public_key()), False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), False)
        )  # fmt: skip
        if not ca:
            builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION]), False)
        written.append(builder.sign(top, hashes.SHA256()).public_bytes(PEM))
    Path("chain.pem").write_bytes(written[0] if alone else b"".join(written))
    Path("top.pem").write_bytes(written[1])
    Path("key.pem").write_bytes(key.private_bytes(PEM, PKCS8, serialization.NoEncryption()))
    return Publish(certificate=Path("chain.pem"), key=Path("key.pem"))


def test_a_made_certificate_is_the_user_s_alone_kept_and_says_that_nobody_vouches(
    faces: list[np.ndarray], issuer: Issuer
) -> None:
    assert (config_folder() / "key.pem").stat().st_mode & 0o777 == 0o600
    assert config_folder().stat().st_mode & 0o777 == 0o700
    assert open_certificate(Publish()) == issuer.certificate
    (path,) = publish(Path("batch"), faces[:1], issuer)
    seen = inspect_picture(path)
    assert seen.sound
    assert seen.vouched.startswith("nobody")
    assert "nobody vouches" in seen.signer
    assert "nobody vouches" in seen.says["certificate"]


@pytest.mark.parametrize("algorithm", KEYS)
def test_the_user_s_certificate_signs_and_who_believes_its_authority_is_told_so(
    algorithm: str, faces: list[np.ndarray]
) -> None:
    (path,) = publish(Path("batch"), faces[:1], open_issuer(issue(algorithm)))
    assert inspect_picture(path).signature == "valid"
    trusted = inspect_picture(path, Path("top.pem"))
    assert (trusted.signature, trusted.signer) == ("trusted", "Ada, Studio")
    assert trusted.says["certificate"] == "the publisher's"
    issue()
    assert inspect_picture(path, Path("top.pem")).signature == "valid"  # another authority


def test_the_environment_names_the_key_too(monkeypatch: pytest.MonkeyPatch) -> None:
    issue()
    monkeypatch.setenv("PISTACHIO_SIGNING_KEY", "key.pem")
    assert open_certificate(Publish(certificate=Path("chain.pem"))).algorithm == "es256"


@pytest.mark.parametrize(("days", "said"), [((-30, -1), "expired on"), ((1, 30), "valid only from")])
def test_a_certificate_out_of_date_is_one_line(days: tuple[int, int], said: str) -> None:
    with pytest.raises(UserError, match=said):
        open_issuer(issue(days=days))


def test_what_does_not_belong_together_or_cannot_be_read_is_one_line() -> None:
    settings = issue()
    chain, key = Path("chain.pem").read_bytes(), Path("key.pem").read_bytes()
    issue()
    Path("key.pem").write_bytes(key)
    with pytest.raises(UserError, match="not the key of the first certificate"):
        open_issuer(settings)
    Path("chain.pem").write_bytes(
        chain.split(b"-----END")[0] + b"-----END CERTIFICATE-----\n" + Path("top.pem").read_bytes()
    )
    with pytest.raises(UserError, match="issued by the one that follows"):
        open_issuer(settings)
    Path("chain.pem").write_bytes(chain)
    for content in (b"", b"nonsense"):
        Path("key.pem").write_bytes(content)
        with pytest.raises(UserError, match="not a private key"):
            open_issuer(settings)
    Path("chain.pem").write_bytes(b"nonsense")
    with pytest.raises(UserError, match="not a certificate"):
        open_issuer(settings)
    Path("chain.pem").unlink()
    with pytest.raises(UserError, match="no such certificate"):
        open_issuer(settings)
    for half in (Publish(certificate=Path("c")), Publish(key=Path("k"))):
        with pytest.raises(UserError, match="and no"):
            open_issuer(half)


def test_a_key_with_a_password_is_one_line() -> None:
    settings = issue()
    private = serialization.load_pem_private_key(Path("key.pem").read_bytes(), None)
    Path("key.pem").write_bytes(private.private_bytes(PEM, PKCS8, serialization.BestAvailableEncryption(b"x")))
    with pytest.raises(UserError, match="password"):
        open_issuer(settings)


def test_a_key_that_git_keeps_is_refused() -> None:
    settings = issue()
    subprocess.run(["git", "init", "-q"], check=True)
    open_issuer(settings)
    subprocess.run(["git", "add", "key.pem"], check=True)
    with pytest.raises(UserError, match="git keeps"):
        open_issuer(settings)


def test_a_certificate_that_c2pa_does_not_take_stops_before_anything_is_written(faces: list[np.ndarray]) -> None:
    now = datetime.datetime.now(datetime.UTC)
    key = KEYS["es256"]()
    own = (
        x509.CertificateBuilder().subject_name(name("Ada")).issuer_name(name("Ada")).public_key(key.public_key())
        .serial_number(1).not_valid_before(now).not_valid_after(now + datetime.timedelta(days=9))
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    Path("chain.pem").write_bytes(own.public_bytes(PEM))
    Path("key.pem").write_bytes(key.private_bytes(PEM, PKCS8, serialization.NoEncryption()))
    with pytest.raises(UserError, match="cannot sign"):
        open_issuer(Publish(certificate=Path("chain.pem"), key=Path("key.pem")))


def test_an_authority_for_time_stamps_that_does_not_answer_is_one_line(faces: list[np.ndarray]) -> None:
    issuer = Issuer(open_certificate(Publish()), timestamp_url="http://127.0.0.1:9")
    with pytest.raises(UserError, match="timestamp_url: cannot sign"):
        publish(Path("batch"), faces[:1], issuer)
