"""Whose LoRA draws: the sweep's choice, a promoted version found by its hash, or a file."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from producing import choose
from workspaces import LORA_KEY

from stages.contracts.lora import UNKNOWN, VERSION_KEY, write_lora
from stages.flows.production_recipe import choose_recipe
from stages.runtime.errors import UserError
from stages.runtime.provenance import hash_file, hash_path

LORA = Path("models/lora/persona.safetensors")


@pytest.fixture(autouse=True)
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A base, a LoRA and the sweep's choice, in the working directory."""
    monkeypatch.chdir(tmp_path)
    Path("base").mkdir()
    Path("base/model_index.json").write_text("{}")
    save(LORA)
    choose(strength=0.8)


def save(path: Path, value: float = 1.0, **header: str) -> None:
    write_lora(path, {LORA_KEY: np.full((1, 4), value, np.float32)}, {"ss_steps": "200", **header})


def promote(write_run: Callable[..., Any], sha256: str | None = None) -> None:
    folder = Path("metrics/versions/v7")
    write_run(folder, "v7")
    card = json.loads((folder / "scorecard.json").read_text())
    card["lora_sha256"] = sha256 or hash_file(LORA)
    card["best_config"] |= {"base": "base", "lora": LORA.as_posix(), "guidance": 4.5}
    (folder / "scorecard.json").write_text(json.dumps(card))


def test_without_a_name_the_sweep_s_winner_draws() -> None:
    recipe = choose_recipe()
    assert (recipe.version, recipe.cell.strength, recipe.cell.lora) == ("persona", 0.8, LORA.as_posix())
    assert recipe.lora_sha256 == hash_file(LORA)
    assert recipe.base_sha256 == hash_path(Path("base"))
    assert (recipe.reference_sha256, recipe.manifest_sha256) == ("", UNKNOWN)


def test_a_file_draws_with_the_sweep_s_settings_and_is_called_as_it_says() -> None:
    save(Path("other.safetensors"), 2.0, **{VERSION_KEY: "v9"})
    recipe = choose_recipe("other.safetensors")
    assert (recipe.version, recipe.cell.strength, recipe.cell.checkpoint) == ("v9", 0.8, 200)
    assert recipe.cell.lora == "other.safetensors"


def test_a_version_draws_with_its_own_winning_configuration(write_run: Callable[..., Any]) -> None:
    promote(write_run)
    recipe = choose_recipe("v7")
    assert (recipe.version, recipe.cell.guidance, recipe.lora_sha256) == ("v7", 4.5, hash_file(LORA))


def test_a_version_s_file_is_found_by_its_hash_wherever_it_lies(write_run: Callable[..., Any]) -> None:
    promote(write_run)
    shutil.move(LORA, "models/v7.safetensors")
    save(LORA, 3.0)  # a later training
    assert choose_recipe("v7").cell.lora == "models/v7.safetensors"


def test_a_version_whose_file_is_gone_says_how_to_get_it(write_run: Callable[..., Any]) -> None:
    promote(write_run, "ab" * 32)
    with pytest.raises(UserError, match=r"dvc get \. models/lora/persona.safetensors --rev lora/v7 --out models/v7"):
        choose_recipe("v7")


@pytest.mark.parametrize(
    ("lora", "says"), [("v8", "no version 'v8'.*nothing was promoted"), ("none.safetensors", "not found")]
)
def test_what_is_not_there_is_said(lora: str, says: str) -> None:
    with pytest.raises(UserError, match=says):
        choose_recipe(lora)


def test_before_a_sweep_there_is_nothing_to_draw_with() -> None:
    Path("metrics/sweep_choice.json").unlink()
    with pytest.raises(UserError, match="dvc repro sweep"):
        choose_recipe()


def test_a_base_that_is_gone_is_named() -> None:
    shutil.rmtree("base")
    with pytest.raises(UserError, match="no such base model"):
        choose_recipe()
