"""Content hashes follow the content and nothing else."""

import time
from pathlib import Path

import pytest

from stages.runtime.errors import UserError
from stages.runtime.provenance import hash_file, hash_json, hash_path, require_unchanged, stamp_files


def test_a_file_s_hash_is_its_sha256(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    assert hash_file(tmp_path / "a") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_a_folder_s_hash_follows_names_and_bytes_but_not_place(tmp_path: Path) -> None:
    for root in ("one", "two"):
        (tmp_path / root / "sub").mkdir(parents=True)
        (tmp_path / root / "sub" / "a").write_text("a")
        (tmp_path / root / "b").write_text("b")
    assert hash_path(tmp_path / "one") == hash_path(tmp_path / "two")
    (tmp_path / "two" / "b").rename(tmp_path / "two" / "c")
    assert hash_path(tmp_path / "one") != hash_path(tmp_path / "two")
    (tmp_path / "two" / "c").rename(tmp_path / "two" / "b")
    (tmp_path / "two" / "sub" / "a").write_text("A")
    assert hash_path(tmp_path / "one") != hash_path(tmp_path / "two")


def test_the_order_of_keys_does_not_matter() -> None:
    assert hash_json({"a": 1, "b": [1, 2]}) == hash_json({"b": [1, 2], "a": 1}) != hash_json({"a": 1, "b": [2, 1]})


@pytest.mark.parametrize("change", ["edited in place", "swapped", "added", "removed", "moved into a folder"])
def test_a_folder_that_changed_while_it_was_read_is_refused_by_name(tmp_path: Path, change: str) -> None:
    for name in ("a.png", "b.png", "sub/c.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"1234")
    stamps = stamp_files(tmp_path)
    require_unchanged(tmp_path, stamps)
    time.sleep(0.02)  # longer than a tick of the file system's clock
    path = tmp_path / "b.png"
    match change:
        case "edited in place":
            path.write_bytes(b"4321")  # as many bytes as before
        case "swapped":
            (tmp_path.parent / "other").write_bytes(b"1234")
            (tmp_path.parent / "other").rename(path)
        case "added":
            path = tmp_path / "new.png"
            path.touch()
        case "removed":
            path.unlink()
        case "moved into a folder":
            path.rename(tmp_path / "sub" / "b.png")
    with pytest.raises(UserError, match="changed while it was being read.*; let it rest, and run again") as caught:
        require_unchanged(tmp_path, stamps)
    assert caught.value.where == str(path)


def test_a_folder_that_is_not_there_has_no_files_that_could_change(tmp_path: Path) -> None:
    assert stamp_files(tmp_path / "nowhere") == {}
    require_unchanged(tmp_path / "nowhere", {})
