"""The arithmetic of graphics memory, and the face pack file by file."""

import hashlib
import json
import struct
from pathlib import Path

import pytest

from pod.doctor import Patient
from pod.doctor_weights import captioning_parts, check_pack, count_values, memory_check, setting

ROOT = Path(__file__).parents[2]
PARAMS = "caption:\n  backend: blip2\n  model: models/base/blip2-opt-2.7b\n  micro_batch: 2\ntrain:\n  base: b\n"
PARAMS += "judges:\n  faces:\n    path: models/judges/pack\n    licence: MIT\n"
GIB = 2**30


@pytest.fixture
def sick(tmp_path: Path) -> Patient:
    (tmp_path / "params.yaml").write_text(PARAMS)
    (tmp_path / "conf/models").mkdir(parents=True)
    return Patient("python-that-is-not-there", tmp_path)


def test_a_setting_is_found_at_its_depth(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text(PARAMS)
    assert setting(tmp_path / "params.yaml", "judges", "faces", "path") == "models/judges/pack"
    assert setting(tmp_path / "params.yaml", "train", "base") == "b"
    assert setting(tmp_path / "params.yaml", "train", "path") == ""
    assert setting(ROOT / "params.yaml", "caption", "template") == "{trigger}, a photo of a {class_word}"


def test_captioning_is_counted_in_half_precision_from_the_registry(sick: Patient) -> None:
    name = "blip2-opt-2.7b.yaml"
    (sick.workspace / "conf/models" / name).write_text((ROOT / "conf/models" / name).read_text())
    values = (9996328120 + 4982879016) / 4
    assert count_values(sick.workspace, "models/base/blip2-opt-2.7b") == values
    parts = captioning_parts(sick)
    assert isinstance(parts, dict)
    assert list(parts.values()) == [values * 2 / GIB, 1.0, 0.8]
    found = {row.what: row for row in memory_check(24.0)(sick)}
    assert found["memory for captioning"].status == "PASS"
    assert "= 8.8 of 24 GiB" in found["memory for captioning"].detail
    small = {row.what: row for row in memory_check(8.0)(sick)}["memory for captioning"]
    assert (small.status, small.todo) == ("FAIL", "lower caption.micro_batch in conf/")
    assert found["memory for training"].status == "SKIPPED"


def test_a_part_of_a_published_base_is_counted_alone(sick: Patient) -> None:
    name = "stable-diffusion-xl-base-1.0.yaml"
    (sick.workspace / "conf/models" / name).write_text((ROOT / "conf/models" / name).read_text())
    base = "models/base/stable-diffusion-xl-base-1.0"
    assert count_values(sick.workspace, f"{base}/text_encoder") == 246144152 / 2
    assert count_values(sick.workspace, f"{base}/text_encoder_2") == 1389382176 / 2
    assert count_values(sick.workspace, "models/base/another") is None


def test_values_are_counted_in_the_files_where_they_are(sick: Patient) -> None:
    folder = sick.workspace / "models/base/blip2-opt-2.7b"
    folder.mkdir(parents=True)
    header = json.dumps({"__metadata__": {}, "a": {"shape": [3, 4]}, "b": {"shape": [5]}, "c": {"shape": []}}).encode()
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(header)) + header)
    assert count_values(sick.workspace, "models/base/blip2-opt-2.7b") == 18


def test_a_published_pack_is_hashed_and_fetched_again(sick: Patient) -> None:
    pack = sick.workspace / "models/judges/pack"
    pack.mkdir(parents=True)
    body = b"a detector"
    text = f"folder: models/judges/pack\nlicence: MIT\nfiles:\n  det.onnx:\n    from: x/y.onnx\n    size: {len(body)}\n"
    text += f"    sha256: {hashlib.sha256(body).hexdigest()}\n"
    (sick.workspace / "conf/models/tiny.yaml").write_text(text)
    assert [row.detail for row in check_pack(sick)] == ["det.onnx is not there"]
    (pack / "det.onnx").write_bytes(body[:5])
    assert [row.detail for row in check_pack(sick)] == ["det.onnx has 5 bytes instead of 10"]
    (pack / "det.onnx").write_bytes(b"A detector")
    [row] = check_pack(sick)
    assert (row.status, row.detail) == ("FAIL", "det.onnx has another sha256")
    assert row.todo.endswith("-m stages models get tiny")
    (pack / "det.onnx").write_bytes(body)
    assert [row.status for row in check_pack(sick)] == ["PASS"]


def test_the_packs_of_conf_models_are_read_whole() -> None:
    antelope = Patient("python", ROOT)
    (row,) = check_pack(antelope)
    assert "miniature" in row.detail
