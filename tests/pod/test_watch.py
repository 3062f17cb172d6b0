"""The watch brings back what crashes, hangs, stalls and leaks, and gives up in the end."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pods import ROOT, free_port, toml
from web import serve

from pod import keeper
from pod.comfyui import Queue
from pod.files import locked
from pod.watch import ComfyUIJudge, Watch

FRAIL = str(ROOT / "tests/pod/frail_server.py")


class Bench:
    """A workspace with a frail server, and a watch over it."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.url = folder, f"http://127.0.0.1:{free_port()}"
        self.child: subprocess.Popen[str] | None = None

    def write(self, fates: str, **watch: object) -> None:
        port = self.url.rsplit(":", 1)[1]
        command = [sys.executable, FRAIL, port, str(self.folder / "ComfyUI"), fates]
        quick = {"poll_s": 0.1, "start_s": 30, "hang_s": 1.5, "backoff_s": 0.2, "backoff_most_s": 1, "crashes": 6}
        lines = ["[pod]", 'comfyui = "ComfyUI"', f"comfyui_url = {toml(self.url)}", f"python = {toml(sys.executable)}"]
        lines += ["[startup]", f"command = {toml(command)}", "[watch]"]
        lines += [f"{key} = {toml(value)}" for key, value in {**quick, **watch}.items()]
        (self.folder / "ComfyUI").mkdir(exist_ok=True)
        (self.folder / "pod.toml").write_text("\n".join(lines) + "\n")

    def start(self, *words: str) -> None:
        command = [sys.executable, "-m", "pod", "watch", "--config", "pod.toml", *words]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        self.child = subprocess.Popen(
            command, cwd=self.folder, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )

    def finish(self, seconds: float = 30.0) -> tuple[int, str]:
        assert self.child is not None
        said, _ = self.child.communicate(timeout=seconds)
        return self.child.returncode, said

    def events(self, who: str = "comfyui") -> list[str]:
        path = self.folder / "logs/pod/events.jsonl"
        rows = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
        return [row["what"] for row in rows if row["who"] == who]

    def wait_for(self, what: Callable[[], bool], seconds: float = 60.0) -> None:
        end = time.monotonic() + seconds
        while not what():
            assert time.monotonic() < end, self.events()
            time.sleep(0.05)

    def end(self) -> None:
        if self.child is not None and self.child.poll() is None:
            self.child.kill()
            self.child.wait()
        for name in ("comfyui.pid", "pipeline.pid"):
            holder = keeper.running(self.folder / "logs/pod" / name)
            if holder and holder["pid"]:
                os.kill(int(holder["pid"]), signal.SIGKILL)


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    try:
        yield made
    finally:
        made.end()


@pytest.mark.slow
def test_a_server_that_crashes_three_times_hangs_once_and_leaks_is_brought_back_each_time(bench: Bench) -> None:
    bench.write("crash,crash,crash,hang,leak,live", memory_gib=0.35)
    bench.start()
    bench.wait_for(lambda: bench.events().count("up") == 6)
    assert bench.child is not None
    bench.child.send_signal(signal.SIGTERM)
    code, said = bench.finish()
    assert code == 0
    assert bench.events() == [
        *["started", "up", "crashed"] * 4, "started", "up", "restart", "started", "up", "stopped",
    ]  # fmt: skip
    assert "ended with code 3" in said
    assert "hangs: has not answered for" in said
    assert "0.35 are the limit; no prompt runs or waits" in said
    crashes = sorted((bench.folder / "logs/crashes").iterdir())
    assert len(crashes) == 4
    assert "out of memory, says the frail server" in crashes[0].read_text()
    assert keeper.running(bench.folder / "logs/pod/comfyui.pid") is None


def test_a_pipeline_is_watched_beside_the_watch_of_ComfyUI_that_startup_began(bench: Bench) -> None:
    bench.write("live")
    with locked(bench.folder / "logs/pod/watch-comfyui.lock", "a watch"):
        bench.start("--no-comfyui", "--pipeline", "--", sys.executable, "-c", "print('trained')")
        assert bench.finish()[0] == 0
        bench.start("--pipeline")
        code, said = bench.finish()
    assert code == 2
    assert "another process is at the watch of comfyui (--no-comfyui leaves it to that)" in said
    assert bench.events("pipeline")[0] == "started"
    assert bench.events("pipeline")[-1] == "done"
    assert bench.events("comfyui") == []


@pytest.mark.slow
def test_after_too_many_crashes_it_stops_and_tells(bench: Bench) -> None:
    with serve() as web:
        note = "import sys, pathlib; pathlib.Path('told.jsonl').open('a').write(sys.stdin.read() + chr(10))"
        bench.write("crash", crashes=3, on_event=[sys.executable, "-c", note], webhook=f"{web.address}/hook")
        bench.start()
        code, said = bench.finish(60)
    assert code == 1
    assert bench.events()[-1] == "given up"
    assert "FAIL    comfyui: given up, 3 crashes lately" in said
    told = [json.loads(line)["what"] for line in (bench.folder / "told.jsonl").read_text().splitlines()]
    assert told == bench.events()
    assert bench.events("watch") == ["not told"] * len(told)  # this web server takes no POST


@pytest.mark.slow
def test_a_server_that_outlived_its_watch_is_adopted(bench: Bench) -> None:
    bench.write("live")
    bench.start()
    bench.wait_for(lambda: "up" in bench.events())
    assert bench.child is not None
    holder = keeper.running(bench.folder / "logs/pod/comfyui.pid")
    bench.child.kill()
    bench.child.communicate()
    assert keeper.running(bench.folder / "logs/pod/comfyui.pid") == holder
    bench.start("--for", "2")
    assert bench.finish()[0] == 0
    assert bench.events()[2:] == ["adopted", "up", "stopped"]


PIPELINE = """
    import json, os, subprocess, sys, time
    from pathlib import Path
    lives = Path("pipeline_lives")
    number = int(lives.read_text()) if lives.exists() else 0
    lives.write_text(str(number + 1))
    Path("logs").mkdir(exist_ok=True)
    began, step = time.time(), 0
    def work(seconds):
        global step
        time.sleep(seconds)
        step += 1
        beat = {"stage": "train", "step": step, "total": 40, "rate": step / (time.time() - began), "time": time.time()}
        Path("logs/beat.tmp").write_text(json.dumps(beat))
        os.replace("logs/beat.tmp", "logs/heartbeat.json")
    for _ in range(20):
        work(0.05)
    for _ in range(3):
        work(1.2)  # slow, and no stall
    if number == 0:
        deaf = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"
        Path("deaf_pid").write_text(str(subprocess.Popen([sys.executable, "-c", deaf]).pid))
        time.sleep(600)
    for _ in range(17):
        work(0.05)
"""


@pytest.mark.slow
def test_a_stalled_step_is_restarted_and_a_slow_one_is_not(bench: Bench) -> None:
    bench.write("live", beat_s=0.1, stall_s=2, stall_factor=4, quiet_s=30)
    (bench.folder / "pipeline.py").write_text(textwrap.dedent(PIPELINE))
    bench.start("--no-comfyui", "--pipeline", "--", sys.executable, "pipeline.py")
    code, said = bench.finish(60)
    assert code == 0, said
    assert (bench.folder / "pipeline_lives").read_text() == "2"
    events = [what for what in bench.events("pipeline") if what != "slow"]
    assert events == ["started", "up", "crashed", "started", "up", "done"]
    assert "stalled: train at 23/40: silent for" in said
    assert "slow" in bench.events("pipeline")
    assert not is_alive(int((bench.folder / "deaf_pid").read_text()))


def is_alive(pid: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().split()[2]
    except OSError:
        return False


def test_a_queue_that_does_not_move_is_told_from_a_long_prompt() -> None:
    judge = ComfyUIJudge("http://127.0.0.1:9", Watch(stuck_s=10, stuck_factor=3))
    assert judge._stuck(Queue(("a",), ()), 0.0) == ""
    assert judge._stuck(Queue(("b",), ()), 8.0) == ""  # the first took 8 s
    assert judge._stuck(Queue(("b",), ()), 31.0) == ""  # less than three times that
    assert "has not moved for 25 s, 24 are the limit" in judge._stuck(Queue(("b",), ()), 33.0)
    assert judge._stuck(Queue((), ()), 40.0) == ""
    assert "has not moved" in judge._stuck(Queue((), ("c",)), 50.0) + judge._stuck(Queue((), ("c",)), 200.0)


def test_a_full_server_with_a_queue_is_restarted_when_a_prompt_ends_and_not_before() -> None:
    judge = ComfyUIJudge("http://127.0.0.1:9", Watch(memory_gib=1.0, memory_wait_s=60))
    assert judge._full(0.9, Queue((), ()), 5.0) == ""
    assert "no prompt runs" in judge._full(1.1, Queue((), ()), 6.0)
    for now, prompt, due in [(10.0, "a", False), (50.0, "b", False), (71.0, "b", False), (72.0, "c", True)]:
        queue = Queue((prompt,), ("z",))
        judge._stuck(queue, now)
        assert bool(judge._full(1.1, queue, now)) == due
