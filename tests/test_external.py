"""A LoRA from elsewhere, from train to promote: taken over as it is, and what is not known of it is said everywhere."""

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from kohya_standin import lora_modules
from safetensors.numpy import save_file
from typer.testing import CliRunner
from workspaces import PARAMS, TRAIN, make_workspace

from stages import compare, sweep, train
from stages import eval as evaluation
from stages.__main__ import app
from stages.contracts.lora import UNKNOWN, find_checkpoints
from stages.contracts.paths import COMPARISON_REPORT, LORA, LOSS, REPORT, REPORT_PAGE, TRAIN_SAMPLES
from stages.contracts.scorecard import read_choice, read_scorecard
from stages.runtime.errors import UserError

FLATTERS = "the holdout photos may be among its training photos, so likeness may flatter"


def kohya_tensors(base: Path) -> dict[str, np.ndarray]:
    """A LoRA in kohya's form, with another rank and alpha than any recipe of ours has."""
    draw, tensors = np.random.default_rng(5), {}
    for name, (inside, outside) in lora_modules(base).items():
        tensors[f"{name}.lora_down.weight"] = draw.normal(0, 0.02, (3, inside)).astype(np.float16)
        tensors[f"{name}.lora_up.weight"] = draw.normal(0, 0.02, (outside, 3)).astype(np.float16)
        tensors[f"{name}.alpha"] = np.array(1.5, np.float16)
    return tensors


def write_params(**train_changes: Any) -> None:
    recipe = TRAIN | {"backend": "external", "version": "found", "file": "elsewhere.safetensors"} | train_changes
    sections = PARAMS | {"train": recipe, "compare": {}, "promotion": {}}
    Path("params.yaml").write_text(yaml.safe_dump(sections, sort_keys=False))


@pytest.fixture
def found(judges: None, tmp_path: Path, tiny_base: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A workspace with a LoRA file that nobody here trained and whose header says nothing; entered."""
    monkeypatch.chdir(tmp_path)
    make_workspace(tmp_path)
    shutil.rmtree("base")
    shutil.copytree(tiny_base, "base")
    save_file(kohya_tensors(Path("base")), "elsewhere.safetensors")
    write_params()
    return tmp_path


def test_a_file_where_the_training_s_files_go_is_refused_and_still_there(found: Path) -> None:
    LORA.mkdir(parents=True, exist_ok=True)
    place = Path("elsewhere.safetensors").rename(LORA / "elsewhere.safetensors")
    write_params(file=str(place))
    with pytest.raises(UserError, match="which is emptied first; move it elsewhere"):
        train.main()
    assert place.is_file()


def test_the_file_is_taken_over_byte_for_byte_and_leaves_a_loss_table_without_rows(found: Path) -> None:
    train.main()
    assert (LORA / "persona.safetensors").read_bytes() == Path("elsewhere.safetensors").read_bytes()
    assert sorted(path.name for path in LORA.iterdir()) == ["persona.safetensors", "samples"], "nothing of another LoRA"
    assert find_checkpoints("persona") == {0: LORA / "persona.safetensors"}
    assert LOSS.read_text().splitlines() == ["step,loss,prior_loss,holdout_loss,learning_rate,d"]
    assert TRAIN_SAMPLES.is_file()


def test_the_steps_of_a_header_that_has_them_are_kept(found: Path) -> None:
    save_file(kohya_tensors(Path("base")), "elsewhere.safetensors", {"ss_steps": "1200"})
    train.main()
    assert list(find_checkpoints("persona")) == [1200]


def test_what_is_not_known_is_said_from_the_scorecard_to_the_history(found: Path) -> None:
    for stage in (train, sweep, evaluation, compare):
        stage.main()
    assert {cell.checkpoint for cell in (read_choice().best, read_choice().worst)} == {0}
    card = read_scorecard()
    assert card.lora_dataset == UNKNOWN
    assert any("What this LoRA was trained on is unknown" in line and FLATTERS in line for line in card.warnings)
    report = REPORT.read_text()
    assert FLATTERS in report
    assert "memorising is judged only against the photos at hand" in report
    assert "the LoRA was trained on: unknown" in report
    assert "| best | base | lora | unknown |" in report
    page = REPORT_PAGE.read_text()
    assert FLATTERS in page
    assert "the LoRA was trained on" in page
    assert "What persona was trained on: unknown." in COMPARISON_REPORT.read_text()
    runner = CliRunner()
    assert "what it was trained on: unknown" in runner.invoke(app, ["where"]).output
    told = runner.invoke(app, ["promote", "found", "--force", "--why", "to look at it", "--no-tag"])
    assert "what it was trained on: unknown" in told.output, told.output
    row = json.loads(Path("metrics/history.jsonl").read_text())
    assert row["lora_dataset"] == UNKNOWN
    assert "unknown" in runner.invoke(app, ["history"]).output


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"lora_unet_nowhere.lora_down.weight": np.zeros((3, 4), np.float16)}, "lora_unet_nowhere"),
        ({"unet.down_blocks.0.lora_A.weight": np.zeros((3, 4), np.float16)}, "unet.down_blocks.0.lora_A.weight"),
    ],
)
def test_keys_that_could_not_be_applied_are_named_and_nothing_is_removed(
    found: Path, change: dict[str, np.ndarray], said: str
) -> None:
    before = sorted(LORA.iterdir())
    save_file(kohya_tensors(Path("base")) | change, "elsewhere.safetensors")
    with pytest.raises(UserError, match=said):
        train.main()
    assert sorted(LORA.iterdir()) == before


def test_another_file_than_the_pinned_one_is_refused(found: Path) -> None:
    write_params(file_sha256=hashlib.sha256(Path("elsewhere.safetensors").read_bytes()).hexdigest())
    train.main()
    write_params(file_sha256="0" * 64)
    with pytest.raises(UserError, match="not the file of train.file_sha256"):
        train.main()


def test_a_file_that_is_not_there_is_said(found: Path) -> None:
    write_params(file="nowhere.safetensors")
    with pytest.raises(UserError, match="nowhere.safetensors is not there"):
        train.main()


@pytest.mark.parametrize(
    ("train_changes", "said"), [({"file": None}, "name it"), ({"backend": "diffusers"}, "set backend to external")]
)
def test_a_file_and_its_backend_go_together(found: Path, train_changes: dict[str, Any], said: str) -> None:
    write_params(**train_changes)
    with pytest.raises(UserError, match=said):
        train.main()
