"""`pistachio batch` hands its words to the stage; bad input is one line and exit code 2, with nothing written."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from stages import batch as stage
from stages.__main__ import app
from stages.flows.production_prompts import Asked

ROOT = Path(__file__).parents[2]


def asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, *words: str) -> tuple[Asked, bool]:
    found: list[Any] = []
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(stage, "main", lambda *given: found.append(given))
    done = CliRunner().invoke(app, ["batch", *words])
    assert done.exit_code == 0, done.output
    return found[0]  # type: ignore[no-any-return]


def test_without_words_everything_is_as_the_settings_say(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert asked(monkeypatch, tmp_path) == (Asked((), ()), False)


def test_every_word_arrives(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    words = ["--prompts", "a.csv", "--prompts", "b.txt", "--prompt", "one", "--prompt", "two", "--lora", "v3", "--json"]
    words += ["--until", "5", "--max", "9", "--seed", "3", "--output-dir", "out"]
    wanted = Asked((Path("a.csv"), Path("b.txt")), ("one", "two"), "v3", None, 5, 9, 3, Path("out"))
    assert asked(monkeypatch, tmp_path, *words) == (wanted, True)
    assert asked(monkeypatch, tmp_path, "--count", "2") == (Asked(count=2), False)


@pytest.mark.parametrize("words", [["-m", "stages.batch"], ["-m", "stages", "batch", "--output-dir", "out"]])
def test_outside_a_workspace_it_is_one_line_and_nothing_is_made(tmp_path: Path, words: list[str]) -> None:
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, *words], cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert "params.yaml" in done.stderr
    assert not (tmp_path / "out").exists()
