"""Whole files or nothing."""

import errno
import json
import os
import shutil
import subprocess
import sys
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


def test_a_name_as_long_as_names_may_be_can_be_written(tmp_path: Path) -> None:
    name = "ü" * 125 + ".json"
    write_json(tmp_path / name, [1])
    with replacing_folder(tmp_path / ("f" * 255)) as beside:
        (beside / "1").write_text("one")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["f" * 255, name]


def test_a_folder_whose_successor_is_lost_comes_back(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    with replacing_folder(folder) as beside:
        (beside / "1").write_text("one")
    with pytest.raises(FileNotFoundError), replacing_folder(folder) as beside:
        shutil.rmtree(beside)
    assert (folder / "1").read_text() == "one"
    assert list(tmp_path.iterdir()) == [folder]


def test_a_full_disk_names_the_file_that_was_to_be_written(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    write_text(path, "old")
    with pytest.raises(OSError) as caught, replacing(path) as beside:
        beside.symlink_to("/dev/full")
        beside.write_text("new")
    assert (caught.value.errno, caught.value.filename) == (errno.ENOSPC, str(path))
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_an_error_about_another_file_keeps_its_name(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as caught, replacing(tmp_path / "a.txt"):
        (tmp_path / "nowhere").read_text()
    assert caught.value.filename == str(tmp_path / "nowhere")


def test_what_a_killed_writer_left_is_cleared_by_the_next_one_and_a_living_one_s_is_not(tmp_path: Path) -> None:
    lines = ["import os, signal", "from pathlib import Path", "from stages.runtime.files import replacing",
             "with replacing(Path('a.csv')) as beside:", "    beside.write_text('half')",
             "    os.kill(os.getpid(), signal.SIGKILL)"]  # fmt: skip
    root = Path(__file__).parents[2]
    subprocess.run(
        [sys.executable, "-c", "\n".join(lines)], cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(root)}, check=False
    )
    (dead,) = tmp_path.iterdir()
    alive = dead.with_name(dead.name.replace(dead.name.split(".")[2], str(os.getppid())))
    alive.write_text("somebody writes this now")
    write_text(tmp_path / "a.csv", "whole")
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([alive.name, "a.csv"])
