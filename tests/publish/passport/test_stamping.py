"""A stamped picture is marked, signed by C2PA's own reckoning, in the index, and still the same picture."""

import io
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import c2pa
import numpy as np
import pytest
from passports import SECRETS, make_record, publish
from PIL import Image, PngImagePlugin

from publish.passport.certificates import open_certificate
from publish.passport.containers import find_type
from publish.passport.marking import TRAINED
from publish.passport.stamping import Issuer, open_issuer, stamp_folder, stamp_picture
from stages.contracts.production import write_record
from stages.contracts.publish_settings import Publish
from stages.contracts.published import Published, read_published
from stages.runtime.errors import UserError
from stages.runtime.pictures import hash_pixels, read_picture
from stages.runtime.provenance import hash_file

FORMATS: dict[str, dict[str, Any]] = {
    "png": {}, "jpg": {"quality": 90}, "progressive.jpg": {"progressive": True, "comment": b"amira"},
    "webp": {"quality": 80}, "lossless.webp": {"lossless": True},
}  # fmt: skip


def save(path: Path, pixels: np.ndarray, **how: Any) -> Path:
    exif = Image.Exif()
    exif[0x010E] = "amira, smiling"
    Image.fromarray(pixels).save(path, exif=exif, **how)
    return path


def open_store(path: Path) -> dict[str, Any]:
    data = path.read_bytes()
    with c2pa.Reader(find_type(data), io.BytesIO(data)) as reader:
        return json.loads(reader.json())  # type: ignore[no-any-return]


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_is_valid_to_c2pa_s_reader_and_its_pixels_stay(
    name: str, faces: list[np.ndarray], issuer: Issuer
) -> None:
    path = save(Path(f"picture.{name}"), faces[0], **FORMATS[name])
    before = hash_pixels(read_picture(path))
    stamp_picture(path, make_record(path), issuer)
    assert hash_pixels(read_picture(path)) == before
    store = open_store(path)
    assert store["validation_state"] == "Valid"
    assert [s["code"] for s in store["validation_status"]] == ["signingCredential.untrusted"]
    manifest = store["manifests"][store["active_manifest"]]
    said = {a["label"]: a["data"] for a in manifest["assertions"]}
    (action,) = said["c2pa.actions.v2"]["actions"]
    assert (action["action"], action["digitalSourceType"]) == ("c2pa.created", TRAINED)
    assert action["softwareAgent"]["name"] == "Pistachio"
    made_from = [(i["title"], i["relationship"], i["metadata"]) for i in manifest["ingredients"]]
    assert made_from == [
        ("base", "inputTo", {"org.pistachio.sha256": "cd" * 32}),
        ("LoRA", "inputTo", {"org.pistachio.sha256": "ab" * 32}),
    ]
    assert said["org.pistachio.origin"]["subject_sha256"] == "12" * 32
    assert not [secret for secret in SECRETS if secret in path.read_bytes()]


@pytest.mark.skipif(not shutil.which("exiftool"), reason="no exiftool: apt-get install libimage-exiftool-perl")
@pytest.mark.parametrize("name", FORMATS)
def test_exiftool_shows_the_marking(name: str, faces: list[np.ndarray], issuer: Issuer) -> None:
    path = save(Path(f"picture.{name}"), faces[0], **FORMATS[name])
    stamp_picture(path, make_record(path), issuer)
    command = ["exiftool", "-j", "-G", "-XMP:all", "-validate", "-warning", "-error", path]
    (shown,) = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    assert shown["XMP:DigitalSourceType"] == TRAINED
    assert shown["XMP:CreatorTool"].startswith("Pistachio")
    assert "ExifTool:Error" not in shown


def test_a_picture_that_is_stamped_twice_is_the_same_file_and_one_row(faces: list[np.ndarray], issuer: Issuer) -> None:
    (path,) = publish(Path("batch"), faces[:1], issuer)
    first = path.read_bytes()
    stamp_picture(path, make_record(path), issuer)
    stamp_picture(path, make_record(path), open_issuer(Publish()))
    assert path.read_bytes() == first
    (row,) = read_published()
    assert isinstance(row, Published)
    assert (row.file_sha256, row.picture) == (hash_file(path), "batch/approved/0000.png")


def test_another_record_or_reveal_is_a_new_passport_and_not_one_inside_the_other(
    faces: list[np.ndarray], issuer: Issuer
) -> None:
    (path,) = publish(Path("batch"), faces[:1], issuer)
    stamp_picture(path, make_record(path), Issuer(issuer.certificate, "full"))
    store = open_store(path)
    assert len(store["manifests"]) == 1
    data = path.read_bytes()
    assert b"amira, smiling" in data
    assert b"amira.safetensors" in data
    assert SECRETS[3] not in data  # photos are never named
    assert len(list(read_published())) == 2


def test_what_a_generator_wrote_into_the_file_is_not_published(faces: list[np.ndarray], issuer: Issuer) -> None:
    info = PngImagePlugin.PngInfo()
    info.add_itxt("parameters", "amira, smiling, seed 987654321")
    path = save(Path("a.png"), faces[0], pnginfo=info)
    stamp_picture(path, make_record(path), issuer)
    assert not [secret for secret in SECRETS if secret in path.read_bytes()]


def test_refused_pictures_are_named_and_the_others_stamped(faces: list[np.ndarray], issuer: Issuer) -> None:
    folder = Path("batch/approved")
    folder.mkdir(parents=True)
    for number in range(4):
        path = save(folder / f"{number}.png", faces[number])
        changes: dict[str, Any] = {1: {"approved": False, "reasons": ("no face",)}, 2: {"pixels_sha256": "0" * 64}}
        write_record(path, make_record(path, **changes.get(number, {})))
    (folder / "3.json").unlink()
    before = {path: path.read_bytes() for path in sorted(folder.glob("*.png"))}
    with pytest.raises(UserError) as caught:
        stamp_folder(folder.parent, issuer)
    line = caught.value.line
    assert "3 problems" in line
    assert "1.png: rejected (no face)" in line
    assert "2.png: not the pixels of its record" in line
    assert "3.json: not found" in line
    assert [path.name for path, data in before.items() if path.read_bytes() != data] == ["0.png"]
    assert len(list(read_published())) == 1


def test_a_kill_between_the_file_and_the_index_or_within_a_row_loses_nothing(
    faces: list[np.ndarray], issuer: Issuer
) -> None:
    paths = publish(Path("batch"), faces[:3], issuer)
    index = Path("data/published.jsonl")
    rows = index.read_bytes().splitlines(keepends=True)
    index.write_bytes(rows[0] + rows[1][:100])
    signed = [path.read_bytes() for path in paths]
    assert stamp_folder(Path("batch"), open_issuer(Publish())) == 3
    assert [path.read_bytes() for path in paths] == signed
    whole = [row for row in read_published() if isinstance(row, Published)]
    assert [row.picture[-8:] for row in whole] == ["0000.png", "0001.png", "0002.png"]
    assert len([row for row in read_published() if isinstance(row, UserError)]) == 1


def test_two_programs_at_once_write_whole_rows(faces: list[np.ndarray], issuer: Issuer) -> None:
    for name in ("a", "b"):
        for number, pixels in enumerate(faces[:6]):
            folder = Path(name, "approved")
            folder.mkdir(parents=True, exist_ok=True)
            path = save(folder / f"{name}{number}.png", np.roll(pixels, ord(name), 0))
            write_record(path, make_record(path))
    root = Path(__file__).parents[3]
    code = f"import sys; sys.path.insert(0, {str(root)!r}); from publish.__main__ import main; main()"
    both = [subprocess.Popen([sys.executable, "-c", code, "stamp", name]) for name in ("a", "b")]
    assert [process.wait(timeout=120) for process in both] == [0, 0]
    rows = list(read_published())
    assert len({row.picture for row in rows if isinstance(row, Published)}) == len(rows) == 12
    assert open_certificate(Publish()).self_made


@pytest.mark.parametrize("suffix", ["bmp", "tiff"])
def test_other_formats_are_one_line(suffix: str, faces: list[np.ndarray], issuer: Issuer) -> None:
    path = Path(f"a.{suffix}")
    Image.fromarray(faces[0]).save(path)
    with pytest.raises(UserError, match="PNG, JPEG and WebP"):
        stamp_picture(path, make_record(path), issuer)


def test_a_picture_that_exif_turns_is_refused_and_left(faces: list[np.ndarray], issuer: Issuer) -> None:
    path, exif = Path("a.jpg"), Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(faces[0]).save(path, exif=exif)
    before = path.read_bytes()
    with pytest.raises(UserError, match="upright"):
        stamp_picture(path, make_record(path), issuer)
    assert path.read_bytes() == before
