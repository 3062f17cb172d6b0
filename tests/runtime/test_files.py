"""Whole files or nothing."""

import json
from pathlib import Path

import pytest

from stages.runtime.files import replacing, replacing_folder, write_json, write_text


def test_a_file_appears_whole_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    write_text(tmp_path / "deep" / "a.txt", "grüße\n")
    assert (tmp_path / "deep" / "a.txt").read_bytes() == "grüße\n".encode()
    assert [p.name for p in (tmp_path / "deep").iterdir()] == ["a.txt"]


def test_a_failed_write_keeps_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    write_text(path, "old")
    with pytest.raises(RuntimeError), replacing(path) as beside:
        beside.write_text("half")
        raise RuntimeError
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_failed_folder_keeps_the_old_folder(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    with replacing_folder(folder) as beside:
        (beside / "1").write_text("one")
    with pytest.raises(RuntimeError), replacing_folder(folder) as beside:
        (beside / "2").write_text("two")
        raise RuntimeError
    assert [p.name for p in folder.iterdir()] == ["1"]
    assert list(tmp_path.iterdir()) == [folder]


def test_a_folder_is_replaced_whole(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    for name in ("1", "2"):
        with replacing_folder(folder) as beside:
            (beside / name).write_text(name)
    assert [p.name for p in folder.iterdir()] == ["2"]


def test_json_refuses_what_other_readers_cannot_read(tmp_path: Path) -> None:
    with pytest.raises(ValueError):
        write_json(tmp_path / "a.json", {"score": float("nan")})
    write_json(tmp_path / "a.json", {"score": 0.5, "name": "ä"})
    assert json.loads((tmp_path / "a.json").read_text()) == {"score": 0.5, "name": "ä"}


def test_what_a_killed_run_left_beside_a_folder_goes_when_the_folder_is_written_again(tmp_path: Path) -> None:
    for name in (".out [1].99999.part", ".other.99999.part"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "half").touch()
    with replacing_folder(tmp_path / "out [1]") as beside:
        (beside / "1").touch()
    assert {path.name for path in tmp_path.iterdir()} == {"out [1]", ".other.99999.part"}
