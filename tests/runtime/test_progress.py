"""Long work says where it is."""

import json
import os
import time
from pathlib import Path

import pytest

from stages.runtime import progress as progress_module
from stages.runtime.progress import HEARTBEAT, Progress, tell_resumed, track


@pytest.fixture(autouse=True)
def in_a_workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_the_heartbeat_tells_stage_step_and_last_numbers(tmp_path: Path) -> None:
    progress = Progress("train", 2)
    progress.advance(loss=0.5)
    progress.advance(loss=0.25)
    beat = json.loads((tmp_path / HEARTBEAT).read_text())
    assert (beat["stage"], beat["step"], beat["total"], beat["numbers"]) == ("train", 2, 2, {"loss": 0.25})


def test_a_log_gets_few_lines_and_always_the_last(capsys: pytest.CaptureFixture[str]) -> None:
    assert list(track(range(500), "sweep", 500)) == list(range(500))
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) <= 3
    assert lines[-1].startswith("sweep: 500/500 images")


def test_resumed_work_counts_its_rate_from_where_it_resumed(capsys: pytest.CaptureFixture[str]) -> None:
    progress = Progress("train", 101, done=100)
    time.sleep(0.05)
    progress.advance()
    assert "101/101" in capsys.readouterr().err
    assert 0 < json.loads(HEARTBEAT.read_text())["rate"] <= 1 / 0.05


def test_a_heartbeat_that_cannot_be_written_does_not_stop_the_work(tmp_path: Path) -> None:
    (tmp_path / "logs").write_text("a file where the folder should be")
    assert list(track([1, 2], "eval", 2)) == [1, 2]


class Clock:
    """Time that goes as it is told."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        monkeypatch.setattr(progress_module, "time", self)

    def monotonic(self) -> float:
        return self.now

    def time(self) -> float:
        return 1.5e9


def test_a_line_says_how_far_how_fast_how_long_still_and_the_last_numbers(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = Clock(monkeypatch)
    progress = Progress("train", 100, done=20)
    clock.now += 5.0
    progress.advance(10, loss=0.123456, rate=1e-4)
    assert capsys.readouterr().err == "train: 30/100 steps  2.00/s  35 s left  loss 0.1235  rate 0.0001\n"
    beat = json.loads(HEARTBEAT.read_text())
    assert (beat["rate"], beat["eta_s"], beat["time"], beat["pid"]) == (2.0, 35.0, 1.5e9, os.getpid())


def test_a_log_is_told_every_fifteen_seconds_and_at_the_end(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = Clock(monkeypatch)
    progress = Progress("sweep", 5, unit="image")
    for wait in (1.0, 14.9, 0.1, 1.0, 1.0):
        clock.now += wait
        progress.advance()
    said = [line.split("  ")[0] for line in capsys.readouterr().err.splitlines()]
    assert said == ["sweep: 1/5 images", "sweep: 3/5 images", "sweep: 5/5 images"]


@pytest.mark.parametrize(("done", "said"), [(0, ""), (3, "sweep: resumed, 3 of 9 pictures were done\n")])
def test_what_was_done_before_is_said_where_there_was_something(
    capsys: pytest.CaptureFixture[str], done: int, said: str
) -> None:
    tell_resumed("sweep", done, 9)
    assert capsys.readouterr().err == said
