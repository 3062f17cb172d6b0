"""`pistachio pod` hands every word on to `python -m pod`."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def pod(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    env = os.environ | {"PYTHONPATH": str(ROOT), "PISTACHIO_COST": str(folder / "cost.jsonl")}
    command = [sys.executable, "-m", "stages", "pod", *words]
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False)


def test_what_stands_behind_two_hyphens_is_the_user_s_own_command(tmp_path: Path) -> None:
    done = pod(tmp_path, "cost", "run", "x", "--", sys.executable, "-c", "print('ran')", "--json")
    assert (done.stdout, done.returncode) == ("ran\n", 0)


def test_without_words_it_says_what_there_is(tmp_path: Path) -> None:
    assert "python -m pod backup" in pod(tmp_path).stdout
    assert pod(tmp_path, "no-such-command").returncode == 2
