"""Long work says where it is."""

import json
import time
from pathlib import Path

import pytest

from stages.runtime.progress import HEARTBEAT, Progress, track


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
