"""Every stage can be killed at any moment: it takes up what it had, and all artifacts end as the same bytes.

Real stages on a real workspace: rendered photos of a development identity, the miniature's models, a short experiment.
"""

import os
import random
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from workspaces import write_card

from miniature.persona import write_photos
from miniature.places import DEVELOPMENT, WEIGHTS
from stages.runtime.provenance import hash_file
from stages.runtime.turns import BUSY

ROOT = Path(__file__).parent.parent
STAGES = ("caption", "manifest", "regularize", "train", "sweep", "eval")
KILLS = {"caption": 5, "regularize": 4, "train": 5, "sweep": 3, "eval": 4}
ARTIFACTS = ("data/captions", "data/manifest.json", "data/regularization", "models/lora", "data/sweep",
             "data/eval")  # fmt: skip
BUDGET = 600.0  # CPU seconds of all stages; about 300 are needed, in as much time where nothing else runs
PATIENCE = 1800.0  # seconds for one run, however busy the machine
SEED = 20
FEW: dict[str, Any] = {
    "machine": {"threads": 1, "save_seconds": 0},
    "caption": {"micro_batch": 1},
    "regularize": {"count": 12, "steps": 6, "micro_batch": 1},
    "train": {"steps": 12, "checkpoint_every": 4, "holdout_every": 4, "batch": 2, "prior_batch": 1, "rank": 8},
    "sweep": {"checkpoints": [8, 12], "guidance": [3.0], "strengths": [0.8, 1.0], "seeds": [101],
              "confirm_seeds": [201], "steps": 6, "micro_batch": 1},
    "eval": {"seeds": [1001], "steps": 6, "micro_batch": 1, "bootstrap": 200},
}  # fmt: skip
PROMPTS = {"sweep": 2, "eval": 4}
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not (WEIGHTS / "base").exists(), reason="needs the miniature's weights"),
]


class Trial:
    """One workspace, and what happened in it."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.used = folder, cpu_seconds()
        self.killed: dict[str, list[int]] = {}  # by stage: how far each killed run was
        write_workspace(folder)

    def log(self, stage: str) -> str:
        """What all runs of a stage said."""
        return (self.folder / f"{stage}.log").read_text(encoding="utf-8")

    @contextmanager
    def running(self, stage: str) -> Iterator[subprocess.Popen[bytes]]:
        """A stage at work, killed at the end if it still is."""
        env = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        command = [sys.executable, "-m", f"stages.{stage}"]
        with (self.folder / f"{stage}.log").open("ab") as log:
            process = subprocess.Popen(command, cwd=self.folder, env=env, stdout=log, stderr=log)
        try:
            yield process
        finally:
            process.kill()
            process.wait()

    def finish(self, stage: str) -> None:
        """Run a stage to its end."""
        with self.running(stage) as process:
            assert process.wait(timeout=PATIENCE) == 0, self.log(stage)[-2000:]
        assert cpu_seconds() - self.used < BUDGET, self.killed

    def done(self, stage: str) -> int:
        """How much of its work a stage keeps: answers, pictures or steps."""
        if stage == "train":
            records = list(self.folder.glob("state/train/[!.]*/steps.jsonl"))
            return len(records[0].read_bytes().splitlines()) if records else 0
        return len(list(self.folder.glob(f"state/{stage}/[!.]*/[!.]*.*")))

    def kill(self, stage: str, place: int, pause: float) -> None:
        """Start a stage and kill -9 it ``pause`` seconds after it has done one more, and at least ``place`` pieces."""
        goal = max(place, self.done(stage) + 1)
        with self.running(stage) as process:
            deadline = time.monotonic() + PATIENCE
            while process.poll() is None and self.done(stage) < goal:
                assert time.monotonic() < deadline
                time.sleep(0.01)
            time.sleep(pause)
            process.kill()
            code = process.wait()
        assert code in (-signal.SIGKILL, 0), self.log(stage)[-2000:]
        if code:
            self.killed.setdefault(stage, []).append(self.done(stage))

    def hashes(self) -> dict[str, str]:
        """sha256 of every file of every artifact; beside those in metrics a killed run may have left half of one."""
        roots = [self.folder / name for name in ARTIFACTS] + sorted((self.folder / "metrics").glob("[!.]*"))
        files = [file for root in roots for file in ([root] if root.is_file() else root.rglob("*")) if file.is_file()]
        return {file.relative_to(self.folder).as_posix(): hash_file(file) for file in sorted(files)}


def write_workspace(folder: Path) -> None:
    """Photos, weights and params.yaml of a short experiment, in an empty folder."""
    with initialize_config_dir(str(ROOT / "conf"), version_base=None):
        values: Any = OmegaConf.to_container(compose("config", []), resolve=True)
    for name, few in FEW.items():
        values[name] |= few
    values["machine"]["state_dir"] = str(folder / "state")
    values["train"]["samples"] |= {"prompts": values["train"]["samples"]["prompts"][:2], "seeds": [7], "steps": 6,
                                   "probe_seeds": [7, 8], "micro_batch": 2}  # fmt: skip
    for name, count in PROMPTS.items():
        values[name]["prompts"] = values[name]["prompts"][:count]
    (folder / "miniature").mkdir(parents=True)
    (folder / "miniature/weights").symlink_to(WEIGHTS)
    (folder / "params.yaml").write_text(yaml.safe_dump(values))
    write_photos(folder / "data/photos", DEVELOPMENT[11])
    write_card(folder, values["dataset"]["name"])


def cpu_seconds() -> float:
    """What the processes that were started and have ended took."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def resumed(log: str) -> list[int]:
    """How much was there when a run took up another's work: steps, photos or pictures."""
    return [int(number) for number in re.findall(r"resumed(?: at step|,) (\d+)", log)]


def test_killed_again_and_again_every_stage_ends_with_the_same_bytes(tmp_path: Path) -> None:
    started, used = time.monotonic(), cpu_seconds()
    alone, disturbed = Trial(tmp_path / "undisturbed"), Trial(tmp_path / "killed")
    generator, pieces = random.Random(SEED), {"caption": 35, "regularize": 12, "train": 13, "sweep": 8, "eval": 12}
    for stage in STAGES:
        alone.finish(stage)
        count = KILLS.get(stage, 0)
        for place in sorted(generator.sample(range(pieces.get(stage, 0)), count)):
            disturbed.kill(stage, place, generator.uniform(0, 0.3))
        disturbed.finish(stage)
        if count:
            print(f"{stage}: killed at {disturbed.killed[stage]}, took up {resumed(disturbed.log(stage))}")
    kills, seconds = sum(map(len, disturbed.killed.values())), time.monotonic() - started
    print(f"{kills} kills in {seconds:.0f} s, {cpu_seconds() - used:.0f} CPU seconds")
    assert kills >= 20
    for stage in KILLS:
        assert len(disturbed.killed[stage]) >= 2
        assert not resumed(alone.log(stage))
        assert max(resumed(disturbed.log(stage))) > 0
    assert alone.hashes().keys() >= {"metrics/scorecard.json", "metrics/loss.csv", "models/lora/amiranoor.safetensors"}
    assert disturbed.hashes() == alone.hashes()


LAST = 6
LITTLE: dict[str, Any] = {
    "caption": {"backend": "template"},
    "regularize": {"source": "none"},
    "train": {"steps": LAST, "checkpoint_every": 3, "holdout_every": 3, "prior_batch": 0},
}


class Repository:
    """A git and DVC repository with one stage, train, on photos that are prepared."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        for role in ("AUTHOR", "COMMITTER"):
            monkeypatch.setenv(f"GIT_{role}_NAME", "Ada")
            monkeypatch.setenv(f"GIT_{role}_EMAIL", "ada@example.org")
        monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
        monkeypatch.setenv("DVC_SITE_CACHE_DIR", str(folder.with_name("site")))
        monkeypatch.setenv("DVC_NO_ANALYTICS", "1")
        monkeypatch.setenv("PYTHONPATH", str(ROOT))
        monkeypatch.setenv("OMP_NUM_THREADS", "1")
        monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
        monkeypatch.setenv("SHELL", str(write_shell(folder.with_name("shell"))))
        self.trial, self.folder = Trial(folder), folder
        values = yaml.safe_load((folder / "params.yaml").read_text())
        for name, little in LITTLE.items():
            values[name] |= little
        (folder / "params.yaml").write_text(yaml.safe_dump(values))
        for stage in ("caption", "manifest", "regularize", "train"):
            self.trial.finish(stage)
        self.undisturbed = self.results()
        shutil.rmtree(folder / "models")
        shutil.rmtree(folder / "metrics")
        self._commit()

    def _commit(self) -> None:
        """Everything that a training reads is git's, so that a temporary copy has it too."""
        (self.folder / "miniature/weights").unlink()
        shutil.copytree(WEIGHTS / "base", self.folder / "miniature/weights/base")
        stage = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]["train"]
        stage["deps"] = [dep for dep in stage["deps"] if not dep.startswith("stages/")]
        (self.folder / "dvc.yaml").write_text(yaml.safe_dump({"stages": {"train": stage}}))
        (self.folder / ".gitignore").write_text("logs/\nstate/\n*.log\n.*.part*\n")
        for command in (["git", "init", "-q"], ["dvc", "init", "-q"], ["git", "add", "-A"]):
            subprocess.run(command, cwd=self.folder, check=True)
        subprocess.run(["git", "commit", "-qm", "Start"], cwd=self.folder, check=True)

    def results(self) -> dict[str, str]:
        """sha256 of what a training makes."""
        made = re.compile(r"(models|metrics)/.*\.(safetensors|json|csv|png)")
        return {name: sha for name, sha in self.trial.hashes().items() if made.fullmatch(name)}

    def dvc(self, *arguments: str) -> str:
        """Run dvc to its end; what it said."""
        with self.running(*arguments) as (process, log):
            assert process.wait(PATIENCE) == 0, log.read_text()[-2000:]
        return log.read_text()

    @contextmanager
    def running(self, *arguments: str) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
        """Dvc at work and its log; killed at the end, with all below it, if it still is."""
        log = self.folder / f"dvc-{len(list(self.folder.glob('dvc-*.log')))}.log"
        with log.open("wb") as said:
            process = subprocess.Popen(["dvc", *arguments], cwd=self.folder, stdout=said, stderr=said)
        try:
            yield process, log
        finally:
            below = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
            process.kill()
            process.wait()
            for each in below:
                with suppress(psutil.NoSuchProcess):
                    each.kill()

    def kill_dvc(self, *arguments: str, steps: int) -> psutil.Process:
        """Start dvc, kill -9 it alone once so many steps were told; its orphan, held still."""
        with self.running(*arguments) as (dvc, log):
            wait_until(lambda: self.trial.done("train") > steps, dvc, log)
            below = psutil.Process(dvc.pid).children(recursive=True)
            (stage,) = [process for process in below if "stages.train" in process.cmdline()]
            stage.suspend()
            dvc.kill()
            dvc.wait()
        return stage


def write_shell(path: Path) -> Path:
    """A shell that stays between dvc and its stage, as some do and others do not."""
    path.write_text('#!/bin/sh\n/bin/sh "$@"\nexit $?\n')
    path.chmod(0o755)
    return path


def wait_until(seen: Callable[[], bool], process: subprocess.Popen[bytes], log: Path) -> None:
    """Wait for something that a process does, for so long as it lives and not for ever."""
    deadline = time.monotonic() + PATIENCE
    while not seen():
        assert process.poll() is None, log.read_text()[-2000:]
        assert time.monotonic() < deadline, log.read_text()[-2000:]
        time.sleep(0.01)


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Repository:
    """A fresh one."""
    return Repository(tmp_path / "repository", monkeypatch)


@pytest.mark.parametrize("end", ["killed", "ended"])
def test_a_killed_dvc_leaves_a_training_that_repro_waits_for_and_takes_up(repository: Repository, end: str) -> None:
    orphan = repository.kill_dvc("repro", "train", steps=2)
    try:
        with repository.running("repro", "train") as (repro, log):
            wait_until(lambda: f"waiting: {BUSY}" in log.read_text(), repro, log)
            orphan.kill() if end == "killed" else orphan.resume()
            assert repro.wait(PATIENCE) == 0, log.read_text()[-2000:]
    finally:
        with suppress(psutil.NoSuchProcess):
            orphan.kill()
    (step,) = resumed(log.read_text())
    assert step == LAST if end == "ended" else 1 <= step < LAST
    assert repository.results() == repository.undisturbed
    assert "Data and pipelines are up to date" in repository.dvc("status")


def test_an_experiment_in_a_temporary_copy_goes_on_where_another_copy_was_killed(repository: Repository) -> None:
    repository.kill_dvc("exp", "run", "--temp", "train", steps=2).kill()
    (step,) = resumed(repository.dvc("exp", "run", "--temp", "--name", "second", "train"))
    assert 1 <= step < LAST
    repository.dvc("exp", "apply", "second")
    assert repository.results() == repository.undisturbed
