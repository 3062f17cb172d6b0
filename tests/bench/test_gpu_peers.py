"""A peer's script is timed from inside, one that is not at hand is a row that says how to bring it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from bench import gpu_peers
from bench.gpu import measure
from bench.gpu_cases import Place, Training
from bench.gpu_model import draw_photos, sdxl, toy
from stages.contracts.settings import Machine

SCRIPT = """
import sys, time, torch
from accelerate import Accelerator
import beside
accelerator = Accelerator(cpu=True)
model = torch.nn.Linear(2, 1)
model, optimizer = accelerator.prepare(model, torch.optim.AdamW(model.parameters(), lr=0.1))
for number in range(1000):
    loss = (model(torch.ones(1, 2)) - float(sys.argv[1])).square().mean()
    accelerator.backward(loss)
    time.sleep(beside.SLEEP)
    optimizer.step()
    optimizer.zero_grad()
print("never said")
"""


def place_at(folder: Path, *, small: bool = True) -> Place:
    shape = toy() if small else sdxl()
    return Place(shape, Machine(device="cpu", threads=1), folder / "base", draw_photos(folder, 2, 64), 0.1, 0.0)


def test_a_script_is_timed_from_step_to_step_and_ended_when_that_is_done(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(SCRIPT, encoding="utf-8")
    (tmp_path / "beside.py").write_text("SLEEP = 0.05", encoding="utf-8")
    report = tmp_path / "report.json"
    command = [sys.executable, str(gpu_peers.TIMED), str(report), "2", "4", "0.1", str(tmp_path / "script.py"), "3.0"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    told = json.loads(report.read_text(encoding="utf-8"))
    assert len(told["taken_s"]) == 4
    assert all(0.05 <= seconds < 1 for seconds in told["taken_s"])
    assert len(told["losses"]) == 6
    assert told["losses"][-1] < told["losses"][0]


def test_a_peer_that_is_not_at_hand_is_a_row_that_says_how_to_bring_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("PISTACHIO_DIFFUSERS", "PISTACHIO_KOHYA"):
        monkeypatch.delenv(name, raising=False)
    for name, work in gpu_peers.list_peer_cases(place_at(tmp_path), 2, 2):
        row = measure(name, work, 60)
        assert "clone" in row["skipped"], row
    assert not (tmp_path / "peers-base").exists()  # 7 GB that nobody would read


def test_sd_scripts_are_not_asked_for_a_shape_that_they_do_not_know(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PISTACHIO_KOHYA", str(tmp_path))
    row = measure("kohya", lambda: gpu_peers.measure_peer(gpu_peers.KOHYA, Training(2, 2), place_at(tmp_path)), 60)
    assert "SDXL's" in row["skipped"]


def test_a_script_that_fails_is_a_row_with_its_last_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = tmp_path / gpu_peers.TEXT_TO_IMAGE
    script.parent.mkdir(parents=True)
    script.write_text("raise OSError('no kernel for this card')", encoding="utf-8")
    monkeypatch.setenv("PISTACHIO_DIFFUSERS", str(tmp_path))
    monkeypatch.setenv("PISTACHIO_DIFFUSERS_PYTHON", sys.executable)
    place = place_at(tmp_path)
    row = measure("diffusers", lambda: gpu_peers.measure_peer(gpu_peers.PLAIN, Training(2, 2), place), 60)
    assert "OSError: no kernel for this card" in row["failed"]


def test_the_base_that_peers_read_has_every_file_that_they_want(tmp_path: Path) -> None:
    base = gpu_peers.write_base(place_at(tmp_path))
    for name in ("tokenizer", "tokenizer_2"):
        assert len(json.loads((base / name / "vocab.json").read_text(encoding="utf-8"))) > 500
        assert (base / name / "merges.txt").read_text(encoding="utf-8").startswith("#version")
    depth = {name: json.loads((base / name / "config.json").read_text(encoding="utf-8"))["num_hidden_layers"]
             for name in ("text_encoder", "text_encoder_2")}  # fmt: skip
    assert depth == {"text_encoder": 12, "text_encoder_2": 32}
    assert gpu_peers.write_base(place_at(tmp_path)) == base


def test_the_aim_is_met_by_a_step_faster_than_the_fastest_of_a_peer_s_scripts() -> None:
    ours, wide = Training(4), Training(4, layers="transformer")
    rows = [
        {"case": ours.name, "step_s": 0.2}, {"case": wide.name, "step_s": 0.5},
        {"case": f"{gpu_peers.CACHED.name}, batch 4 rank 16", "step_s": 0.3, "ours": ours.name},
        {"case": f"{gpu_peers.PLAIN.name}, batch 4 rank 16", "step_s": 0.4, "ours": ours.name},
        {"case": f"{gpu_peers.KOHYA.name}, batch 4 rank 16", "step_s": 0.4, "ours": wide.name},
    ]  # fmt: skip
    assert gpu_peers.judge_peers(rows) == {
        "a step faster than diffusers": "met (1.50 times)",
        "a step faster than kohya": "missed (0.80 times)",
    }
    assert set(gpu_peers.judge_peers(rows[:1]).values()) == {"not measured"}
