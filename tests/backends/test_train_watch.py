"""What is warned of while a training runs, once each, and what its board and its clock tell."""

from pathlib import Path

import pytest

from stages.backends.train import state, watch
from stages.backends.train.board import FOLDER, Board
from stages.backends.train.state import Clock
from stages.backends.train.watch import FIRST, WINDOW, Watch
from stages.contracts.train_settings import Train
from stages.contracts.training import Step

TRAIN = Train.model_validate({"version": "t", "base": "base", "steps": 200, "checkpoint_every": 100})
Capture = pytest.CaptureFixture[str]


class Time:
    """A clock that goes as it is told."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, module: object) -> None:
        self.now = 100.0
        monkeypatch.setattr(module, "time", self)

    def monotonic(self) -> float:
        return self.now


def steps(clock: Time, watched: Watch, seconds: list[float], rate: float = 1e-4, d: float | None = 1e-4) -> None:
    for number, wait in enumerate(seconds, start=1):
        clock.now += wait
        watched.add(Step(number, 0.1, None, None, rate, d))


@pytest.mark.parametrize(
    ("device", "slow", "times"), [("cuda", 3.1, 3), ("cuda:1", 3.1, 3), ("cuda", 3.0, 0), ("cpu", 9.0, 0)]
)
def test_steps_on_a_gpu_that_become_more_than_three_times_as_long_are_told_once(
    monkeypatch: pytest.MonkeyPatch, capsys: Capture, device: str, slow: float, times: int
) -> None:
    clock = Time(monkeypatch, watch)
    steps(clock, Watch(TRAIN, device), [1.0] * FIRST + [slow] * (2 * WINDOW))
    said = capsys.readouterr().err.splitlines()
    if times:
        (line,) = said
        assert line.startswith(f"train: warning: a step takes 3.1 s, {times} times as long as at the start: ")
    else:
        assert said == []


def test_one_slow_step_or_too_few_are_no_reason_to_warn(monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    clock = Time(monkeypatch, watch)
    steps(clock, Watch(TRAIN, "cuda"), [1.0] * FIRST + [9.0] * (WINDOW - 1))
    steps(clock, Watch(TRAIN, "cuda"), [1.0] * FIRST + ([9.0] + [1.0] * WINDOW) * 2)
    assert capsys.readouterr().err == ""


def test_a_rate_that_is_wrong_is_told_once_whatever_its_number(capsys: Capture) -> None:
    watched = Watch(TRAIN, "cpu")
    for number in range(1, 60):
        watched.add(Step(number, 0.1, None, None, 1e-6, 1e-6))
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("train: warning: Prodigy is not learning: d is 1e-06 after 20 steps;")
    watched.add(Step(60, 0.1, None, None, 0.05, 0.05))
    assert "running away" in capsys.readouterr().err


def test_a_save_is_due_so_long_after_the_last_one_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    time = Time(monkeypatch, state)
    clock = Clock(60.0)
    time.now += 59.9
    assert not clock.due()
    time.now += 0.1
    assert clock.due()
    clock.reset()
    assert not clock.due()


def test_the_board_is_told_every_number_under_its_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    monkeypatch.chdir(tmp_path)
    with Board("v3", 0) as board:
        board.add(Step(1, 0.5, 0.25, None, 1e-3, None))
        board.add(Step(2, 0.375, None, 0.125, 2e-3, 4e-3))
    events = EventAccumulator(str(FOLDER / "v3")).Reload()
    found = {tag: [(e.step, round(e.value, 6)) for e in events.Scalars(tag)] for tag in events.Tags()["scalars"]}
    assert found == {
        "loss/train": [(1, 0.5), (2, 0.375)], "loss/regularization": [(1, 0.25)], "loss/holdout": [(2, 0.125)],
        "rate/effective": [(1, 1e-3), (2, 2e-3)], "rate/prodigy_d": [(2, 4e-3)],
    }  # fmt: skip
    with Board("quiet", 0, enabled=False) as board:
        board.add(Step(1, 0.5, None, None, 1e-3, None))
    assert not (FOLDER / "quiet").exists()
