"""ComfyUI's user folder and database: what cannot be written is made writable or named."""

import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from pod.database import find_fault, repair
from pod.errors import PodError


def write_database(comfyui: Path) -> Path:
    (comfyui / "user/default").mkdir(parents=True)
    path = comfyui / "user/comfyui.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE a (b)")
        connection.commit()
    return path


def test_a_fresh_checkout_gets_its_user_folder(tmp_path: Path) -> None:
    assert repair(tmp_path)[0] == "RAN"
    assert repair(tmp_path) == ("SKIPPED", "user/ and its database can be written")


def test_rights_are_given_back_to_files_whose_mode_forbids_writing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_database(tmp_path)
    path.chmod(0o400)
    writable = lambda place, mode: bool(Path(place).stat().st_mode & 0o200)  # noqa: E731 - what root is not told
    monkeypatch.setattr(os, "access", writable)
    assert find_fault(tmp_path) == f"{path} cannot be written"
    assert repair(tmp_path) == ("RAN", f"{path} cannot be written")
    assert path.stat().st_mode & 0o200


def test_a_database_that_another_holds_or_that_is_damaged_is_named(tmp_path: Path) -> None:
    path = write_database(tmp_path)
    path.write_bytes(b"this is no database, it only has its name" * 99)
    with pytest.raises(PodError, match="not a database") as error:
        repair(tmp_path)
    assert "move" in error.value.todo
