"""A stalled step is told from a slow one."""

import json
from pathlib import Path

import pytest

from pod.heartbeat import Pace, Patience

PATIENCE = Patience(beat_s=15, stall_s=300, stall_factor=10, quiet_s=3600)


def beat(step: int, time: float, rate: float, total: int = 100, stage: str = "train") -> dict[str, float | str]:
    return {"stage": stage, "step": step, "total": total, "rate": rate, "time": time}


def heard(tmp_path: Path, *beats: dict[str, float | str]) -> Pace:
    pace = Pace(started=1000.0)
    for one in beats:
        (tmp_path / "heartbeat.json").write_text(json.dumps(one))
        pace.hear(tmp_path / "heartbeat.json")
    return pace


@pytest.mark.parametrize(
    ("rate", "silence", "verdict"),
    [
        (1.0, 20, "moving"),
        (1.0, 60, "slow"),  # three times what is expected
        (1.0, 299, "slow"),
        (1.0, 301, "stalled"),
        (0.01, 301, "slow"),  # a step takes 100 s
        (0.01, 999, "slow"),
        (0.01, 1001, "stalled"),
        (0.0, 299, "slow"),
    ],
)
def test_silence_is_measured_by_the_stage_s_own_rate(tmp_path: Path, rate: float, silence: float, verdict: str) -> None:
    pace = heard(tmp_path, beat(10, 2000.0, rate))
    assert pace.judge(2000.0 + silence, PATIENCE)[0] == verdict


def test_steps_that_became_slow_count_more_than_the_mean_rate(tmp_path: Path) -> None:
    pace = heard(tmp_path, beat(10, 2000.0, 10.0), beat(12, 2200.0, 8.0))  # 100 s a step now
    assert pace.judge(2700.0, PATIENCE)[0] == "slow"
    assert pace.judge(3201.0, PATIENCE)[0] == "stalled"


def test_another_stage_has_another_pace(tmp_path: Path) -> None:
    pace = heard(tmp_path, beat(10, 2000.0, 0.01), beat(1, 2100.0, 5.0, stage="sweep"))
    assert pace.judge(2401.0, PATIENCE)[0] == "stalled"


def test_between_stages_silence_is_no_stall(tmp_path: Path) -> None:
    pace = heard(tmp_path, beat(100, 2000.0, 1.0))
    assert pace.judge(5000.0, PATIENCE)[0] == "moving"
    assert pace.judge(5601.0, PATIENCE)[0] == "stalled"


def test_a_beat_of_an_earlier_run_and_a_torn_file_are_not_heard(tmp_path: Path) -> None:
    pace = heard(tmp_path, beat(10, 900.0, 1.0))
    assert pace.beat == {}
    (tmp_path / "heartbeat.json").write_text('{"stage": ')
    pace.hear(tmp_path / "heartbeat.json")
    assert pace.judge(1010.0, PATIENCE)[0] == "moving"
