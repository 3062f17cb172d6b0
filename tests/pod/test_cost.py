"""`python -m pod cost`: by hand, around commands, around stages, and the report."""

import json
import os
import signal
import subprocess
import sys
import time
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from pod.__main__ import main
from pod.ledger import append, begin, finish, read_ledger, say_time
from pod.meter import find_rate

ROOT = Path(__file__).parents[2]
RATES = '[cost]\ngpu = "NVIDIA GeForce RTX 4090"\n[cost.rates]\n"RTX 4090" = 0.60\n"4090" = 9.0\n'


@pytest.fixture(autouse=True)
def pod(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with settings of its own."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my.toml").write_text(RATES)
    monkeypatch.setenv("PISTACHIO_POD", str(tmp_path / "my.toml"))
    monkeypatch.delenv("PISTACHIO_COST", raising=False)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    return tmp_path


LEDGER = Path("logs/cost.jsonl")


def rows(capsys: pytest.CaptureFixture[str], *words: str) -> list[dict[str, Any]]:
    capsys.readouterr()
    assert main(["cost", "--json", *words]) == 0
    return json.loads(capsys.readouterr().out)["rows"]


def paid(activity: str, seconds: int, start: int, note: str = "") -> None:
    found = begin(activity, "RTX 4090", Decimal("0.60"), start)
    append(LEDGER, finish(found, start + seconds, note))


def test_a_session_by_hand_is_begun_warned_of_and_ended(capsys: pytest.CaptureFixture[str]) -> None:
    (begun,) = rows(capsys, "start", "--activity", "labelling")
    assert (begun["numbers"]["gpu"], begun["numbers"]["rate_per_hr"]) == ("RTX 4090", "0.6")
    assert [row["what"] for row in rows(capsys) if row["status"] == "WARN"] == ["labelling"]
    warned = rows(capsys, "start", "--activity", "other")
    assert [(row["status"], row["what"]) for row in warned] == [("WARN", "labelling"), ("RAN", "other")]
    (ended,) = rows(capsys, "stop")
    assert ended["what"] == "other"
    (ended,) = rows(capsys, "stop")
    assert ended["what"] == "labelling"
    (nothing,) = rows(capsys, "stop")
    assert nothing["status"] == "SKIPPED"


def test_the_report_gives_totals_per_lora_and_per_accepted_image(capsys: pytest.CaptureFixture[str]) -> None:
    now = int(time.time()) - 100_000
    paid("train", 3600, now)
    paid("train", 1800, now + 4000, note="ended by KeyboardInterrupt")  # made no LoRA
    paid("train", 3600, now + 8000)
    paid("eval", 600, now + 12_000)
    Path("metrics").mkdir()
    Path("metrics/scorecard.json").write_text('{"images_evaluated": 48, "face_similarity_pass": 0.25}')
    found = {row["what"]: row["numbers"] for row in rows(capsys)}
    assert found["train"]["usd"] == "1.50"
    assert found["eval"]["usd"] == "0.10"
    assert found["total"]["usd"] == "1.60"
    assert found["per LoRA"]["usd"] == "0.80"
    assert found["per accepted image"] == {"usd": "0.01", "accepted": 12}  # .10 / 12 = .0083
    Path("batch.json").write_text('{"accepted": 4}')
    paid("batch", 1200, now + 20_000)
    found = {row["what"]: row["numbers"] for row in rows(capsys, "--batch-report", "batch.json")}
    assert found["per accepted image"] == {"usd": "0.05", "accepted": 4}


def test_an_earlier_batch_is_not_paid_again_by_a_later_one(capsys: pytest.CaptureFixture[str]) -> None:
    now = int(time.time()) - 100_000
    paid("batch", 3600, now)
    paid("batch", 1200, now + 20_000)
    begun = say_time(now + 20_010)  # a session begins a little before its batch
    Path("batch.json").write_text(json.dumps({"accepted": 4, "begun": begun}))
    found = {row["what"]: row["numbers"] for row in rows(capsys, "--batch-report", "batch.json")}
    assert found["batch"]["usd"] == "0.80"
    assert found["per accepted image"] == {"usd": "0.05", "accepted": 4}


def test_a_command_runs_on_the_meter_and_gives_its_exit_code() -> None:
    assert main(["cost", "run", "work", "--", sys.executable, "-c", "raise SystemExit(7)"]) == 7
    (session,) = read_ledger(LEDGER)
    assert (session.activity, session.end is not None, session.note) == ("work", True, "")
    assert list(Path("logs/cost.beats").iterdir()) == []


def test_a_killed_meter_leaves_an_open_session_that_the_next_one_closes(capsys: pytest.CaptureFixture[str]) -> None:
    code = "import sys; from pod.__main__ import main; sys.exit(main(['cost', 'run', 'work', '--', 'sleep', '30']))"
    process = subprocess.Popen([sys.executable, "-c", code], start_new_session=True)
    for _ in range(200):
        if LEDGER.exists():
            break
        time.sleep(0.05)
    time.sleep(0.2)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert read_ledger(LEDGER)[0].end is None
    append(LEDGER, begin("earlier", "RTX 4090", Decimal("0.60"), time.time() - 3600, process.pid))
    before = LEDGER.read_bytes()
    assert {row["what"]: row["numbers"] for row in rows(capsys)}["earlier"]["seconds"] == 0  # not until now
    assert LEDGER.read_bytes() == before
    found = rows(capsys, "start", "--activity", "next")
    assert [row["status"] for row in found] == ["WARN", "WARN", "RAN"]
    assert [session.end is not None for session in read_ledger(LEDGER)] == [True, True, False]


def run_stage(body: str, **env: str) -> int:
    code = f"import sys\nsys.argv = ['stages/train.py']\nfrom stages.runtime.entry import run_stage\n{body}\n"
    command = [sys.executable, "-c", code + "run_stage(main)"]
    return subprocess.run(command, env=os.environ | env, check=False, capture_output=True).returncode


def test_a_stage_meters_itself_where_a_ledger_is_kept(pod: Path) -> None:
    assert run_stage("def main(): pass") == 0
    assert not LEDGER.exists()
    LEDGER.touch()
    assert run_stage("def main(): pass") == 0
    assert run_stage("def main(): raise SystemExit(3)", PISTACHIO_COST=str(pod / "other.jsonl")) == 3
    (own,) = read_ledger(LEDGER)
    assert (own.activity, own.end is not None, own.note) == ("train", True, "")
    (failed,) = read_ledger(pod / "other.jsonl")
    assert (failed.activity, failed.note) == ("train", "ended by SystemExit")


def test_a_meter_that_cannot_write_does_not_stop_a_stage(pod: Path) -> None:
    assert run_stage("def main(): print('worked')", PISTACHIO_COST="/proc/nowhere/cost.jsonl") == 0


def test_a_gpu_without_a_rate_is_warned_of(capsys: pytest.CaptureFixture[str]) -> None:
    Path("my.toml").write_text('[cost]\ngpu = "RTX 9999"\n')
    assert [row["status"] for row in rows(capsys, "start", "--activity", "x")] == ["RAN", "WARN"]


def test_the_longest_name_that_fits_gives_the_rate() -> None:
    assert find_rate("NVIDIA GeForce RTX 4090", {"4090": 9.0, "RTX 4090": 0.1}) == ("RTX 4090", Decimal("0.1"))
    assert find_rate("", {"": 1.0}) == ("none", None)


@pytest.mark.parametrize(
    "words", [["start"], ["run", "only"], ["run", "x", "--", "no-such-program"], ["--batch-report", "none.json"],
              ["--idle-stop", "5"]]
)  # fmt: skip
def test_bad_input_is_one_line_and_exit_code_2(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    paid("train", 10, 1_790_000_000)
    assert main(["cost", *words]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
