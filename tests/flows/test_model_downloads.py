"""Models are fetched from a real server on loopback: whole and checked, or not at all."""

import hashlib
import json
import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from web import Web, serve

from stages.contracts.models import Model, read_seen
from stages.contracts.settings import parse
from stages.flows import downloads, model_downloads
from stages.flows.model_downloads import Origin, get_models
from stages.flows.models import look_at, verify_model
from stages.runtime.errors import UserError

REVISION = "0123456789" * 4
FILES = {"config.json": b'{"a": 1}', "unet/weights.safetensors": bytes(range(256)) * 400, "tokenizer/vocab.json": b"{}"}
HUB = f"/who/what/resolve/{REVISION}"
FOLDER = Path("models/base/small")
STAGING = Path("models/base/.small.part")


@pytest.fixture
def web(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Web]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(downloads, "PAUSE_S", 0.01)
    monkeypatch.delenv("HF_TOKEN", raising=False)
    with serve() as server:
        server.files |= {f"{HUB}/{path}": body for path, body in FILES.items()}
        monkeypatch.setenv("HF_ENDPOINT", server.address)
        yield server


def model(**changed: Any) -> Model:
    files = {path: {"size": len(body), "sha256": digest(body)} for path, body in FILES.items()}
    values = {"folder": str(FOLDER), "licence": "MIT", "non_commercial": False, "hub": "who/what", "revision": REVISION}
    return parse(Model, {**values, "files": files} | changed, "test")


def digest(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


def get(wanted: Model, origin: Origin | None = None) -> list[str]:
    said: list[str] = []
    get_models({"small": wanted}, origin or Origin(), said.append)
    return said


def content(folder: Path = FOLDER) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_model_is_fetched_from_the_hub_by_its_revision_and_never_twice(web: Web) -> None:
    said = get(model())
    assert said[0].startswith("small: 3 files, ")
    assert said[0].endswith("licence: MIT")
    assert content() == FILES
    assert not STAGING.exists()
    assert look_at("small", model()).verified
    assert get(model()) == ["small: is here, models/base/small"]
    assert set(web.asked.values()) == {1}


def test_an_interrupted_fetch_leaves_no_folder_and_goes_on_where_it_broke_off(web: Web) -> None:
    big = f"{HUB}/unet/weights.safetensors"
    web.cuts[big] = [30_000, 0, 0]
    with pytest.raises(UserError, match=r"small: .* cannot be fetched"):
        get(model())
    assert not FOLDER.exists()
    assert (STAGING / "unet/weights.safetensors.part").stat().st_size == 30_000
    web.ranges.clear()
    get(model())
    assert content() == FILES
    assert web.ranges == [f"{big} 30000"]
    assert web.asked[f"{HUB}/config.json"] == 1


def test_another_file_than_the_hash_says_is_refused_and_nothing_is_kept_of_it(web: Web) -> None:
    web.files[f"{HUB}/unet/weights.safetensors"] = bytes(256) * 400
    with pytest.raises(UserError, match=r"small: unet/weights.safetensors: .* has sha256 [0-9a-f]{64}, not"):
        get(model())
    assert not FOLDER.exists()
    assert "unet/weights.safetensors" not in content(STAGING)
    assert "unet/weights.safetensors.part" not in content(STAGING)


def test_what_is_not_there_is_said_with_its_address_and_leaves_nothing_behind(web: Web) -> None:
    web.files.clear()
    with pytest.raises(UserError, match=rf"{web.address}{HUB}/\S+ cannot be fetched \(HTTP Error 404"):
        get(model())
    assert not FOLDER.exists()
    assert not STAGING.exists()


def test_only_what_is_missing_or_wrong_is_brought_and_the_rest_stays(web: Web) -> None:
    get(model())
    (FOLDER / "config.json").write_bytes(b'{"a": 2}')  # the same length
    (FOLDER / "tokenizer/vocab.json").unlink()
    assert get(model())[0].startswith("small: 2 files, ")
    assert content() == FILES
    assert web.asked[f"{HUB}/unet/weights.safetensors"] == 1


def test_a_file_may_have_another_name_at_its_source(web: Web) -> None:
    body = FILES["config.json"]
    files = {"judge.onnx": {"from": "glint r100.onnx", "size": len(body), "sha256": digest(body)}}
    web.files[f"{HUB}/glint r100.onnx"] = body
    get(model(files=files))
    assert content() == {"judge.onnx": body}


def test_a_source_may_be_any_folder_of_the_web(web: Web) -> None:
    web.files |= {f"/any/{path}": body for path, body in FILES.items()}
    get(model(hub=None, revision=None, url=f"{web.address}/any/"))
    assert content() == FILES


def test_a_mirror_is_a_copy_of_the_models_folder_and_sees_no_token(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "secret")
    with serve() as mirror:
        mirror.files |= {f"/m/base/small/{path}": body for path, body in FILES.items()}
        get(model(), Origin(mirror=f"{mirror.address}/m/"))
        assert set(mirror.tokens.values()) == {""}
    assert content() == FILES
    assert not web.asked


def test_the_hub_gets_the_token_of_the_environment(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "secret")
    get(model())
    assert set(web.tokens.values()) == {"Bearer secret"}


@pytest.mark.parametrize("layout", ["models/base/small", "small", ""], ids=["models/", "the folder in it", "itself"])
def test_files_of_this_machine_are_copied_and_checked(web: Web, tmp_path: Path, layout: str) -> None:
    have = tmp_path / "have"
    for path, body in FILES.items():
        place = have / layout.removeprefix("models/") / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(body)
    get(model(), Origin(local=have))
    assert content() == FILES
    assert not web.asked


def test_one_file_of_this_machine_is_enough_for_a_model_of_one(web: Web, tmp_path: Path) -> None:
    body = FILES["config.json"]
    (tmp_path / "downloaded.onnx").write_bytes(body)
    files = {"judge.onnx": {"size": len(body), "sha256": digest(body)}}
    get(model(files=files), Origin(local=tmp_path / "downloaded.onnx"))
    assert content() == {"judge.onnx": body}


def test_a_local_file_that_is_another_or_not_there_is_refused(web: Web, tmp_path: Path) -> None:
    (tmp_path / "have").mkdir()
    with pytest.raises(UserError, match=r"have: holds no config\.json of small; expected .*have/config\.json"):
        get(model(), Origin(local=tmp_path / "have"))
    for path, body in FILES.items():
        (tmp_path / "have" / path).parent.mkdir(exist_ok=True)
        (tmp_path / "have" / path).write_bytes(body[:-1] + b"!")
    with pytest.raises(UserError, match=r"/have/\S+: has sha256 \S+, not \S+; this is another file"):
        get(model(), Origin(local=tmp_path / "have"))
    assert not FOLDER.exists()
    assert content(STAGING) == {}


def test_a_file_that_is_not_pinned_is_remembered_and_must_be_the_same_for_ever(web: Web) -> None:
    files = {path: {"size": None, "sha256": None} for path in FILES}
    said = get(model(files=files))
    assert said[-1].startswith("warning: small: 3 files are not pinned in conf/models/small.yaml")
    assert {path: seen.sha256 for path, seen in read_seen()["small"].items()} == {
        path: digest(body) for path, body in FILES.items()
    }
    assert verify_model("small", model(files=files)) == ([], [])
    web.files[f"{HUB}/config.json"] = b"changed"
    (FOLDER / "config.json").unlink()
    with pytest.raises(UserError, match=r"config\.json: .* has 7 bytes, not 8"):
        get(model(files=files))


def test_a_file_that_a_model_gains_leaves_what_was_seen_of_its_others(web: Web) -> None:
    files = {path: {"size": None, "sha256": None} for path in FILES}
    get(model(files={"config.json": files["config.json"]}))
    first = read_seen()["small"]["config.json"]
    get(model(files=files))
    assert read_seen()["small"]["config.json"] == first
    assert set(read_seen()["small"]) == set(FILES)


def test_what_the_source_lacks_is_written(web: Web) -> None:
    wanted = model(writes={"judge.json": {"name": "x", "mean": 127.5}})
    get(wanted)
    assert json.loads((FOLDER / "judge.json").read_text()) == {"name": "x", "mean": 127.5}
    (FOLDER / "judge.json").write_text("{}")
    problems, _ = verify_model("small", wanted)
    assert problems == ["models/base/small/judge.json: is not what conf/models says"]
    get(wanted)
    assert verify_model("small", wanted) == ([], [])


def test_verify_names_every_file_that_is_wrong_missing_or_not_ours(web: Web) -> None:
    get(model())
    (FOLDER / "config.json").write_bytes(b'{"a": 2}')
    (FOLDER / "unet/weights.safetensors").write_bytes(b"short")
    (FOLDER / "tokenizer/vocab.json").unlink()
    (FOLDER / "pytorch_model.bin").write_bytes(b"")
    assert not look_at("small", model()).verified
    problems, _ = verify_model("small", model())
    assert [problem.split(": ")[0].removeprefix("models/base/small/") for problem in problems] == [
        "config.json", "unet/weights.safetensors", "tokenizer/vocab.json", "pytorch_model.bin"
    ]  # fmt: skip
    assert "has sha256" in problems[0]
    assert "has 5 bytes, not 102400" in problems[1]
    assert problems[2].endswith("is not there")
    assert problems[3].endswith("is not in conf/models")


def test_a_touched_file_is_no_longer_verified_until_it_is_hashed_again(web: Web) -> None:
    get(model())
    time.sleep(0.01)
    (FOLDER / "config.json").write_bytes(FILES["config.json"])
    assert not look_at("small", model()).verified
    verify_model("small", model())
    assert look_at("small", model()).verified


def test_a_disk_that_is_too_small_is_said_before_anything_is_fetched(web: Web) -> None:
    files = {"weights": {"size": 10**18, "sha256": "0" * 64}}
    with pytest.raises(UserError, match=r"models/base: 1000000000\.0 GB are needed and .* GB are free; make room"):
        get(model(files=files))
    assert not web.asked


def test_room_is_asked_for_what_is_still_to_come_and_not_for_what_lies_there(
    web: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = 2_000  # bytes that the disk still takes: the weights alone are 102,400
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=left))
    with pytest.raises(UserError, match="are needed and"):
        get(model())
    part = STAGING / "unet/weights.safetensors.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(FILES["unet/weights.safetensors"][: -left // 2])
    get(model())
    assert content() == FILES
    assert len(web.ranges) == 1


def test_two_processes_do_not_fetch_the_same_model(web: Web) -> None:
    with model_downloads._alone(model()), pytest.raises(UserError, match="another process is fetching this model"):
        get(model())


def test_the_first_failure_ends_the_fetch_at_once(web: Web) -> None:
    many = {f"{n}.bin": {"size": 8, "sha256": digest(b"%08d" % n)} for n in range(40)}
    web.files |= {f"{HUB}/{n}.bin": b"%08d" % n for n in range(1, 40)}
    before = threading.active_count()
    with pytest.raises(UserError, match=r"0\.bin"):
        get(model(files=many))
    assert sum(web.asked.values()) < 40
    assert threading.active_count() < before + 4
