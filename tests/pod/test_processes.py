"""A program that is not there is named before anything waits for it, and nothing is put where it would come to lie."""

from pathlib import Path

import pytest

from pod.__main__ import main
from pod.settings import VARIABLE


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A workspace on a machine where nothing is installed yet; the settings are my.toml's."""
    workspace = tmp_path / "work"
    (workspace / "models/lora").mkdir(parents=True)
    (workspace / "params.yaml").write_text("train:\n  version: v3\n")
    (workspace / "models/lora/v3.safetensors").write_bytes(b"a trained LoRA")
    monkeypatch.chdir(workspace)
    monkeypatch.setenv(VARIABLE, str(workspace / "my.toml"))
    (workspace / "my.toml").write_text('[pod]\ncomfyui_url = "http://127.0.0.1:9"\n')
    return workspace


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--no-comfyui", "--pipeline", "--", "no-such-program"], "no-such-program: is not there, or no program"),
        (["--no-comfyui", "--pipeline", "--", ".venv/bin/dvc", "repro"], ".venv/bin/dvc: is not there"),
        ([], "ComfyUI: there is no ComfyUI; python -m pod startup"),
    ],
    ids=["no program", "no file", "no ComfyUI"],
)
def test_the_watch_of_what_cannot_be_started_ends_at_once(
    machine: Path, capsys: pytest.CaptureFixture[str], words: list[str], said: str
) -> None:
    assert main(["watch", *words]) == 2
    assert said in capsys.readouterr().err
    assert not (machine / "logs/crashes").exists()


def test_the_watch_of_an_empty_pipeline_is_one_line(machine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (machine / "my.toml").write_text("[watch]\npipeline = []\n")
    assert main(["watch", "--no-comfyui", "--pipeline"]) == 2
    assert "watch.pipeline: is empty" in capsys.readouterr().err


@pytest.mark.parametrize("step", ["nodes", "models", "lora", "database", "server"])
def test_a_step_of_startup_before_ComfyUI_puts_nothing_where_it_will_be_cloned(
    machine: Path, capsys: pytest.CaptureFixture[str], step: str
) -> None:
    assert main(["startup", "--only", step]) == 1
    said = capsys.readouterr().out
    assert f"FAIL    {step}: " in said
    assert "there is no ComfyUI\n        -> python -m pod startup --only comfyui" in said
    assert not (machine.parent / "ComfyUI").exists()


def test_a_ComfyUI_whose_python_is_not_there_is_named_at_once(
    machine: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (machine.parent / "ComfyUI").mkdir()
    assert main(["startup", "--only", "server"]) == 1
    assert ".venv-comfyui/bin/python: is not there, or no program" in capsys.readouterr().out
