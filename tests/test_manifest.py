"""The manifest stage: reads what caption wrote, and refuses photos without captions."""

from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image
from workspaces import JUDGES, write_card

from miniature.places import WEIGHTS
from stages import caption, manifest
from stages.contracts.manifest import read_manifest
from stages.contracts.paths import MANIFEST
from stages.runtime.errors import UserError


@pytest.fixture(autouse=True)
def workspace(judges: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, faces: list[np.ndarray]) -> Path:
    """Sixteen photos of which two differ in suffix only, captioned by the caption stage."""
    monkeypatch.chdir(tmp_path)
    Path("data/photos/drüben").mkdir(parents=True)
    for number, face in enumerate(faces):
        Image.fromarray(face).save(f"data/photos/{'drüben/' if number % 2 else ''}foto {number // 2}.png")
    Image.fromarray(faces[0][:, ::-1]).save("data/photos/foto 0.jpg")
    sections = {
        "dataset": {"name": "x", "photos": "data/photos", "trigger": "amiranoor", "class_word": "woman"},
        "caption": {"backend": "template"},
        "judges": JUDGES,
        "thresholds": {},
        "machine": {"threads": 1, "state_dir": "state"},
    }
    Path("weights").symlink_to(WEIGHTS)
    Path("params.yaml").write_text(yaml.safe_dump(sections), encoding="utf-8")
    write_card(Path(), sections["dataset"]["name"])
    caption.main()
    return tmp_path


def test_captioned_photos_become_a_manifest_with_both_sides_of_the_split() -> None:
    manifest.main()
    written = read_manifest()
    assert len(written.images) == 17
    assert len(written.side("holdout")) == 10
    assert len(written.side("train")) == 7
    assert {p.caption_file for p in written.images} >= {"foto 0.jpg.txt", "foto 0.png.txt", "drüben/foto 0.txt"}
    assert all(p.caption_text == "amiranoor, a photo of a woman" for p in written.images)
    assert any("17 of 17 captions are identical" in warning for warning in written.summary.warnings)


def test_the_same_photos_make_the_same_bytes_wherever_the_workspace_lies(tmp_path: Path, monkeypatch) -> None:
    manifest.main()
    first = MANIFEST.read_bytes()
    assert str(tmp_path).encode() not in first
    moved = tmp_path.with_name("elsewhere")
    tmp_path.rename(moved)
    monkeypatch.chdir(moved)
    manifest.main()
    assert MANIFEST.read_bytes() == first


def test_a_photo_without_a_caption_is_refused_by_name_and_nothing_is_written() -> None:
    Path("data/captions/drüben/foto 3.txt").unlink()
    with pytest.raises(UserError, match=r"no caption for 1 of 17 photos, the first is drüben/foto 3\.png"):
        manifest.main()
    assert not MANIFEST.exists()


def test_a_workspace_without_captions_is_told_to_caption() -> None:
    Path("data/captions").rename("data/other")
    with pytest.raises(UserError, match="run `dvc repro caption`"):
        manifest.main()


@pytest.mark.parametrize("changed", ["data/photos/foto 0.png", "data/photos/new.png", "data/captions/foto 1.txt"])
def test_what_changes_while_the_manifest_is_made_stops_the_stage(changed: str, monkeypatch) -> None:
    manifest.main()
    before, build = MANIFEST.read_bytes(), manifest.build_manifest

    def overtaken(*arguments):
        built = build(*arguments)
        Path(changed).write_bytes(b"someone else's")
        return built

    monkeypatch.setattr(manifest, "build_manifest", overtaken)
    with pytest.raises(UserError, match="changed while it was being read") as caught:
        manifest.main()
    assert caught.value.where == changed
    assert MANIFEST.read_bytes() == before


def test_the_judges_look_at_every_photo() -> None:
    manifest.main()
    written = read_manifest()
    assert {photo.faces for photo in written.images} == {1}
    assert all(photo.face_share and 0.02 < photo.face_share < 1 for photo in written.images)
    mirrored = next(photo for photo in written.images if photo.filename == "foto 0.jpg")
    assert mirrored.nearest == "foto 0.png"
    assert ["foto 0.jpg", "foto 0.png"] in written.summary.moments  # a mirror image: pHash does not see it
