"""Unfinished work is kept outside the work tree, locked, and removed when it is done."""

import os
import shutil
from pathlib import Path

import pytest

from stages.runtime import state
from stages.runtime.errors import UserError
from stages.runtime.state import KEPT, cache_folder, work_folder


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


def test_work_that_was_done_for_nobody_is_kept_for_who_asks_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A killed dvc leaves its stage running, and takes none of its results."""
    monkeypatch.setattr(state, "_STARTED_BY", [os.getppid(), 999_999_999])
    with work_folder(tmp_path, "draw", "abc") as folder:
        (folder / "whole").touch()
    monkeypatch.undo()
    with work_folder(tmp_path, "draw", "abc") as folder:
        assert [path.name for path in folder.iterdir()] == ["whole"]
    assert not folder.exists()


@pytest.mark.parametrize("after", [0, 1])
def test_a_kill_while_work_is_removed_leaves_no_half_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    """A training's state without its record could neither be continued nor begun anew."""

    def removed(path: Path, *_: object, **__: object) -> None:
        for file in sorted(Path(path).glob("*"))[:after]:
            file.unlink()
        if Path(path).exists():
            raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt), work_folder(tmp_path, "draw", "abc") as work:
        (work / "record").touch()
        (work / "state").touch()
        patch.setattr(shutil, "rmtree", removed)
    with work_folder(tmp_path, "draw", "abc") as work:
        assert {path.name for path in work.iterdir()} in ({"record", "state"}, set())
        assert [path.name for path in work.parent.iterdir() if path.is_dir()] == ["abc"]


def test_the_newest_unfinished_work_is_kept_and_older_goes(tmp_path: Path) -> None:
    for number in range(KEPT + 2):
        with pytest.raises(KeyboardInterrupt), work_folder(tmp_path, "draw", f"{number}") as work:
            (work / "half").touch()
            os.utime(work, (number, number))
            raise KeyboardInterrupt
    assert {path.name for path in (tmp_path / "draw").iterdir() if path.is_dir()} == {"2", "3", "4", "5"}


def test_old_work_that_somebody_is_at_is_not_removed(tmp_path: Path) -> None:
    with work_folder(tmp_path, "draw", "held") as held:
        os.utime(held, (0, 0))
        for number in range(KEPT + 1):
            with pytest.raises(KeyboardInterrupt), work_folder(tmp_path, "draw", f"{number}"):
                raise KeyboardInterrupt
        assert held.exists()
