"""Model files: resumed by ranges, checked, skipped, from a mirror or a folder."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from web import Web, serve

from pod import models
from pod.errors import PodError
from pod.models import Seen, bring
from pod.startup_settings import Model

BODY = bytes(range(256)) * 400
SHA256 = hashlib.sha256(BODY).hexdigest()


@pytest.fixture
def web(monkeypatch: pytest.MonkeyPatch) -> Iterator[Web]:
    monkeypatch.setattr(models, "PAUSE_S", 0.01)
    with serve() as server:
        server.files["/a/model.bin"] = BODY
        yield server


def model(web: Web, sha256: str = SHA256, size: int = len(BODY)) -> Model:
    return Model("a/model.bin", f"{web.address}/a/model.bin", sha256, size)


def test_a_file_that_is_right_is_not_asked_for_again(tmp_path: Path, web: Web) -> None:
    seen = Seen(tmp_path / "seen.json")
    assert bring(model(web), tmp_path, "", seen)[0] == "RAN"
    assert bring(model(web), tmp_path, "", Seen(tmp_path / "seen.json")) == ("SKIPPED", "present and right")
    assert web.asked["/a/model.bin"] == 1
    assert (tmp_path / "a/model.bin").read_bytes() == BODY


def test_what_broke_off_is_taken_up_where_it_broke_off(tmp_path: Path, web: Web) -> None:
    web.cuts["/a/model.bin"] = [1000, 5000, 0]
    assert bring(model(web), tmp_path, "", Seen(tmp_path / "seen.json"))[0] == "RAN"
    assert web.ranges == ["/a/model.bin 1000", "/a/model.bin 6000", "/a/model.bin 6000"]


def test_a_piece_of_another_file_costs_one_more_try_and_no_wrong_file(tmp_path: Path, web: Web) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a/.model.bin.part").write_bytes(b"x" * 5000)
    bring(model(web), tmp_path, "", Seen(tmp_path / "seen.json"))
    assert (tmp_path / "a/model.bin").read_bytes() == BODY


def test_a_server_that_knows_no_ranges_is_asked_for_everything(tmp_path: Path, web: Web) -> None:
    web.knows_ranges = False
    web.cuts["/a/model.bin"] = [1000]
    bring(model(web), tmp_path, "", Seen(tmp_path / "seen.json"))
    assert (tmp_path / "a/model.bin").read_bytes() == BODY


def test_another_file_under_that_address_never_counts(tmp_path: Path, web: Web) -> None:
    web.files["/a/model.bin"] = b"y" * len(BODY)
    with pytest.raises(PodError, match="has sha256") as error:
        bring(model(web), tmp_path, "", Seen(tmp_path / "seen.json"))
    assert SHA256 in error.value.line
    assert not (tmp_path / "a/model.bin").exists()


def test_an_address_that_is_gone_is_said_at_once(tmp_path: Path, web: Web) -> None:
    web.files.clear()
    with pytest.raises(PodError, match="404"):
        bring(model(web), tmp_path, "", Seen(tmp_path / "seen.json"))
    assert web.asked["/a/model.bin"] == 1


def test_a_mirror_and_a_folder_take_the_place_of_the_address(tmp_path: Path, web: Web) -> None:
    web.files["/mirror/a/model.bin"] = web.files.pop("/a/model.bin")
    bring(model(web), tmp_path / "one", f"{web.address}/mirror", Seen(tmp_path / "seen.json"))
    bring(model(web), tmp_path / "two", str(tmp_path / "one"), Seen(tmp_path / "seen.json"))
    bring(Model("b.bin", str(tmp_path / "one/a/model.bin"), SHA256), tmp_path / "two", "", Seen(tmp_path / "seen.json"))
    assert (tmp_path / "two/a/model.bin").read_bytes() == (tmp_path / "two/b.bin").read_bytes() == BODY
    assert web.asked["/mirror/a/model.bin"] == 1


def test_without_a_published_hash_what_came_first_is_what_must_stay(tmp_path: Path, web: Web) -> None:
    unknown = model(web, sha256="", size=0)
    status, why = bring(unknown, tmp_path, "", Seen(tmp_path / "seen.json"))
    assert (status, f"sha256 {SHA256} is not pinned" in why) == ("RAN", True)
    assert bring(unknown, tmp_path, "", Seen(tmp_path / "seen.json"))[0] == "SKIPPED"
    (tmp_path / "a/model.bin").write_bytes(b"rotten")
    assert bring(unknown, tmp_path, "", Seen(tmp_path / "seen.json")) == (
        "RAN", f"had another sha256; 0.1 MB; sha256 {SHA256} is not pinned, put it into pod.toml",
    )  # fmt: skip


def test_rot_that_keeps_the_size_is_noticed_by_the_time_it_was_written(tmp_path: Path, web: Web) -> None:
    bring(model(web), tmp_path, "", Seen(tmp_path / "seen.json"))
    (tmp_path / "a/model.bin").write_bytes(b"z" + BODY[1:])
    assert bring(model(web), tmp_path, "", Seen(tmp_path / "seen.json"))[1].startswith("had another sha256")
