"""The sweep: the grid, what is refused, what is chosen, and the same bytes after an interruption."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from drawing import Drawing
from PIL import Image
from workspaces import PARAMS, write_params

from stages import sweep
from stages.contracts.scorecard import Cell, read_choice
from stages.contracts.settings import Dataset, Sweep
from stages.flows.scoring import plan
from stages.runtime.errors import UserError
from stages.runtime.pictures import write_png

TABLES = ("sweep_summary.csv", "top10_by_similarity.csv", "sweep_choice.json", "sweep_montage.png")
PICTURES = 8 * 2 * 2  # cells, prompts, seeds


def artifacts(workspace: Path) -> dict[str, bytes]:
    found = [workspace / "metrics" / name for name in TABLES] + sorted((workspace / "data" / "sweep").rglob("*.png"))
    return {path.relative_to(workspace).as_posix(): path.read_bytes() for path in found}


def test_the_sweep_finds_the_settings_that_draw_the_persona(workspace: Path) -> None:
    sweep.main()
    choice = read_choice()
    assert (choice.best.checkpoint, choice.best.strength) == (200, 1.0)
    assert choice.best.lora == "models/lora/persona.safetensors"
    assert (choice.worst.checkpoint, choice.worst.strength) == (100, 0.5)
    assert choice.best.guidance == 2.0  # guidance changes nothing here: of equals, the lower
    assert (choice.cells, choice.images) == (8, PICTURES)
    table = pd.read_csv("metrics/sweep_summary.csv")
    assert list(table["cell"]) == list(range(8))
    strength = table["checkpoint"] * table["strength"]
    mean = table.groupby(strength)["similarity_mean"].mean()
    assert list(mean) == sorted(mean)
    assert mean.iloc[-1] - mean.iloc[0] > 0.2
    assert table["second_similarity_mean"].groupby(strength).mean().is_monotonic_increasing
    top = pd.read_csv("metrics/top10_by_similarity.csv")
    assert list(top["rank"]) == list(range(1, 9))
    assert top["similarity_mean"].is_monotonic_decreasing
    assert len(list(Path("data/sweep").rglob("p0*_s*.png"))) == PICTURES
    assert Image.open("metrics/sweep_montage.png").size[1] > 8 * 160


def test_an_interrupted_sweep_goes_on_to_the_same_bytes(
    workspace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_params(workspace, sweep={"guidance": [2.0], "checkpoints": [200]})
    sweep.main()
    whole = artifacts(workspace)
    assert Drawing.drawn == 8
    monkeypatch.setattr(Drawing, "drawn", 0)
    monkeypatch.setattr(Drawing, "stop_at", 5)
    with pytest.raises(KeyboardInterrupt):
        sweep.main()
    monkeypatch.setattr(Drawing, "stop_at", None)
    sweep.main()
    assert Drawing.drawn == 8
    assert "sweep: resumed, 5 of 8 pictures were done" in capsys.readouterr().err
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


def test_a_cell_s_folder_says_its_settings() -> None:
    cell = sweep.make_grid(Sweep(**PARAMS["sweep"]), {100: Path("a.safetensors")})[1]
    assert sweep.cell_name(1, cell) == "c001_base_lora_step00000100_euler_g2_x1"


def row(number: int, similarity: float, checkpoint: int, guidance: float) -> dict[str, Any]:
    cell = Cell(
        base="base", mode="lora", checkpoint=checkpoint, lora="", guidance=guidance, sampler="euler", strength=1.0,
        images=4, similarity_mean=similarity, pass_rate=0.0, detection_rate=1.0,
    )  # fmt: skip
    return {"cell": number, **cell.model_dump()}


def test_ties_within_a_billionth_go_to_the_earlier_checkpoint_then_to_less_guidance() -> None:
    rows = [row(0, 0.5, 200, 2.0), row(1, 0.5 + 5e-10, 100, 3.0), row(2, 0.5 - 4e-10, 100, 2.0), row(3, 0.4, 50, 1.0)]
    assert [r["cell"] for r in sweep.rank(rows)] == [2, 1, 0, 3]
    assert sweep.choose(sweep.rank(rows)).worst.checkpoint == 50


def test_a_difference_beyond_a_billionth_is_no_tie() -> None:
    rows = [row(0, 0.5, 200, 2.0), row(1, 0.5 - 2e-9, 100, 2.0)]
    assert [r["cell"] for r in sweep.rank(rows)] == [0, 1]


def test_the_montage_shows_the_best_cells_and_the_worst_of_all(tmp_path: Path) -> None:
    settings, dataset = Sweep(**PARAMS["sweep"] | {"prompts": ["x"], "seeds": [1]}), Dataset(**PARAMS["dataset"])
    cell = sweep.make_grid(settings, {100: Path("a.safetensors")})[0]
    shots = [shot for number in range(11) for shot in plan(cell, settings, dataset, tmp_path / str(number))]
    for number, shot in enumerate(shots):
        write_png(shot.path, np.full((8, 8, 3), 10 + 20 * number, np.uint8))
    rows = [row(number, 0.9 - 0.05 * number, 100, 2.0) | {"images": 1} for number in range(11)]
    sheet = sweep.show(rows, shots)
    shown = [number for number in range(11) if (sheet == 10 + 20 * number).all(axis=2).sum() >= 160 * 160]
    assert shown == [0, 1, 2, 3, 4, 5, 6, 7, 10]
