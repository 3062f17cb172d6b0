"""run.ps1, as far as it can be known without PowerShell: it does what the Makefile does, and names what is there."""

import importlib.util
import re
from pathlib import Path

import typer

from stages.__main__ import app

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "run.ps1").read_text()
CASES = re.findall(r'^    "(\w+)" \{', TEXT, re.MULTILINE)


def test_every_command_is_named_where_commands_are_named() -> None:
    lists = re.findall(r'Write-Host "(?:error: no command .*; known: )?([a-z]+(?:, [a-z]+)+)[ .A-Z]*"', TEXT)
    assert len(lists) == 2
    for names in lists:
        assert set(re.findall(r"\w+", names)) | {"help"} == set(CASES)


def test_every_command_but_pod_is_a_target_of_the_Makefile() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(CASES) - {"pod"} <= targets


def test_the_modules_and_commands_that_it_starts_are_there() -> None:
    started = re.findall(r'"-m", "(\w+)"(?:, "(\w+)")?', TEXT)
    assert {module for module, _ in started} == {"venv", "pip", "stages", "dvc", "pytest", "pod"}
    assert all(importlib.util.find_spec(module) for module, _ in started)
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    assert {command for module, command in started if module == "stages"} <= set(commands)


def test_brackets_close() -> None:
    plain = re.sub(r'"[^"\n]*"', "", TEXT)
    assert all(plain.count(left) == plain.count(right) for left, right in ("{}", "()", "[]"))
