"""The commands of the pod as a person types them, and as docs/pod.md does."""

import errno
import os
import re
import runpy
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from pod.__main__ import COMMANDS, OVERVIEW, build_parser, main
from pod.settings import DEFAULTS, VARIABLE

ROOT = Path(__file__).parents[2]
PAGE = "\n".join((ROOT / "docs" / name).read_text() for name in ("pod.md", "unattended.md"))
NAMED = sorted(set(re.findall(r"^\s*(?:python -m|pistachio) pod (.*?)(?:\s+#.*)?$", PAGE, re.MULTILINE)))


def test_the_pages_name_every_command() -> None:
    assert {line.split()[0] for line in NAMED} == set(COMMANDS)
    assert {name for name in COMMANDS if f"python -m pod {name} " in OVERVIEW} == set(COMMANDS)


@pytest.mark.parametrize("line", NAMED)
def test_a_command_of_the_pages_can_be_typed(line: str) -> None:
    name, *words = shlex.split(line)
    build_parser(name).parse_args(words)


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_help_teaches_by_examples(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main([name, "--help"])
    assert end.value.code == 0
    said = capsys.readouterr().out
    assert said.count(f"python -m pod {name}") >= 3
    assert "Exit codes: 0 fine, 1 something fails, 2 bad input." in said


def test_a_wrong_command_and_nothing_are_told_what_there_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["starup"]) == 2
    assert capsys.readouterr().err.startswith("error: starup: no such command; known: startup, doctor")
    assert main([]) == 2
    assert "python -m pod startup" in capsys.readouterr().out


def test_pistachio_pod_is_the_same_program(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    answers = [
        subprocess.run(
            [sys.executable, "-m", *words, "health", "--config", "none.toml"], cwd=tmp_path, env=environment,
            capture_output=True, text=True,
        )
        for words in (["pod"], ["stages", "pod"])
    ]  # fmt: skip
    assert [answer.returncode for answer in answers] == [2, 2]
    assert (
        answers[0].stderr
        == answers[1].stderr
        == ("error: none.toml: there is no such file; name the pod's settings with --config FILE\n")
    )


def test_settings_as_they_are_delivered_are_read_by_every_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    assert main(["startup", "--dry-run"]) == 0
    assert "health: The full health check." in capsys.readouterr().out
    assert "sha256" in DEFAULTS.read_text()


@pytest.mark.parametrize(
    "line",
    [
        "backup", "cost start --activity x", "cost run x -- true", "cycle", "watch --no-comfyui --pipeline --for 1",
        "startup",
    ],
)  # fmt: skip
def test_a_place_that_cannot_be_written_is_one_line(
    line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "params.yaml").write_text("train: {}\n")
    places = "".join(f'{key} = "params.yaml/x"\n' for key in ("logs", "state"))
    (tmp_path / "my.toml").write_text(f'[pod]\n{places}[cost]\nledger = "params.yaml/cost.jsonl"\n')
    monkeypatch.setenv(VARIABLE, "my.toml")
    monkeypatch.delenv("PISTACHIO_COST", raising=False)
    assert main(shlex.split(line)) == 2
    said = capsys.readouterr().err
    assert re.fullmatch(r"error: params.yaml\S*: (Not a directory|File exists); a file is where .*\n", said), said


def test_an_error_that_nobody_can_mend_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> int:
        raise OSError(errno.EBADF, "ours")

    monkeypatch.setattr("pod.__main__._run", fail)
    with pytest.raises(OSError, match="ours"):
        main(["health"])


def test_an_older_python_is_told_which_one_to_take(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "version_info", (3, 10, 13))
    with pytest.raises(SystemExit) as end:
        runpy.run_path(str(ROOT / "pod/__init__.py"))
    assert end.value.code == 2
    assert capsys.readouterr().err.endswith("; say python3.11 -m pod\n")


def test_a_workspace_that_is_not_there_is_one_line_of_the_doctor(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--workspace", "nowhere"]) == 2
    assert capsys.readouterr().err == "error: nowhere: there is no such folder; name the workspace\n"
