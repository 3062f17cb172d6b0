"""The sweep: the grid, what is refused, what is chosen, and the same bytes after an interruption."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from drawing import Drawing
from PIL import Image
from workspaces import PARAMS, write_losses, write_params

from stages import sweep
from stages.contracts.scorecard import read_choice
from stages.contracts.settings import Dataset, Sweep
from stages.flows.scoring import plan
from stages.runtime.errors import UserError

TABLES = ("sweep_summary.csv", "top10_by_similarity.csv", "checkpoints.csv", "sweep_choice.json", "sweep_montage.png")
CELLS, FIRST, FRESH = 8, 2 * 2, 2 * 2  # pictures of a cell: prompts and seeds


def artifacts(workspace: Path) -> dict[str, bytes]:
    found = [workspace / "metrics" / name for name in TABLES] + sorted(
        p for p in (workspace / "data" / "sweep").rglob("*") if p.is_file()
    )
    return {path.relative_to(workspace).as_posix(): path.read_bytes() for path in found}


def test_the_sweep_finds_the_settings_that_draw_the_persona(workspace: Path) -> None:
    sweep.main()
    choice = read_choice()
    assert (choice.best.checkpoint, choice.best.strength) == (200, 1.0)
    assert choice.best.lora == "models/lora/persona.safetensors"
    assert (choice.worst.checkpoint, choice.worst.strength) == (100, 0.5)
    assert choice.best.guidance == 2.0  # guidance changes nothing here: of equals, the lower
    table = pd.read_csv("metrics/sweep_summary.csv")
    drawn = CELLS * FIRST + FRESH * int((table["confirm_images"] > 0).sum())
    assert (choice.cells, choice.images) == (CELLS, drawn)
    assert list(table["cell"]) == list(range(CELLS))
    strength = table["checkpoint"] * table["strength"]
    mean = table.groupby(strength)["similarity_mean"].mean()
    assert list(mean) == sorted(mean)
    assert mean.iloc[-1] - mean.iloc[0] > 0.2
    assert table["second_similarity_mean"].groupby(strength).mean().is_monotonic_increasing
    top = pd.read_csv("metrics/top10_by_similarity.csv")
    assert list(top["rank"]) == list(range(1, 9))
    assert top["similarity_mean"].is_monotonic_decreasing
    assert len(list(Path("data/sweep").rglob("p0*_s*.png"))) == Drawing.drawn == drawn
    assert len(pd.read_csv("data/sweep/per_image.csv")) == drawn
    assert Image.open("metrics/sweep_montage.png").size[1] > 8 * 160


def test_the_choice_is_confirmed_on_fresh_seeds_and_says_what_is_tied_with_it(
    workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sweep.main()
    choice, pictures = read_choice(), pd.read_csv("data/sweep/per_image.csv")
    (best,) = [tied for tied in choice.tied if (tied.checkpoint, tied.strength, tied.guidance) == (200, 1.0, 2.0)]
    (same,) = [tied for tied in choice.tied if (tied.checkpoint, tied.strength, tied.guidance) == (200, 1.0, 3.0)]
    assert best.similarity_mean == same.similarity_mean == choice.best.similarity_mean
    mine = pictures[pictures["cell"] == best.cell]
    assert set(mine[mine["seeds"] == "fresh"]["seed"]) == {3, 4}
    assert mine[mine["seeds"] == "fresh"]["similarity"].mean() == pytest.approx(choice.best.similarity_mean, abs=1e-5)
    assert "on 4 fresh pictures" in capsys.readouterr().out


def test_the_curve_of_checkpoints_shows_likeness_closeness_and_loss(workspace: Path) -> None:
    write_losses(workspace, [0.06, 0.05, 0.04, 0.05, 0.06])
    sweep.main()
    curve = pd.read_csv("metrics/checkpoints.csv")
    assert list(curve["checkpoint"]) == [100, 200]
    assert list(curve["holdout_loss"]) == [0.04, 0.06]
    assert list(curve["recommended"]) == [0, 1]
    assert curve["similarity_mean"].is_monotonic_increasing
    assert curve["nearest_photo_mean"].between(0, 1).all()
    assert set(curve["images"]) == {FRESH}
    assert not curve["overfits"].any()


def test_a_race_finds_the_same_with_fewer_pictures(workspace: Path) -> None:
    write_params(workspace, sweep={"seeds": list(range(21, 29)), "strategy": "race"})
    sweep.main()
    choice = read_choice()
    assert choice.strategy == "race"
    assert (choice.best.checkpoint, choice.best.strength) == (200, 1.0)
    table = pd.read_csv("metrics/sweep_summary.csv")
    assert table["images"].min() < table["images"].max() == 16
    assert choice.images == Drawing.drawn < CELLS * 16


@pytest.mark.parametrize("strategy", ["grid", "race"])
def test_an_interrupted_sweep_goes_on_to_the_same_bytes(
    workspace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], strategy: str
) -> None:
    write_params(workspace, sweep={"guidance": [2.0], "checkpoints": [200], "strategy": strategy})
    sweep.main()
    whole, drawn = artifacts(workspace), Drawing.drawn
    monkeypatch.setattr(Drawing, "drawn", 0)
    for stop_at in (5, drawn - 1):  # among the first seeds, and among the fresh ones
        monkeypatch.setattr(Drawing, "stop_at", stop_at)
        with pytest.raises(KeyboardInterrupt):
            sweep.main()
    monkeypatch.setattr(Drawing, "stop_at", None)
    sweep.main()
    assert Drawing.drawn == drawn
    assert "sweep: resumed, 5 of 16 pictures were done" in capsys.readouterr().err
    assert artifacts(workspace) == whole


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"samplers": ["unipc"]}, "unipc"),
        ({"modes": ["lora", "lora+instantid"]}, "instantid"),
        ({"checkpoints": [100, 150]}, "150"),
        ({"bases": ["nowhere"]}, "nowhere"),
    ],
)
def test_what_cannot_be_drawn_is_refused_before_anything_is_deleted(
    workspace: Path, change: dict[str, Any], said: str
) -> None:
    kept = workspace / "data" / "sweep" / "old.png"
    kept.parent.mkdir()
    kept.touch()
    write_params(workspace, sweep=change)
    with pytest.raises(UserError, match=said):
        sweep.main()
    assert kept.exists()
    assert Drawing.drawn == 0


def test_checkpoints_are_all_that_were_saved_or_those_asked_for(workspace: Path) -> None:
    assert list(sweep.choose_checkpoints("persona", ())) == [100, 200]
    assert sweep.choose_checkpoints("persona", (100,)) == {100: Path("models/lora/persona-step00000100.safetensors")}


def test_a_prompt_and_seed_start_from_the_same_noise_in_every_cell() -> None:
    settings = Sweep(**PARAMS["sweep"])
    cells = sweep.make_grid(settings, {100: Path("a.safetensors"), 200: Path("b.safetensors")})
    dataset = Dataset(**PARAMS["dataset"])
    noises = {tuple((s.request.prompt, s.request.seed) for s in plan(c, settings, dataset, Path())) for c in cells}
    assert len(cells) == 8
    assert len(noises) == 1


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"seeds": [1, 2], "confirm_seeds": [2, 3]}, "stand in seeds already"),
        ({"seeds": [1, 1]}, "stands there twice"),
        ({"confirm_seeds": []}, "confirm_seeds"),
        ({"strategy": "halving"}, "strategy"),
    ],
)
def test_a_choice_cannot_be_confirmed_on_the_seeds_that_made_it(
    workspace: Path, change: dict[str, Any], said: str
) -> None:
    write_params(workspace, sweep=change)
    with pytest.raises(UserError, match=said):
        sweep.main()


def test_the_grid_holds_every_combination_models_outermost() -> None:
    settings = Sweep(**PARAMS["sweep"] | {"bases": ["models/a", "models/b"], "modes": ["lora", "lora+instantid"],
                                          "samplers": ["euler", "ddim"], "guidance": [3.0, 2.0],
                                          "strengths": [1.0, 0.5]})  # fmt: skip
    cells = sweep.make_grid(settings, {100: Path("x/one.safetensors"), 200: Path("x/two.safetensors")})
    assert len({cell.model_dump_json() for cell in cells}) == len(cells) == 2**6
    first, second, third, fifth, ninth, half = (cells[n] for n in (0, 1, 2, 4, 8, 16))
    assert (first.base, first.mode, first.checkpoint, first.lora) == ("models/a", "lora", 100, "x/one.safetensors")
    assert (first.sampler, first.guidance, first.strength) == ("euler", 3.0, 1.0)
    assert second == first.model_copy(update={"strength": 0.5})
    assert third == first.model_copy(update={"guidance": 2.0})
    assert fifth == first.model_copy(update={"sampler": "ddim"})
    assert ninth == first.model_copy(update={"checkpoint": 200, "lora": "x/two.safetensors"})
    assert half == first.model_copy(update={"mode": "lora+instantid"})
    assert [cell.base for cell in cells] == ["models/a"] * 32 + ["models/b"] * 32
