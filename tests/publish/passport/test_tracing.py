"""A copy leads back to everything that it was made from, and a stranger's picture to nothing."""

import json
import time
from pathlib import Path

import numpy as np
import pytest
import yaml
from passports import make_record, publish, run_publish
from PIL import Image
from workspaces import make_workspace

from bench.bad_copies import copy_badly
from miniature.render import render, sample_identity, sample_scene
from publish.passport.fingerprints import read_fingerprint, take_fingerprint, write_fingerprint
from publish.passport.search import Shelf, find_copies
from publish.passport.stamping import Issuer, stamp_picture
from publish.passport.tracing import trace_picture
from stages.contracts.paths import MANIFEST, PUBLISHED, SUBJECT
from stages.contracts.publish_settings import Publish
from stages.contracts.subject import read_subject
from stages.runtime.provenance import hash_file

Capture = pytest.CaptureFixture[str]
LEAST = Publish().trace
CARD = {
    "kind": "synthetic", "name": "Ada", "dataset": "persona", "adult": True, "scope": ["commercial"],
    "made_with": "rendered", "date": "2026-01-02",
}  # fmt: skip


def write_card(**changes: object) -> str:
    SUBJECT.parent.mkdir(parents=True, exist_ok=True)
    SUBJECT.write_text(yaml.safe_dump(CARD | changes))
    return read_subject().sha256


@pytest.fixture
def published(faces: list[np.ndarray], issuer: Issuer) -> list[Path]:
    """Eight published pictures in a workspace with dataset, LoRA and subject card."""
    make_workspace(Path())
    lora = next(Path("models/lora").glob("*.safetensors"))
    known = {"lora": str(lora), "lora_sha256": hash_file(lora), "manifest_sha256": hash_file(MANIFEST)}
    return publish(Path("out/batch"), faces[:8], issuer, subject_sha256=write_card(), **known)


def test_the_published_file_leads_back_to_everything(
    published: list[Path], monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    assert run_publish(monkeypatch, "trace", str(published[3]), "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["how"], found["picture"], found["folder"]) == ("credentials", str(published[3]), "out/batch")
    assert (found["origin"]["text"], found["origin"]["seed"]) == ("amira, smiling", 987654321)
    assert (found["lora"]["state"], found["manifest"]["state"]) == ("there", "there")
    assert found["manifest"]["path"] == "data/manifest.json"
    assert found["photos"][:2] == ["000.png", "001.png"]
    assert len(found["photos"]) == 20
    assert (found["subject"], found["subject_name"]) == ("valid", "Ada")


def test_a_stripped_file_is_known_by_its_pixels_and_a_bad_copy_by_its_looks(
    published: list[Path], monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    Image.open(published[2]).save("stripped.png")
    assert trace_picture(Path("stripped.png"), LEAST).how == "pixels"
    generator = np.random.default_rng(0)
    for mirrored in (False, True):
        copy = copy_badly(np.asarray(Image.open(published[2])), generator, mirrored=mirrored)
        Image.fromarray(copy).save("copy.png")
        found = trace_picture(Path("copy.png"), LEAST)
        assert (found.how, found.picture, found.mirrored) == ("looks", str(published[2]), mirrored)
        assert found.view is not None
        assert found.view[2] == pytest.approx(61 / 64, abs=0.03)
    assert run_publish(monkeypatch, "trace", "copy.png") == 0
    shown = capsys.readouterr().out
    for part in ("known by its looks", "mirrored", "amira, smiling", "20: 000.png", "Ada: valid"):
        assert part in shown


def test_a_stranger_and_another_scene_of_the_same_person_are_not_claimed(
    published: list[Path], faces: list[np.ndarray], monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    stranger = render(sample_identity(2_000_009), sample_scene(3), 64).image
    for pixels in (stranger, *faces[8:]):
        Image.fromarray(pixels).save("other.png")
        assert trace_picture(Path("other.png"), LEAST).how == "nothing"
    assert run_publish(monkeypatch, "trace", "other.png") == 1
    assert "not a picture that this workspace published" in capsys.readouterr().out


def test_a_card_that_was_revoked_has_expired_or_is_another_is_said(published: list[Path]) -> None:
    write_card(revoked={"date": "2026-03-01", "reason": "asked to"})
    assert trace_picture(published[0], LEAST).subject == "revoked on 2026-03-01: asked to"
    write_card(name="Eve")
    assert trace_picture(published[0], LEAST).subject.startswith("another card")
    SUBJECT.unlink()
    assert "not found" in trace_picture(published[0], LEAST).subject


def test_what_is_gone_or_another_file_is_said(published: list[Path]) -> None:
    MANIFEST.unlink()
    lora = next(path for path in Path("models/lora").glob("*.safetensors") if trace_picture(published[0], LEAST).lora)
    for path in Path("models/lora").glob("*.safetensors"):
        path.write_bytes(lora.read_bytes() + b"x")
    found = trace_picture(published[0], LEAST)
    assert found.lora is not None
    assert found.manifest is not None
    assert (found.lora.state, found.manifest.state, found.photos) == ("another", "gone", ())


def test_a_broken_row_is_one_line_and_the_others_are_found(published: list[Path], capsys: Capture) -> None:
    lines = PUBLISHED.read_bytes().splitlines()
    row = json.loads(lines[1]) | {"fingerprint": "AAAA"}
    PUBLISHED.write_bytes(b"\n".join([lines[0], b"\xff\xfe{", json.dumps(row).encode(), *lines[2:]]) + b"\n")
    assert trace_picture(published[7], LEAST).how == "credentials"
    warnings = capsys.readouterr().err.splitlines()
    assert [line.split(":")[2] for line in warnings] == ["2", "3"]


def test_a_borrowed_passport_is_not_believed(published: list[Path], faces: list[np.ndarray], issuer: Issuer) -> None:
    """Somebody signs another picture with our record's hash in it: pixels and looks decide."""
    Image.fromarray(faces[12]).save("other.png")
    record = make_record(Path("other.png"))
    stamp_picture(Path("other.png"), record, Issuer(issuer.certificate, index=Path("elsewhere.jsonl")))
    found = trace_picture(Path("other.png"), LEAST)
    assert found.how == "nothing"
    assert found.stated["batch"] == "0123456789ab"


def test_a_workspace_that_published_nothing_traces_nothing(faces: list[np.ndarray]) -> None:
    Image.fromarray(faces[0]).save("a.png")
    assert trace_picture(Path("a.png"), LEAST).how == "nothing"


@pytest.mark.parametrize(("width", "height"), [(1024, 1024), (832, 1216), (48, 64)])
def test_pictures_of_other_sizes_and_shapes_are_found_too(width: int, height: int, faces: list[np.ndarray]) -> None:
    large = [np.asarray(Image.fromarray(face).resize((width, height), Image.Resampling.BICUBIC)) for face in faces]
    prints = np.stack([take_fingerprint(pixels) for pixels in large])
    assert (read_fingerprint(write_fingerprint(prints[0])) == prints[0]).all()
    shelf = Shelf(prints, np.full(len(large), round(width / height, 4)))
    generator = np.random.default_rng(1)
    for row in (0, 5):
        best = find_copies(copy_badly(large[row], generator, size=0.5), shelf)[0]
        assert best.row == row
        assert best.score > LEAST


def test_ten_thousand_rows_are_searched_in_two_seconds(faces: list[np.ndarray]) -> None:
    some = np.stack([take_fingerprint(face) for face in faces])
    generator = np.random.default_rng(2)
    prints = np.clip(some[generator.integers(0, 16, 10_000)] + generator.integers(-60, 60, (10_000, 32, 32, 3)), 0, 255)
    prints = prints.astype(np.uint8)
    prints[7_777] = some[3]
    copy = copy_badly(faces[3], generator)
    started = time.process_time()
    best = find_copies(copy, Shelf(prints, np.ones(10_000)))[0]
    assert best.row == 7_777
    assert time.process_time() - started < 2  # seconds of all processors together
