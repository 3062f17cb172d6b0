"""What a picture says about itself is believed only when it is signed as it is now."""

import io
import json
import zlib
from pathlib import Path

import c2pa
import numpy as np
import pytest
from passports import publish, run_publish
from PIL import Image

from publish.passport import pictures
from publish.passport.containers import PNG_HEAD, _png_chunk, _png_chunks
from publish.passport.inspection import inspect_picture
from publish.passport.marking import SOURCE_TYPES, TRAINED
from publish.passport.stamping import Issuer

Capture = pytest.CaptureFixture[str]


def change_pixel(path: Path) -> None:
    """One level of one pixel, with all that lies beside the pixels left as it is."""
    pixels = np.array(Image.open(path))
    pixels[5, 7, 1] ^= 1
    lines = b"".join(b"\0" + row.tobytes() for row in pixels)
    parts, done = [PNG_HEAD], False
    for kind, body in _png_chunks(path.read_bytes()):
        if kind != b"IDAT":
            parts.append(_png_chunk(kind, body))
        elif not done:
            parts.append(_png_chunk(kind, zlib.compress(lines)))
            done = True
    path.write_bytes(b"".join(parts))


def sign_as_somebody_else(path: Path, pixels: np.ndarray, issuer: Issuer, source: str) -> None:
    """Credentials as another program writes them, with nothing of ours."""
    stream, signed = io.BytesIO(), io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    stream.seek(0)
    action = {"action": "c2pa.created", "digitalSourceType": source}
    claim = {"claim_generator_info": [{"name": "Camera"}], "format": "image/png", "title": "\x1b[31mred\nline",
             "assertions": [{"label": "c2pa.actions.v2", "data": {"actions": [action]}},
                            {"label": "org.pistachio.origin", "data": ["not", "ours"]}]}  # fmt: skip
    own = issuer.certificate
    info = c2pa.C2paSignerInfo(alg=b"es256", sign_cert=own.chain, private_key=own.key, ta_url=None)
    with c2pa.Signer.from_info(info) as signer:
        c2pa.Builder(json.dumps(claim)).sign(signer, "image/png", stream, signed)
    path.write_bytes(signed.getvalue())


def test_a_stamped_picture_is_sound_and_the_program_says_so(
    faces: list[np.ndarray], issuer: Issuer, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    (path,) = publish(Path("batch"), faces[:1], issuer)
    assert run_publish(monkeypatch, "inspect", str(path), "--json") == 0
    seen = json.loads(capsys.readouterr().out)
    assert (seen["signature"], seen["c2pa"], seen["xmp"], seen["tampered"]) == ("valid", TRAINED, TRAINED, False)
    assert run_publish(monkeypatch, "inspect", str(path)) == 0
    assert "vouched    nobody" in capsys.readouterr().out


def test_one_changed_pixel_is_found(
    faces: list[np.ndarray], issuer: Issuer, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    (path,) = publish(Path("batch"), faces[:1], issuer)
    change_pixel(path)
    seen = inspect_picture(path)
    assert (seen.signature, seen.tampered, seen.sound) == ("invalid", True, False)
    assert "assertion.dataHash.mismatch" in seen.problems
    assert run_publish(monkeypatch, "inspect", str(path)) == 1
    assert "tampered with" in capsys.readouterr().out


def test_a_copy_without_marking_is_not_marked(faces: list[np.ndarray], issuer: Issuer) -> None:
    (path,) = publish(Path("batch"), faces[:1], issuer)
    Image.open(path).save("copy.jpg")
    seen = inspect_picture(Path("copy.jpg"))
    assert (seen.signature, seen.xmp, seen.marked) == ("none", "", False)


@pytest.mark.parametrize("source", [TRAINED, SOURCE_TYPES + "digitalCapture", "x" * 10_000])
def test_somebody_else_s_credentials_are_read_as_theirs(
    source: str, faces: list[np.ndarray], issuer: Issuer, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    sign_as_somebody_else(Path("theirs.png"), faces[0], issuer, source)
    seen = inspect_picture(Path("theirs.png"))
    assert (seen.signature, seen.generator, seen.says, seen.marked) == ("valid", "Camera", {}, False)
    assert seen.c2pa == (source if source.startswith("http") else "")
    assert run_publish(monkeypatch, "inspect", "theirs.png") == 1
    assert run_publish(monkeypatch, "trace", "theirs.png") == 1
    assert "\x1b" not in capsys.readouterr().out


@pytest.mark.parametrize("command", ["inspect", "trace"])
@pytest.mark.parametrize("damage", ["empty", "text", "cut", "gone", "folder", "huge", "bomb"])
def test_what_is_no_picture_is_one_line(
    command: str, damage: str, faces: list[np.ndarray], issuer: Issuer, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    (path,) = publish(Path("batch"), faces[:1], issuer)
    data = path.read_bytes()
    match damage:
        case "empty" | "text" | "cut":
            path.write_bytes({"empty": b"", "text": b"hello", "cut": data[:-600]}[damage])
        case "gone":
            path.unlink()
        case "folder":
            path = path.parent
        case "huge":
            monkeypatch.setattr(pictures, "LARGEST", 1000)
        case "bomb":
            side = (100_000).to_bytes(4, "big")
            path.write_bytes(PNG_HEAD + _png_chunk(b"IHDR", side + side + b"\x08\x02\0\0\0") + data[33:])
    assert run_publish(monkeypatch, command, str(path)) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert len(error.splitlines()) == 1


def test_damaged_credentials_are_invalid_and_no_bug(faces: list[np.ndarray], issuer: Issuer) -> None:
    (path,) = publish(Path("batch"), faces[:1], issuer)
    chunks = list(_png_chunks(path.read_bytes()))
    generator = np.random.default_rng(0)
    for trial in range(40):
        parts = [PNG_HEAD]
        for kind, body in chunks:
            if kind == b"caBX":
                broken = bytearray(body)
                for place in generator.integers(0, len(body), 1 + trial % 5):
                    broken[place] ^= int(generator.integers(1, 256))
                body = bytes(broken[: len(body) - (trial % 3) * 700])
            parts.append(_png_chunk(kind, body))
        path.write_bytes(b"".join(parts))
        seen = inspect_picture(path)
        assert not (seen.sound and trial % 3), trial
