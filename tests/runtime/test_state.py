"""Unfinished work is kept outside the work tree, locked, and removed when it is done."""

from pathlib import Path

import pytest

from stages.runtime.errors import UserError
from stages.runtime.state import cache_folder, work_folder


def test_state_lies_where_it_is_set_or_in_the_user_s_cache_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    assert cache_folder(Path("/volume/state")) == Path("/volume/state")
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    assert cache_folder(None) == Path("/somewhere/pistachio")
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", "/home/me")
    assert cache_folder(None) == Path("/home/me/.cache/pistachio")


def test_work_that_was_interrupted_is_found_again_and_work_that_is_done_is_not(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), work_folder(tmp_path, "draw", "abc") as folder:
        (folder / "half").touch()
        raise KeyboardInterrupt
    with work_folder(tmp_path, "draw", "other") as folder:
        assert list(folder.iterdir()) == []
    with work_folder(tmp_path, "draw", "abc") as folder:
        assert [path.name for path in folder.iterdir()] == ["half"]
    with work_folder(tmp_path, "draw", "abc") as folder:
        assert list(folder.iterdir()) == []


def test_two_processes_never_do_the_same_work(tmp_path: Path) -> None:
    with (
        work_folder(tmp_path, "draw", "abc"),
        work_folder(tmp_path, "draw", "other"),
        pytest.raises(UserError) as caught,
    ):
        work_folder(tmp_path, "draw", "abc").__enter__()
    assert "another process" in caught.value.line
    with work_folder(tmp_path, "draw", "abc"):
        pass


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with (
        pytest.raises(UserError, match=r"cannot be written .*set machine\.state_dir"),
        work_folder(tmp_path / "file", "draw", "abc"),
    ):
        pass
