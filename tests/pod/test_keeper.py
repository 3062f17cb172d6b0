"""A service's lock lives exactly as long as the service."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from pod import keeper
from pod.errors import PodError
from pod.processes import end_leftovers, run, start_service, stop_service

SLEEP = [sys.executable, "-c", "import time; print('here', flush=True); time.sleep(600)"]


def wait_until_told(lock: Path, log: Path) -> dict[str, object]:
    end = time.monotonic() + 20
    while not log.exists() or "here" not in log.read_text():
        assert time.monotonic() < end
        time.sleep(0.02)
    holder = keeper.running(lock)
    assert holder is not None
    return holder


def test_the_lock_names_the_program_itself_and_a_second_one_is_turned_away(tmp_path: Path) -> None:
    lock, log = tmp_path / "a.pid", tmp_path / "a.log"
    child = start_service(lock, SLEEP, log)
    holder = wait_until_told(lock, log)
    assert holder["pid"] == child.pid
    assert holder["command"] == SLEEP
    second = subprocess.run([sys.executable, keeper.__file__, str(lock), *SLEEP], capture_output=True, timeout=30)
    assert second.returncode == keeper.RUNS_ALREADY
    assert stop_service(lock)
    assert keeper.running(lock) is None
    assert child.wait(10) != 0
    assert not stop_service(lock)


def test_a_killed_program_leaves_no_lock(tmp_path: Path) -> None:
    lock, log = tmp_path / "a.pid", tmp_path / "a.log"
    child = start_service(lock, SLEEP, log)
    wait_until_told(lock, log)
    child.kill()
    child.wait()
    assert keeper.running(lock) is None
    assert keeper.running(tmp_path / "never.pid") is None


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not show a process's environment")
def test_what_a_killed_helper_left_behind_is_ended(tmp_path: Path) -> None:
    code = "import subprocess, sys; child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)']); "
    code += "print(child.pid, flush=True); import os, signal; os.kill(os.getpid(), signal.SIGKILL)"
    log = tmp_path / "startup.log"
    with pytest.raises(PodError, match="ended with code -9"):
        run([sys.executable, "-c", code], log)
    left = int(log.read_text().split("\n")[2])
    assert Path(f"/proc/{left}").exists()
    assert end_leftovers(tmp_path / "another.log") == 0
    assert end_leftovers(log) == 1
    assert end_leftovers(log) == 0


def test_the_log_of_the_life_before_is_kept(tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    for word in ("one", "two"):
        start_service(tmp_path / "a.pid", [sys.executable, "-c", f"print({word!r})"], log).wait(20)
    assert (tmp_path / "a.log.1").read_text() == "one\n"
    assert log.read_text() == "two\n"
