"""Caption and sweep on two local Ray workers: the same files as without, and what is killed costs its own shard alone.

Real stages on the miniature's models, in a small workspace.
"""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
from test_batch_killed import make_world
from workspaces import write_params

from miniature.places import WEIGHTS
from stages.runtime.provenance import hash_file

ROOT = Path(__file__).parent.parent
PATIENCE = 600.0  # seconds, however busy the machine
GONE_S = 20.0  # until nothing is left of a killed run
GROUP = 4
GONE = "ray: a worker is gone"
COUNTING = '''
import os
from stages.backends.caption.blip2 import Blip2Captioner
from stages.backends.generate.diffusers import DiffusersGenerator

def note(*words):
    with open("begun.txt", "a") as log:
        log.write(" ".join(map(str, words)) + "\\n")

class Draws(DiffusersGenerator):
    """Writes down what it begins to draw."""

    def generate(self, requests):
        checked = super().generate(requests)

        def drawn():
            for r in requests:
                note(os.getpid(), f"{r.prompt}|{r.seed}|{r.strength}")
            yield from checked

        return drawn()

class Says(Blip2Captioner):
    """Writes down what it is asked."""

    def captions(self, images):
        for image in images:
            note(os.getpid(), int(image.astype(int).sum()))
        yield from super().captions(images)
'''
PROMPTS = ["{trigger}, a {class_word}, smiling", "{trigger}, a {class_word}, frowning, studio background"]
SWEEP = {"backend": "counting:Draws", "resolution": 64, "steps": 6, "micro_batch": GROUP, "prompts": PROMPTS,
         "guidance": [2.0], "strengths": [0.5, 1.0], "seeds": [1, 2, 3, 4, 5, 6],
         "confirm_seeds": [7, 8], "samplers": ["ddim"], "checkpoints": [200]}  # fmt: skip
CAPTION = {"backend": "counting:Says", "model": "weights/captioner", "micro_batch": GROUP}
RESULTS = ("data/captions", "data/sweep", "metrics")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not (WEIGHTS / "base").exists(), reason="needs the miniature's weights"),
    pytest.mark.skipif(shutil.which("sh") is None or sys.platform != "linux", reason="ends processes by their ids"),
]


class World:
    """A workspace, and what happened in it."""

    def __init__(self, folder: Path, temporary: Path, ray: bool) -> None:
        folder.mkdir()
        make_world(folder)
        (folder / "counting.py").write_text(COUNTING)
        machine: dict[str, Any] = {"state_dir": str(folder / "state")}
        write_params(folder, sweep=SWEEP, machine=machine | ({"ray_address": "local", "ray_workers": 2} if ray else {}))
        with (folder / "params.yaml").open("a") as stream:
            stream.write(f"caption: {CAPTION}\n".replace("'", '"'))
        self.folder, self.temporary, self.begun = folder, temporary, folder / "begun.txt"

    @contextmanager
    def running(self, stage: str) -> Iterator[subprocess.Popen[bytes]]:
        """A stage at work, killed at the end if it still is."""
        env = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "TMPDIR": str(self.temporary)}
        with (self.folder / f"{stage}.log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", f"stages.{stage}"], cwd=self.folder, env=env, stdout=log, stderr=log
            )
        try:
            yield process
        finally:
            process.kill()
            process.wait()

    def log(self, stage: str) -> str:
        """What all runs of a stage said."""
        return (self.folder / f"{stage}.log").read_text(encoding="utf-8")

    def finish(self, process: subprocess.Popen[bytes], stage: str) -> None:
        """Wait for a stage's end."""
        assert process.wait(timeout=PATIENCE) == 0, self.log(stage)[-2000:]

    def wait(self, seen: Callable[[], bool], process: subprocess.Popen[bytes], stage: str) -> None:
        """Wait for something that a stage does."""
        deadline = time.monotonic() + PATIENCE
        while not seen():
            assert process.poll() is None, self.log(stage)[-2000:]
            assert time.monotonic() < deadline
            time.sleep(0.005)

    def lines(self) -> list[tuple[int, str]]:
        """Who began what, in this order."""
        if not self.begun.exists():
            return []
        rows = [line.partition(" ") for line in self.begun.read_text().splitlines()]
        return [(int(pid), what) for pid, _, what in rows]

    def kill_a_worker(self, process: subprocess.Popen[bytes], stage: str, after: int) -> list[str]:
        """Once so much has begun, kill -9 whoever began the last shard; that shard."""
        self.wait(lambda: len(self.lines()) >= after and len(self.lines()) % GROUP == 0, process, stage)
        pid = self.lines()[-1][0]
        assert pid in {child.pid for child in psutil.Process(process.pid).children(recursive=True)}
        os.kill(pid, signal.SIGKILL)
        return [what for who, what in self.lines() if who == pid][-GROUP:]

    def hashes(self) -> dict[str, str]:
        """Sha256 of every result."""
        files = [file for name in RESULTS for file in (self.folder / name).rglob("*") if file.is_file()]
        return {file.relative_to(self.folder).as_posix(): hash_file(file) for file in sorted(files)}


@pytest.fixture
def temporary() -> Iterator[Path]:
    """A place with a short name for Ray's sockets."""
    folder = Path(tempfile.mkdtemp(prefix="t-", dir="/tmp"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def wait_for_the_end(processes: list[psutil.Process]) -> None:
    """Wait until none of them is there."""
    _, alive = psutil.wait_procs(processes, timeout=GONE_S)
    assert [process for process in alive if process.status() != psutil.STATUS_ZOMBIE] == []


def test_two_workers_and_kills_change_no_file(tmp_path: Path, temporary: Path) -> None:
    alone, shared = World(tmp_path / "alone", temporary, False), World(tmp_path / "shared", temporary, True)
    for stage in ("caption", "sweep"):
        with alone.running(stage) as process:
            alone.finish(process, stage)
    check_captions(shared)
    shared.begun.unlink()
    check_sweep(shared)
    assert shared.hashes() == alone.hashes()
    assert len({name for name in alone.hashes() if name.startswith(("data/captions", "data/sweep"))}) > 40
    assert list(temporary.glob("pistachio-ray-*")) == []  # Ray's own files are gone, those of the killed run too
    assert {path.name for path in shared.folder.iterdir()} - {path.name for path in alone.folder.iterdir()} == set()
    for stage in ("caption", "sweep"):
        said = [line for line in shared.log(stage).splitlines() if not line.startswith((f"{stage}:", f"{stage}, "))]
        told = [line[: len(GONE)] for line in said if line not in alone.log(stage)]
        assert told == ([GONE] if stage == "sweep" else [])


def check_captions(world: World) -> None:
    """The whole run is killed, another goes on where it was."""
    kept = world.folder / "state"
    with world.running("caption") as process:
        world.wait(lambda: len(list(kept.rglob("*.txt"))) >= GROUP, process, "caption")
        below = psutil.Process(process.pid).children(recursive=True)
        process.kill()
        process.wait()
    wait_for_the_end(below)
    done = len(list(kept.rglob("*.txt")))
    before = len(world.lines())
    with world.running("caption") as process:
        world.finish(process, "caption")
    assert f"resumed, {done} of" in world.log("caption")
    assert len(world.lines()) - before == 16 - done  # photos


def check_sweep(world: World) -> None:
    """One worker is killed; its shard alone is drawn again."""
    with world.running("sweep") as process:
        killed = world.kill_a_worker(process, "sweep", 2 * GROUP)
        world.finish(process, "sweep")
    drawn = Counter(what for _, what in world.lines())
    assert sorted(what for what, times in drawn.items() if times > 1) == sorted(killed)
    assert set(drawn.values()) == {1, 2}
    assert len({pid for pid, _ in world.lines()}) == 3
