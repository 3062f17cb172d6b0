"""A dataset is built into a manifest, two are compared, and rot is named."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from stages.contracts.manifest import Manifest
from stages.contracts.settings import Dataset
from stages.flows.dataset import build_manifest, compare_manifests, verify_manifest
from stages.runtime.errors import UserError
from stages.runtime.provenance import hash_file

PHOTOS, CAPTIONS = Path("data/photos"), Path("data/captions")
SEITLICH = 6  # EXIF: turn by 90 degrees to see it upright


def settings(**changed) -> Dataset:
    values = {"name": "x", "photos": PHOTOS, "trigger": "amiranoor", "class_word": "woman", "holdout_min": 3,
              "duplicate_distance": 2}  # fmt: skip
    return Dataset(**(values | changed))


def build(**changed) -> Manifest:
    return build_manifest(PHOTOS, CAPTIONS, settings(**changed))


def photo(manifest: Manifest, name: str):
    return next(photo for photo in manifest.images if photo.filename == name)


def caption(name: str, text: str) -> None:
    path = CAPTIONS / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


@pytest.fixture
def dataset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, faces: list[np.ndarray]) -> Path:
    """Ten different photos, names with blanks and umlauts, one in a subfolder, each with its caption."""
    monkeypatch.chdir(tmp_path)
    for number, face in enumerate(faces[:10]):
        folder = PHOTOS / "im Urlaub" if number == 4 else PHOTOS
        folder.mkdir(parents=True, exist_ok=True)
        suffix = "jpg" if number % 2 else "png"
        Image.fromarray(face).save(folder / f"größe {number}.{suffix}", quality=95)
        caption(f"{folder.relative_to(PHOTOS).as_posix()}/größe {number}.txt", f"amiranoor, photo number {number}")
    return tmp_path


def test_every_photo_is_listed_with_its_bytes_its_size_and_its_caption(dataset: Path) -> None:
    manifest = build()
    assert [p.filename for p in manifest.images] == sorted(p.filename for p in manifest.images)
    found = photo(manifest, "im Urlaub/größe 4.png")
    path = PHOTOS / found.filename
    assert (found.sha256, found.size_bytes) == (hash_file(path), path.stat().st_size)
    assert (found.caption_file, found.caption_text) == ("im Urlaub/größe 4.txt", "amiranoor, photo number 4")
    assert found.caption_sha256 == hash_file(CAPTIONS / found.caption_file)
    assert (manifest.photos, manifest.captions) == ("data/photos", "data/captions")
    summary = manifest.summary
    assert (summary.total_images, summary.total_captions, summary.unique_captions) == (10, 10, 10)
    assert (summary.train_images, summary.holdout_images) == (7, 3)
    assert summary.resolution_set == ["64x64"]
    assert summary.duplicates == []
    assert summary.mean_image_size_bytes == np.mean([p.size_bytes for p in manifest.images])


def test_the_same_files_make_the_same_manifest_however_many_threads_read_them(dataset: Path) -> None:
    assert build() == build_manifest(PHOTOS, CAPTIONS, settings(), workers=3)


def test_dimensions_and_hash_are_those_of_the_upright_picture(dataset: Path, faces: list[np.ndarray]) -> None:
    portrait = faces[12][:, 8:56]
    Image.fromarray(portrait).save(PHOTOS / "upright.png")
    exif = Image.Exif()
    exif[0x0112] = SEITLICH
    Image.fromarray(np.rot90(portrait)).save(PHOTOS / "lying.png", exif=exif)
    manifest = build()
    upright, lying = photo(manifest, "upright.png"), photo(manifest, "lying.png")
    assert (lying.width, lying.height) == (upright.width, upright.height) == (48, 64)
    assert lying.phash == upright.phash
    assert lying.group == upright.group
    assert lying.split == upright.split


def test_exact_and_encoded_again_duplicates_are_listed_on_one_side_and_said_so(dataset: Path) -> None:
    (PHOTOS / "copy of größe 0.png").write_bytes((PHOTOS / "größe 0.png").read_bytes())
    Image.open(PHOTOS / "größe 2.png").save(PHOTOS / "again.jpg", quality=80)
    for seed in range(6):
        manifest = build(seed=seed)
        assert manifest.summary.duplicates == [["again.jpg", "größe 2.png"], ["copy of größe 0.png", "größe 0.png"]]
        for names in manifest.summary.duplicates:
            assert len({photo(manifest, name).split for name in names}) == 1
            assert len({photo(manifest, name).group for name in names}) == 1
    warnings = manifest.summary.warnings
    assert "2 photos are nearly the same picture: again.jpg, größe 2.png; keep one of them" in warnings
    assert "2 photos are the same file: copy of größe 0.png, größe 0.png; keep one of them" in warnings


def test_captions_that_will_hurt_the_training_are_named(dataset: Path) -> None:
    for number in (1, 3, 5):
        caption(f"größe {number}.txt", "amiranoor, a photo of a woman")
    caption("größe 0.txt", "a woman without her name")
    caption("größe 2.txt", "amiranoor")
    (CAPTIONS / "größe 8.txt").unlink()
    caption("left over.txt", "amiranoor, nobody")
    manifest = build()
    warnings = "\n".join(manifest.summary.warnings)
    said = "3 of 9 captions are identical: 'amiranoor, a photo of a woman' (größe 1.jpg, größe 3.jpg, größe 5.jpg)"
    assert said in warnings
    assert "captions that do not name the trigger 'amiranoor' (1): größe 0.png" in warnings
    assert "captions that say nothing beside the trigger (1): größe 2.png" in warnings
    assert "photos without a caption (1): größe 8.png" in warnings
    assert "caption files of no photo (1): left over.txt" in warnings
    assert manifest.summary.total_captions == 9
    assert next(iter(manifest.summary.caption_distribution.items())) == ("amiranoor, a photo of a woman", 3)
    assert photo(manifest, "größe 8.png").caption_file == ""


def test_words_that_stand_in_nearly_every_caption_are_named_but_not_the_class_word(dataset: Path) -> None:
    for number in range(10):
        folder = "im Urlaub/" if number == 4 else ""
        caption(f"{folder}größe {number}.txt", f"amiranoor, a woman, long black hair, scene {number}")
    (warning,) = [w for w in build().summary.warnings if "stands in" in w]
    assert warning.startswith("'long black hair' stands in 10 of 10 captions")


def test_words_that_nearly_every_caption_has_inside_its_prose_are_named_too(dataset: Path) -> None:
    for number in range(9):
        caption(f"{'im Urlaub/' if number == 4 else ''}größe {number}.txt",
                f"amiranoor, the image shows a woman who is standing in front of a wall{number}")  # fmt: skip
    warnings = [w.split(":")[0] for w in build().summary.warnings if "stands in" in w]
    assert warnings == [
        "'the image shows a' stands in 9 of 10 captions",
        "'who is standing in front of a' stands in 9 of 10 captions",
    ]


def test_tiny_and_mixed_pictures_and_few_references_are_warned_of(dataset: Path) -> None:
    Image.open(PHOTOS / "größe 0.png").resize((40, 300)).save(PHOTOS / "thin.png")
    Image.open(PHOTOS / "größe 6.png").resize((600, 600)).save(PHOTOS / "large.png")
    warnings = build().summary.warnings
    assert "photos smaller than 64 px (1): thin.png; they are enlarged; use the originals" in warnings
    (sizes,) = [w for w in warnings if w.startswith("sizes are mixed")]
    assert "short sides from 40 to 600 px (thin.png, large.png)" in sizes
    (aspects,) = [w for w in warnings if w.startswith("aspect ratios are mixed")]
    assert "thin.png (40x300)" in aspects
    thin = build(smallest_side=65).summary.warnings
    assert any(w.startswith("photos smaller than 65 px (11): größe 0.png, ") and "and 6 more" in w for w in thin)
    assert any(w.startswith("few holdout photos (3)") for w in warnings)


def test_an_ordinary_dataset_has_no_warnings(dataset: Path, faces: list[np.ndarray]) -> None:
    for number, face in enumerate(faces[10:], start=10):
        Image.fromarray(face).save(PHOTOS / f"größe {number}.png")
    for number in range(len(faces)):
        caption(f"{'im Urlaub/' if number == 4 else ''}größe {number}.txt", f"amiranoor, a woman in dress{number}")
    manifest = build(holdout_min=10)
    assert manifest.summary.warnings == []
    assert (manifest.summary.train_images, manifest.summary.holdout_images) == (6, 10)


def test_too_few_photos_for_the_split_are_refused(dataset: Path) -> None:
    assert build(holdout_min=8).summary.train_images == 2
    with pytest.raises(UserError, match="10 photos, of which the holdout takes 9"):
        build(holdout_min=9)
    with pytest.raises(UserError, match="holdout takes 20"):
        build(holdout_min=20)


def test_duplicates_that_leave_nothing_to_train_on_are_refused(dataset: Path) -> None:
    for number in range(1, 10):
        for path in PHOTOS.rglob(f"größe {number}.*"):
            path.write_bytes((PHOTOS / "größe 0.png").read_bytes())
    with pytest.raises(UserError, match="leaves 0 photos for training"):
        build(holdout_min=3)


def test_a_file_that_is_no_picture_is_refused_by_name(dataset: Path) -> None:
    (PHOTOS / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 not a picture")
    with pytest.raises(UserError, match=r"broken\.jpg: not a readable picture"):
        build()


def test_a_name_that_is_no_text_is_refused_on_one_printable_line(dataset: Path) -> None:
    (PHOTOS / "gr\udcf6sse.png").write_bytes((PHOTOS / "größe 0.png").read_bytes())
    with pytest.raises(UserError, match="not UTF-8") as caught:
        build()
    assert "gr\\udcf6sse.png" in caught.value.line


def test_two_manifests_differ_in_exactly_what_changed(dataset: Path) -> None:
    before = build()
    assert compare_manifests(before, before).empty
    (PHOTOS / "größe 0.png").unlink()
    (CAPTIONS / "größe 0.txt").unlink()
    Image.open(PHOTOS / "größe 2.png").rotate(180).save(PHOTOS / "größe 2.png")
    Image.open(PHOTOS / "größe 6.png").rotate(90).save(PHOTOS / "new.png")
    caption("größe 8.txt", "amiranoor, smiling")
    after = build(trigger="noor")
    difference = compare_manifests(before, after)
    assert difference.added == ["new.png"]
    assert difference.removed == ["größe 0.png"]
    assert [change.filename for change in difference.changed_bytes] == ["größe 2.png"]
    (change,) = difference.changed_captions
    assert (change.filename, change.before, change.after) == (
        "größe 8.png", "amiranoor, photo number 8", "amiranoor, smiling"
    )  # fmt: skip
    assert difference.settings == {"trigger": ("amiranoor", "noor")}
    assert not difference.empty


def test_photos_that_share_a_group_with_others_than_before_are_a_difference(dataset: Path) -> None:
    before = build()
    names = [p.filename for p in before.images]
    joined = [p.model_copy(update={"group": min(p.group, 7)}) for p in before.images]
    difference = compare_manifests(before, before.model_copy(update={"images": joined}))
    assert not difference.empty
    assert [change.filename for change in difference.regrouped] == names[7:]
    assert difference.regrouped[0].before == ""
    assert difference.regrouped[0].after == ", ".join(names[8:])
    renumbered = [p.model_copy(update={"group": p.group + 7}) for p in before.images]
    assert compare_manifests(before, before.model_copy(update={"images": renumbered})).empty


def test_a_photo_that_changed_sides_is_a_difference(dataset: Path) -> None:
    moved = compare_manifests(build(seed=0), build(seed=1)).moved
    assert moved
    assert all({change.before, change.after} == {"train", "holdout"} for change in moved)


def test_nothing_rotted_in_a_dataset_that_was_not_touched_wherever_one_stands(dataset: Path, monkeypatch) -> None:
    manifest = build()
    assert verify_manifest(manifest) == []
    monkeypatch.chdir("/")
    assert verify_manifest(manifest, dataset) == []


def test_every_file_that_rotted_is_named(dataset: Path) -> None:
    manifest = build()
    path = PHOTOS / "größe 1.jpg"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1  # one bit
    path.write_bytes(data)
    (PHOTOS / "größe 2.png").unlink()
    caption("größe 3.txt", "amiranoor, another caption")
    (CAPTIONS / "größe 5.txt").unlink()
    caption("unknown.txt", "amiranoor, somewhere")
    Image.new("RGB", (64, 64)).save(PHOTOS / "unknown.png")
    (PHOTOS / "phone.heic").write_bytes(b"")
    (PHOTOS / "away.jpg").symlink_to("/nowhere/a.jpg")
    problems = verify_manifest(manifest)
    assert [problem.split(": ")[0] for problem in problems] == [
        "data/photos/größe 1.jpg", "data/photos/größe 2.png", "data/captions/größe 3.txt", "data/captions/größe 5.txt",
        "data/photos/unknown.png", "data/captions/unknown.txt", "data/photos/away.jpg", "data/photos/phone.heic",
    ]  # fmt: skip
    assert [problem.split(": ")[1].split(" (")[0] for problem in problems] == [
        "changed", "missing", "changed", "missing", "not in the manifest", "not in the manifest",
        "a link that leads nowhere; replace or remove it",
        "pictures of type .heic are not read; convert it to JPEG or PNG, or take it out",
    ]  # fmt: skip


def test_a_manifest_that_was_tampered_with_is_noticed(dataset: Path) -> None:
    manifest = build()
    (PHOTOS / "twin.png").write_bytes((PHOTOS / "größe 0.png").read_bytes())
    twins = [p for p in build().images if p.filename in ("twin.png", "größe 0.png")]
    torn = [twins[0].model_copy(update={"split": "train"}), twins[1].model_copy(update={"split": "holdout"})]
    torn[1] = torn[1].model_copy(update={"caption_file": "größe 0.txt", "caption_text": "amiranoor, a lie",
                                         "caption_sha256": hash_file(CAPTIONS / "größe 0.txt")})  # fmt: skip
    problems = verify_manifest(manifest.model_copy(update={"images": torn}))
    assert f"group {twins[0].group}: photos of one moment on both sides of the split" in problems
    assert "data/captions/größe 0.txt: the manifest's caption_text is another one" in problems


def test_a_dataset_that_is_gone_is_all_missing(dataset: Path, tmp_path: Path) -> None:
    problems = verify_manifest(build(), tmp_path / "elsewhere")
    assert len(problems) == 20
    assert all(problem.endswith(": missing") for problem in problems)
