"""`python -m pod cost --idle-stop`: what is busy keeps a machine, and nothing else does."""

import json
import sys
import time
from decimal import Decimal
from pathlib import Path

import pytest
from comfyui.server import open_double

from pod import idle
from pod.idle import queue_length, stop_when_idle, why_busy
from pod.ledger import append, begin, finish
from pod.meter import Meter, open_meter


@pytest.fixture
def meter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Meter:
    monkeypatch.chdir(tmp_path)
    stop = json.dumps([sys.executable, "-c", "open('$STOPPED', 'w').close()"])
    url = '[pod]\ncomfyui_url = "http://127.0.0.1:9"\n'
    (tmp_path / "my.toml").write_text(f'{url}[cost]\npoll_s = 10.0\ngpu = "RTX 4090"\nidle_stop = {stop}\n')
    monkeypatch.setenv("STOPPED", str(tmp_path / "stopped"))
    monkeypatch.setattr(idle, "smi", lambda query: "0")
    return open_meter(tmp_path / "my.toml")


def test_a_machine_is_stopped_after_so_many_idle_minutes_and_not_before(meter: Meter, tmp_path: Path) -> None:
    clock = [time.time()]
    began = clock[0]
    session = begin("work", "RTX 4090", Decimal("0.6"), began)
    append(meter.ledger, session)

    def sleep(seconds: float) -> None:
        clock[0] += seconds
        if clock[0] - began >= 300 and session.end is None:
            append(meter.ledger, finish(session, clock[0]))
            object.__setattr__(session, "end", "written")

    assert stop_when_idle(meter, 5, clock=lambda: clock[0], sleep=sleep) == 0
    assert (tmp_path / "stopped").exists()
    assert 590 <= clock[0] - began <= 620  # 300 s of work, then five minutes


def test_a_heartbeat_a_gpu_and_a_silent_driver_are_busy(meter: Meter, monkeypatch: pytest.MonkeyPatch) -> None:
    assert why_busy(meter, time.time()) == ""
    meter.heartbeat.parent.mkdir(exist_ok=True)
    meter.heartbeat.write_text(json.dumps({"stage": "train", "time": time.time()}))
    assert why_busy(meter, time.time()) == "heartbeat of train"
    assert why_busy(meter, time.time() + 60) == ""
    for told, why in (("3\n80", "GPU"), ("[N/A]", ""), (None, "nvidia-smi does not answer"), ("", "")):
        monkeypatch.setattr(idle, "smi", lambda query, told=told: told)
        assert why_busy(meter, time.time() + 60) == why


def test_a_queue_of_comfyui_is_counted(tmp_path: Path) -> None:
    with open_double(tmp_path) as double:
        assert queue_length(double.url) == 0
    assert queue_length("http://127.0.0.1:9") == 0
