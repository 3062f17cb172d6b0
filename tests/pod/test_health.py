"""Health on the ComfyUI double: each thing that can be wrong is named."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from comfyui.server import Double, open_double

from pod import health, machine
from pod.health import Health, examine, find_lora
from pod.machine import Card
from pod.settings import Places
from pod.startup_settings import Model, Startup
from pod.table import FAIL, PASS, SKIPPED

EASY = Health(nodes=("KSampler", "ApplyInstantID"), disk_gb=0.01, ram_gib=0.01)


@pytest.fixture
def double(tmp_path: Path) -> Iterator[Double]:
    with open_double(tmp_path / "ComfyUI") as server:
        yield server


def places(tmp_path: Path, url: str) -> Places:
    python = Path("python")
    return Places(tmp_path, Path("ComfyUI"), url, python, python, Path("logs/pod"), Path("logs"))


def statuses(found: Places, settings: Health = EASY, startup: Startup = Startup()) -> dict[str, tuple[str, str]]:  # noqa: B008
    return {row.what: (row.status, row.detail) for row in examine(found, settings, startup)}


def test_a_healthy_pod_passes(tmp_path: Path, double: Double) -> None:
    rows = statuses(places(tmp_path, double.url))
    assert {what for what, (status, _) in rows.items() if status == FAIL} == set()
    assert rows["API"] == (PASS, "ComfyUI 0.3.64, 0 running, 0 waiting")
    assert rows["LoRA"] == (SKIPPED, "none is trained yet")


def test_a_missing_node_class_and_a_rotten_model_are_named(tmp_path: Path, double: Double) -> None:
    (tmp_path / "ComfyUI/models/vae/a.bin").write_bytes(b"abc")
    wanted = (Model("vae/a.bin", "", hashlib.sha256(b"abd").hexdigest(), 3), Model("vae/b.bin", ""))
    settings = Health(nodes=("KSampler", "NoSuchNode"), disk_gb=1e6, ram_gib=1e6)
    rows = statuses(places(tmp_path, double.url), settings, Startup(models=wanted))
    assert rows["nodes"] == (FAIL, "not there: NoSuchNode")
    assert rows["model files"] == (FAIL, "vae/a.bin has another sha256; vae/b.bin is not there")
    assert rows["memory"][0] == rows[f"disk of {tmp_path}"][0] == FAIL


def test_the_lora_is_the_one_that_params_yaml_names(tmp_path: Path, double: Double) -> None:
    found = places(tmp_path, double.url)
    (tmp_path / "params.yaml").write_text(
        "caption:\n  version: no\ntrain:\n  base: x\n  optimizer:\n    a: 1\n  version: v7\n"
    )
    assert find_lora(found) is None
    lora = tmp_path / "models/lora/v7.safetensors"
    lora.parent.mkdir(parents=True)
    lora.write_bytes(b"weights")
    name = f"v7-{hashlib.sha256(b'weights').hexdigest()[:12]}.safetensors"
    assert statuses(found)["LoRA"] == (FAIL, f"ComfyUI has no {name}")
    (double.loras / name).write_bytes(b"weights")
    assert statuses(found)["LoRA"][0] == PASS


def test_a_hot_or_full_card_fails(tmp_path: Path, double: Double, monkeypatch: pytest.MonkeyPatch) -> None:
    cards = [Card("RTX 4090", 24.0, 20.0, 60, "570"), Card("RTX 4090", 24.0, 20.0, 95, "570")]
    monkeypatch.setattr(machine, "read_cards", lambda: cards)
    rows = [row for row in health.examine(places(tmp_path, double.url), EASY, Startup()) if row.what == "graphics card"]
    assert [row.status for row in rows] == [PASS, FAIL]
    assert rows[1].detail == "RTX 4090: 20.0 of 24.0 GiB free, at least 1; 95 C, at most 87"


def test_what_nvidia_smi_says_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = tmp_path / "nvidia-smi"
    fake.write_text("#!/bin/sh\necho 'NVIDIA GeForce RTX 4090, 24564, 20480, 41, 570.86.10'\n")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert machine.read_cards() == [Card("NVIDIA GeForce RTX 4090", 24564 / 1024, 20.0, 41, "570.86.10")]


def test_a_server_that_is_down_is_one_failure_and_the_rest_is_looked_at(tmp_path: Path) -> None:
    (tmp_path / "ComfyUI/user").mkdir(parents=True)
    rows = statuses(places(tmp_path, "http://127.0.0.1:9"))
    assert rows["API"][0] == FAIL
    assert rows["database"] == (PASS, "can be written")
