"""The unattended cycle on a small workspace: it stops by name, goes on from there, and keeps its bounds."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from pod.__main__ import main
from pod.cycle_steps import STEPS, CycleSettings
from pod.ledger import read_ledger
from pod.settings import read_settings

ROOT = Path(__file__).parents[2]
COMMANDS = [step.name for step in STEPS if not step.own]
ORDER = [step.name for step in STEPS]
STEP = """
import sys, time
from pathlib import Path
name = sys.argv[1]
with open("ran.txt", "a") as ran:
    ran.write(name + "\\n")
if Path(f"sleep-{name}").exists():
    time.sleep(60)
if name == "repro":
    Path("dvc.lock").write_text(Path("params.yaml").read_text())
if Path(f"fail-{name}").exists():
    print("what went wrong:\\n", name, "has no disk")
    sys.exit(3)
"""


def settings(**cycle: Any) -> str:
    commands = {name: [sys.executable, "step.py", name] for name in COMMANDS} | cycle.pop("commands", {})
    lines = ['[pod]\ncomfyui_url = "http://127.0.0.1:9"', '[cost]\ngpu = "RTX 4090"', "[cycle]"]
    lines += [f"{key} = {json.dumps(value)}" for key, value in cycle.items()]
    lines += ["[cycle.commands]", *(f"{name} = {json.dumps(words)}" for name, words in commands.items())]
    return "\n".join(lines) + "\n"


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A git repository with steps that only say that they ran."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PISTACHIO_POD", str(tmp_path / "my.toml"))
    monkeypatch.delenv("PISTACHIO_COST", raising=False)
    for role in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{role}_NAME", "a")
        monkeypatch.setenv(f"GIT_{role}_EMAIL", "a@b")
    (tmp_path / "step.py").write_text(STEP)
    (tmp_path / "params.yaml").write_text("train: {rank: 8}\n")
    (tmp_path / "my.toml").write_text(settings())
    (tmp_path / "metrics").mkdir()
    (tmp_path / "metrics/scorecard.json").write_text('{"lora_version": "v4", "run_id": "abc"}')
    write_comparison()
    (tmp_path / ".gitignore").write_text("logs/\nran.txt\n")
    subprocess.run(["git", "init", "--quiet"], check=True)
    return tmp_path


def write_comparison(**verdicts: str) -> None:
    metrics = [{"metric": name, "guarded": True, "verdict": verdict} for name, verdict in verdicts.items()]
    told = {"metrics": metrics, "recommendation": {"action": "adopt", "reason": "better"}}
    Path("metrics/comparison.json").write_text(json.dumps(told))


def cycle(capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> dict[str, dict[str, Any]]:
    capsys.readouterr()
    assert main(["cycle", "--json", *words]) == code
    return {row["what"]: row for row in json.loads(capsys.readouterr().out)["rows"]}


def ran() -> list[str]:
    """The commands that ran since the last call."""
    path = Path("ran.txt")
    found = path.read_text().split() if path.exists() else []
    path.unlink(missing_ok=True)
    return found


def test_every_step_is_done_in_its_order_on_the_meter(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    subprocess.run(["git", "add", "step.py"], check=True)  # a commit of the owner's own, begun
    found = cycle(capsys)
    assert ran() == [name for name in COMMANDS if name != "batch"]
    assert found["batch"]["detail"] == "only with --run-production"
    assert found["compare"]["detail"] == "adopt: better"
    assert "Record a cycle: v4, run abc" in found["commit"]["detail"]
    activities = [session.activity for session in read_ledger(Path("logs/cost.jsonl"))]
    assert activities == [f"cycle:{name}" for name in ORDER if name != "batch"]
    shown = subprocess.run(["git", "show", "--stat", "--format=%s"], capture_output=True, text=True, check=True).stdout
    assert "metrics/scorecard.json" in shown
    assert "step.py" not in shown


def test_steps_find_the_programs_of_the_workspaces_environment(
    workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = workspace / ".venv/bin"
    own.mkdir(parents=True)
    (own / "python").symlink_to(sys.executable)
    (own / "dvc").write_text("#!/bin/sh\necho own dvc >> ran.txt\n")
    (own / "dvc").chmod(0o755)
    (workspace / "my.toml").write_text(settings(commands={"repro": ["/bin/sh", "-c", "dvc repro"]}))
    cycle(capsys)
    assert "own dvc" in Path("ran.txt").read_text()
    assert main(["cost", "run", "repro", "--", "dvc", "repro"]) == 0
    assert Path("ran.txt").read_text().splitlines()[-1] == "own dvc"


def test_steps_read_the_settings_that_the_cycle_was_given_and_find_python_without_an_environment(
    workspace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("PISTACHIO_POD")
    shell = ["/bin/sh", "-c", 'echo "$PISTACHIO_POD" >> ran.txt; python -c "import sys; print(sys.prefix)" >> ran.txt']
    (workspace / "my.toml").write_text(settings(commands={"repro": shell}))
    cycle(capsys, "--config", "my.toml")
    said = Path("ran.txt").read_text().splitlines()
    assert str(workspace / "my.toml") in said
    assert sys.prefix in said


def test_a_second_cycle_begins_anew_and_commits_nothing_new(
    workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cycle(capsys)
    ran()
    found = cycle(capsys)
    assert len(ran()) == 5
    assert found["commit"]["detail"] == "nothing has changed"


@pytest.mark.parametrize("name", COMMANDS)
def test_a_step_that_fails_stops_the_cycle_by_name_and_the_next_goes_on_there(
    workspace: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    Path(f"fail-{name}").touch()
    found = cycle(capsys, "--run-production", code=1)
    assert [row["what"] for row in found.values() if row["status"] == "FAIL"] == [name]
    assert found[name]["detail"] == f"exit code 3: {name} has no disk"
    assert list(found)[-1] == name
    before = ran()
    assert before == COMMANDS[: COMMANDS.index(name) + 1]
    Path(f"fail-{name}").unlink()
    found = cycle(capsys, "--run-production")
    again = COMMANDS[COMMANDS.index(name) :]
    assert ran() == (again if name in ("guardrails", "doctor", "health") else ["health", *again])
    assert found["cycle"]["status"] == "PASS"


def test_a_step_is_done_again_when_what_it_reads_or_made_has_changed(
    workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("fail-backup").touch()
    cycle(capsys, code=1)
    ran()
    Path("params.yaml").write_text("train: {rank: 16}\n")
    cycle(capsys, code=1)
    assert ran() == ["guardrails", "health", "repro", "backup"]
    Path("dvc.lock").unlink()
    cycle(capsys, "--max-failures", "9", code=1)
    assert ran() == ["health", "repro", "backup"]
    cycle(capsys, "--max-failures", "9", "--fresh", code=1)
    assert ran() == ["guardrails", "doctor", "health", "repro", "backup"]


def test_a_regression_of_a_guarded_metric_stops_before_production(
    workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_comparison(similarity="IMPROVED", face_found="REGRESSED")
    found = cycle(capsys, "--run-production", code=1)
    assert "worse than the baseline: face_found" in found["compare"]["detail"]
    assert "batch" not in ran()
    Path("my.toml").write_text(settings(stop_on_regression=False))
    assert cycle(capsys, "--run-production")["compare"]["status"] == "PASS"
    Path("metrics/comparison.json").unlink()
    assert cycle(capsys, code=1)["compare"]["status"] == "FAIL"


def test_it_refuses_to_go_on_after_so_many_failures(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("fail-doctor").touch()
    for _ in range(2):
        cycle(capsys, "--max-failures", "2", code=1)
    ran()
    found = cycle(capsys, "--max-failures", "2", code=1)
    assert list(found) == ["cycle"]
    assert "doctor: exit code 3" in found["cycle"]["detail"]
    assert ran() == []
    Path("fail-doctor").unlink()
    assert cycle(capsys, "--fresh")["cycle"]["status"] == "PASS"


def test_a_step_is_ended_when_hours_or_dollars_are_over(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("sleep-repro").touch()
    began = time.monotonic()
    found = cycle(capsys, "--max-hours", "0.0007", code=1)  # 2.5 s
    assert "--max-hours 0.0007 is over" in found["repro"]["detail"]
    assert time.monotonic() - began < 15
    found = cycle(capsys, "--max-usd", "0.0005", "--fresh", code=1)  # 3 s at 0.60 $/h
    assert "--max-usd 0.0005 is spent" in found["repro"]["detail"]
    found = cycle(capsys, "--max-usd", "0.0005", code=1)
    assert "--max-usd 0.0005 is spent" in found["health"]["detail"]
    assert json.loads(Path("logs/cycle/run.json").read_text())["failures"] == 0


def test_a_killed_cycle_is_taken_up_and_counted(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("sleep-repro").touch()
    process = subprocess.Popen(
        [sys.executable, "-m", "pod", "cycle"], env=os.environ | {"PYTHONPATH": str(ROOT)}, stdout=subprocess.DEVNULL
    )
    memory = Path("logs/cycle/run.json")
    for _ in range(400):
        if memory.exists() and (told := json.loads(memory.read_text()))["running"] == "repro" and told["child"]:
            break
        time.sleep(0.05)
    process.kill()
    process.wait()
    assert main(["cycle"]) == 2
    assert "still at work" in capsys.readouterr().err
    os.killpg(told["child"], signal.SIGKILL)
    time.sleep(0.3)
    Path("sleep-repro").unlink()
    ran()
    found = cycle(capsys, "--max-failures", "1", code=1)
    assert "repro (the cycle was killed in it)" in found["cycle"]["detail"]
    assert found["cycle:repro"]["status"] == "WARN"  # its session was closed at the last beat
    found = cycle(capsys)
    assert found["repro"]["status"] == "PASS"
    assert found["guardrails"]["status"] == "SKIPPED"
    assert all(session.end for session in read_ledger(Path("logs/cost.jsonl")))


def test_a_dry_run_says_what_would_run_and_writes_nothing(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = sorted(workspace.rglob("*"))
    found = cycle(capsys, "--dry-run")
    assert found["repro"]["detail"].startswith("would run: ")
    assert found["commit"]["detail"] == "would run: the cycle itself"
    assert found["bounds"]["detail"] == "0.00 of 12 h, 0.00 of any $, 0 of 3 failures"
    assert sorted(workspace.rglob("*")) == before
    Path("fail-repro").touch()
    cycle(capsys, code=1)
    assert cycle(capsys, "--dry-run")["doctor"]["detail"] == "done, and its inputs are the same"


def test_a_step_without_a_command_is_left_out(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("my.toml").write_text(settings(commands={"health": []}))
    assert cycle(capsys)["health"]["status"] == "SKIPPED"
    assert "health" not in ran()


def test_production_is_a_batch_of_the_settings_own_prompts() -> None:
    commands = read_settings("cycle", CycleSettings, ROOT / "pod/pod.toml").commands
    assert commands["batch"] == ("{python}", "-m", "stages", "batch")


def test_bad_input_is_one_line(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("my.toml").write_text(settings(commands={"batch": []}))
    assert main(["cycle", "--run-production"]) == 2
    Path("my.toml").write_text(settings(commands={"bakcup": ["x"]}))
    assert main(["cycle"]) == 2
    Path("my.toml").write_text(settings(commands={"repro": ["no-such-program"]}).replace("RTX 4090", "RTX 1"))
    assert main(["cycle", "--max-usd", "1"]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 3
    assert "no-such-program cannot be started" in cycle(capsys, code=1)["repro"]["detail"]


def test_two_cycles_at_once_are_refused(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from pod.files import locked

    with locked(Path("logs/pod/cycle.lock"), "a cycle"):
        assert main(["cycle"]) == 2
    assert "another process is at a cycle" in capsys.readouterr().err
