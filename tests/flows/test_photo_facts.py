"""What can be seen in one photo, and which photos show one moment, with the miniature's own judges."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from miniature.persona import PHOTOS, persona, photo_files, photo_scene
from miniature.places import DEVELOPMENT, WEIGHTS
from miniature.render import render, render_faceless, sample_identity, sample_scene
from stages.contracts.manifest import Manifest
from stages.contracts.settings import Dataset, FacePack, Judge, Judges, Machine, TextImage
from stages.flows.dataset import build_manifest
from stages.flows.photo_facts import Facts, Viewers, gather_facts, open_viewers
from stages.runtime.errors import UserError
from stages.runtime.pictures import write_png
from stages.runtime.provenance import hash_file

SIMILARITY = 0.9  # conf/dataset/mini.yaml
SEED = DEVELOPMENT.start + 7
Build = Callable[..., Manifest]


@pytest.fixture(scope="module")
def viewers(judges: None) -> Viewers:
    pack = FacePack(path=WEIGHTS / "faces/models/miniature", licence="test", detection_size=128)
    second, clip = Judge(path=WEIGHTS / "judge", licence="test"), TextImage(path=WEIGHTS / "clip", licence="test")
    return open_viewers(Judges(faces=pack, second=second, text_image=clip), Machine(threads=1))


@pytest.fixture
def build(viewers: Viewers, tmp_path: Path) -> Build:
    """Builds the manifest of the pictures that lie in tmp_path."""

    def built(**changed) -> Manifest:
        values = {"name": "x", "photos": tmp_path, "trigger": "amiranoor", "class_word": "woman",
                  "holdout_min": 3, "moment_similarity": SIMILARITY}  # fmt: skip
        return build_manifest(tmp_path, tmp_path / "captions", Dataset(**(values | changed)), 2, viewers)

    return built


def scenes(*numbers: int) -> list[np.ndarray]:
    """Different photos of one person, square."""
    return [render(persona(SEED), photo_scene(SEED, number), 128).image for number in numbers]


def facts(folder: Path, names: list[str], viewers: Viewers | None) -> list[Facts]:
    return list(gather_facts(folder, folder, {name: f"{name}.txt" for name in names}, 64, viewers, workers=2))


def test_the_hash_is_that_of_the_bytes_that_were_decoded_even_if_the_file_changes_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.png"
    write_png(path, np.zeros((8, 8, 3), np.uint8))
    before, read = hash_file(path), Path.read_bytes

    def overtaken(self: Path) -> bytes:
        data = read(self)
        write_png(path, np.full((9, 9, 3), 255, np.uint8))
        return data

    monkeypatch.setattr(Path, "read_bytes", overtaken)
    (found,) = facts(tmp_path, ["a.png"], None)
    assert (found.fields["sha256"], found.fields["width"]) == (before, 8)


def test_faces_are_counted_and_the_largest_one_s_share_of_the_photo_is_measured(
    tmp_path: Path, viewers: Viewers
) -> None:
    near = render(sample_identity(1), sample_scene(1, framing="close-up", eyewear="none", hat="none"), 96)
    far = render(sample_identity(2), sample_scene(2, framing="medium", eyewear="none", hat="none"), 96)
    write_png(tmp_path / "one.png", near.image)
    write_png(tmp_path / "two.png", np.concatenate([near.image, far.image], axis=1))
    write_png(tmp_path / "none.png", render_faceless(3, 96).image)
    one, two, none = (found.fields for found in facts(tmp_path, ["one.png", "two.png", "none.png"], viewers))
    assert (one["faces"], two["faces"], none["faces"]) == (1, 2, 0)
    assert near.bbox is not None
    width, height = near.bbox[2:] - near.bbox[:2]
    assert one["face_share"] == pytest.approx(width * height / 96**2, rel=0.25)
    assert two["face_share"] == pytest.approx(one["face_share"] / 2, rel=0.1)
    assert "face_share" not in none


def test_without_judges_nobody_looked_and_that_is_what_is_said(tmp_path: Path) -> None:
    write_png(tmp_path / "a.png", scenes(0)[0])
    (found,) = facts(tmp_path, ["a.png"], None)
    assert found.fields["faces"] is None
    assert found.embedding is None
    assert found.fields["sharpness"] > 0


def test_a_photo_s_facts_do_not_depend_on_the_others(tmp_path: Path, viewers: Viewers) -> None:
    names = [f"{number}.png" for number in range(11)]
    for name, pixels in zip(names, scenes(*range(11)), strict=True):
        write_png(tmp_path / name, pixels)
    together = facts(tmp_path, names, viewers)
    (alone,) = facts(tmp_path, names[9:10], viewers)
    assert alone.fields == together[9].fields
    assert np.array_equal(alone.embedding, together[9].embedding)


def shots_of(number: int) -> dict[str, np.ndarray]:
    """What a camera makes of one moment: cropped, mirrored, brighter, another expression and a turn of the head."""
    scene = photo_scene(SEED, number)
    (plain,) = scenes(number)
    turned = dataclasses.replace(scene, yaw=scene.yaw - 5, expression="smiling" if number % 2 else "neutral")
    brighter = np.clip(plain.astype(float) * 1.1, 0, 255).astype(np.uint8)
    return {
        "plain": plain, "mirrored": plain[:, ::-1], "cropped": plain[6:122, 8:124], "brighter": brighter,
        "turned": render(persona(SEED), turned, 128).image,
    }  # fmt: skip


def test_shots_of_one_moment_are_found_where_a_perceptual_hash_loses_them(build: Build, tmp_path: Path) -> None:
    moments = range(9)
    for number in moments:
        for kind, pixels in shots_of(number).items():
            write_png(tmp_path / f"{number}-{kind}.png", np.ascontiguousarray(pixels))
    by_hash = build(moment_similarity=None)
    split = {p.filename: p.split for p in by_hash.images}
    assert any(split[f"{number}-plain.png"] != split[f"{number}-mirrored.png"] for number in moments)
    manifest = build()
    groups = {p.filename: p.group for p in manifest.images}
    split = {p.filename: p.split for p in manifest.images}
    found = {kind: sum(groups[f"{n}-{kind}.png"] == groups[f"{n}-plain.png"] for n in moments) for kind in shots_of(0)}
    assert found["mirrored"] == found["turned"] == found["brighter"] == 9
    assert found["cropped"] >= 8
    assert len({split[f"{number}-{kind}.png"] for number in (4,) for kind in shots_of(4)}) == 1
    heads = [groups[f"{number}-plain.png"] for number in moments]
    assert len(set(heads)) == 9  # one person, nine moments: the split does not collapse
    assert len(manifest.summary.moments) == 9
    assert any("photos show one moment: 0-brighter.png, " in warning for warning in manifest.summary.warnings)
    assert {p.split for p in manifest.images} == {"train", "holdout"}


@pytest.mark.parametrize("seed", [DEVELOPMENT.start + 40, DEVELOPMENT.start + 41])
def test_a_person_s_photos_of_different_moments_stay_apart(build: Build, tmp_path: Path, seed: int) -> None:
    for name, content in photo_files(seed).items():
        (tmp_path / name).write_bytes(content)
    manifest = build(holdout_min=10)
    assert len(manifest.images) == PHOTOS
    assert manifest.summary.duplicates == [["photo_01.jpg", "photo_35.jpg"], ["photo_02.jpg", "photo_36.jpg"]]
    scenes_of = {f"photo_{n + 1:02d}": photo_scene(seed, n) for n in range(PHOTOS)}
    for names in manifest.summary.moments:  # by chance in the same clothes, place and light: nobody could tell
        for what in ("background", "light", "garment_colour"):
            assert len({getattr(scenes_of[Path(name).stem], what) for name in names}) == 1
    assert len({p.group for p in manifest.images}) >= 30
    assert manifest.summary.holdout_images == 10
    nearest = {p.filename: (p.nearest, p.nearest_similarity) for p in manifest.images}
    assert nearest["photo_35.jpg"] == ("photo_01.jpg", 1.0)
    assert nearest["photo_02.jpg"][0] == "photo_36.jpg"


def test_one_long_moment_that_leaves_nothing_to_train_on_is_refused_with_the_setting_to_change(
    build: Build, tmp_path: Path
) -> None:
    for number in range(8):
        pixels = shots_of(0)["turned"][number : number + 110, number : number + 110]
        write_png(tmp_path / f"{number}.png", np.ascontiguousarray(pixels))
    what = r"leaves 0 photos for training \(the largest group holds 8 of 8\).*raise moment_similarity"
    with pytest.raises(UserError, match=what):
        build()
    assert build(moment_similarity=None, duplicate_distance=0).summary.train_images >= 2


def test_faces_and_blur_that_will_hurt_the_training_are_named(build: Build, tmp_path: Path) -> None:
    for number, pixels in enumerate(scenes(*range(10))):
        write_png(tmp_path / f"{number}.png", pixels)
    write_png(tmp_path / "blurred.png", cv2.GaussianBlur(scenes(11)[0], (0, 0), 2))
    write_png(tmp_path / "wall.png", render_faceless(3, 96).image)
    write_png(tmp_path / "friends.png", np.concatenate(scenes(12, 13), axis=1))
    warnings = "\n".join(build().summary.warnings)
    assert "photos with under 0.15 of the median sharpness (1): blurred.png; replace what is blurred" in warnings
    assert "photos without a face that the face pack finds (1): wall.png; remove them" in warnings
    assert "photos with several faces (1): friends.png; crop to the person" in warnings


def test_a_face_that_is_lost_in_its_photo_is_named(build: Build, tmp_path: Path) -> None:
    for number, pixels in enumerate(scenes(*range(8))):
        write_png(tmp_path / f"{number}.png", pixels)
    wide = cv2.copyMakeBorder(scenes(0)[0], 0, 700, 300, 300, cv2.BORDER_CONSTANT, value=(90, 90, 90))
    write_png(tmp_path / "far.png", wide)
    manifest = build()
    far = next(p for p in manifest.images if p.filename == "far.png")
    said = [
        w for w in manifest.summary.warnings if "far.png" in w and ("without a face" in w or "face is under 2%" in w)
    ]
    assert len(said) == 1
    assert (far.faces == 0) == ("without a face" in said[0])
