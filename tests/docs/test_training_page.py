"""docs/training.md: its figures are counted again, its table is the ablation's, what it quotes is what is said."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from miniature import ablation
from stages.backends.train.board import FOLDER, Board
from stages.backends.train.memory import estimate_memory
from stages.contracts.settings import SECTIONS
from stages.contracts.train_settings import Train
from stages.contracts.training import Step
from stages.measures.duplicates import holdout_size
from stages.measures.learning import judge_rate

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "training.md").read_text()


def between(name: str) -> str:
    """What stands between the markers ``<!-- name -->`` and ``<!-- /name -->``."""
    (text,) = re.findall(rf"<!-- {name} -->\n(.*?)\n<!-- /{name} -->", PAGE, re.DOTALL)
    return str(text)


def composed(overrides: str) -> dict[str, Any]:
    with initialize_config_dir(str(ROOT / "conf"), version_base=None):
        return OmegaConf.to_container(compose("config", overrides.split()), resolve=True)  # type: ignore[return-value]


def recipe(overrides: str, **changes: Any) -> Train:
    found = SECTIONS["train"].model_validate(composed(overrides)["train"] | changes)
    assert isinstance(found, Train)
    return found


def gibibytes(overrides: str, folder: Path) -> float:
    """What `pistachio memory` adds up to on SDXL's UNet."""
    (folder / "unet").mkdir()
    shutil.copy(ROOT / "tests/data/sdxl_unet.json", folder / "unet/config.json")
    return sum(estimate_memory(recipe(overrides, base=folder)).values()) / 2**30


MEMORY = re.findall(r"^\| `([^`]+)` \| ([\d.]+) \|$", between("memory"), re.MULTILINE)


def test_the_table_of_what_the_parts_do_is_the_ablation_s() -> None:
    assert between("ablation") == ablation.render_table(json.loads(ablation.RESULT.read_text()))


def test_what_is_said_of_the_ablation_is_what_it_does() -> None:
    assert len(ablation.PAIRS) == 3
    spread = ablation.paired_difference([2.0, 3.0, 4.0], [1.0, 2.0, 3.5])
    assert spread["mean"] == pytest.approx(0.8333, abs=1e-4)
    assert spread["high"] - spread["mean"] == pytest.approx(4.3027 * 0.288675 / 3**0.5, abs=1e-3)  # Student, 2 degrees


def test_the_memory_table_has_both_profiles() -> None:
    assert {"profile=rtx4090_24gb", "profile=h200_141gb"} <= {overrides for overrides, _ in MEMORY}


@pytest.mark.slow
@pytest.mark.parametrize(("overrides", "told"), MEMORY)
def test_every_line_of_the_memory_table_is_counted_again(overrides: str, told: str, tmp_path: Path) -> None:
    assert f"{gibibytes(overrides, tmp_path):.1f}" == told


def test_of_30_photos_10_are_kept_back() -> None:
    dataset = composed("profile=rtx4090_24gb")["dataset"]
    assert holdout_size(30, dataset["holdout_fraction"], dataset["holdout_min"]) == 10


@pytest.mark.parametrize(("profile", "shown"), [("rtx4090_24gb", 2_500), ("h200_141gb", 20_000)])
def test_a_profile_shows_as_many_photos_as_the_page_says(profile: str, shown: int) -> None:
    train = recipe(f"profile={profile}")
    assert train.steps * train.batch * train.accumulate == shown
    assert f"{shown:,} in all" in PAGE


def test_the_warnings_are_quoted_as_they_are_said() -> None:
    slow, fast = judge_rate(100, 1000, 1e-6, 4e-6), judge_rate(1, 1000, 0.021, 0.021)
    assert slow is not None
    assert slow.startswith("Prodigy is not learning: d is")
    assert fast is not None
    assert fast.startswith("the rate is running away")
    assert "`Prodigy is not learning: d is ...`" in PAGE
    assert "`the rate is running away`" in PAGE
    assert judge_rate(100, 1000, 1e-6, 5e-6) is None
    assert judge_rate(1, 1000, 0.02, 0.02) is None


def test_the_board_s_curves_have_the_names_of_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    monkeypatch.chdir(tmp_path)
    with Board("v3", 0) as board:
        board.add(Step(1, 0.1, 0.2, 0.3, 1e-4, 1e-4))
    curves = EventAccumulator(str(FOLDER / "v3"))
    curves.Reload()
    assert f"tensorboard --logdir {FOLDER}" in PAGE
    assert [name for name in curves.Tags()["scalars"] if f"`{name}`" not in PAGE] == []
