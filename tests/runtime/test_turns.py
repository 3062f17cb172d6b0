"""The stages of one workspace take turns."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from stages.runtime.errors import UserError
from stages.runtime.turns import someone_works, take_turn

ROOT = Path(__file__).parents[2]
STAGE = """
import sys, time
from pathlib import Path
from stages.runtime.entry import run_stage
def main():
    with Path("log").open("a") as log: log.write(sys.argv[1] + " begins\\n")
    Path("working").touch()
    while not Path("stop").exists(): time.sleep(0.01)
    with Path("log").open("a") as log: log.write(sys.argv[1] + " ends\\n")
run_stage(main)
"""


@pytest.fixture(autouse=True)
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.delenv("DVC_STAGE", raising=False)


def start(name: str, **environment: str) -> subprocess.Popen[str]:
    env = os.environ | environment
    return subprocess.Popen([sys.executable, "-c", STAGE, name], env=env, stderr=subprocess.PIPE, text=True)


@pytest.fixture
def first() -> Iterator[subprocess.Popen[str]]:
    """A stage that is at work until a file `stop` appears."""
    process = start("first")
    wait_until(Path("working").exists)
    yield process
    process.kill()
    process.communicate(timeout=10)


def wait_until(condition) -> None:
    for _ in range(1000):
        if condition():
            return
        time.sleep(0.01)
    raise AssertionError("waited ten seconds")


def test_a_stage_that_is_started_by_hand_beside_another_is_refused(first: subprocess.Popen[str]) -> None:
    second = start("second")
    _, said = second.communicate(timeout=10)
    assert second.returncode == 2
    assert "a stage is at work in this folder; wait for it, or end it" in said
    assert said.count("\n") == 1
    assert Path("log").read_text() == "first begins\n"


def test_a_stage_that_dvc_starts_waits_for_its_turn(first: subprocess.Popen[str]) -> None:
    second = start("second", DVC_STAGE="manifest")
    assert second.stderr is not None
    assert second.stderr.readline() == "waiting: a stage is at work in this folder\n"
    assert Path("log").read_text() == "first begins\n"
    Path("stop").touch()
    assert (first.wait(10), second.wait(10)) == (0, 0)
    assert Path("log").read_text() == "first begins\nfirst ends\nsecond begins\nsecond ends\n"
    second.communicate()


def test_a_stage_that_was_killed_holds_nobody_up(first: subprocess.Popen[str]) -> None:
    assert someone_works()
    first.send_signal(signal.SIGKILL)
    first.wait(10)
    assert not someone_works()
    with take_turn():
        pass


def test_another_workspace_is_free(first: subprocess.Popen[str], tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    with take_turn():
        pass


def test_a_turn_ends_with_its_stage_however_that_ends() -> None:
    with pytest.raises(UserError), take_turn():
        raise UserError("a.png", "no picture")
    assert not someone_works()
