"""Every figure of docs/miniature.md is that of miniature/metrics.json, every aim and size is the code's."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from safetensors.numpy import load_file

from miniature.figures import AIMS, PARTS
from miniature.places import METRICS, WEIGHTS
from miniature.render import render, sample_identity, sample_scene

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "miniature.md").read_text()
RECORDED: dict[str, Any] = json.loads(METRICS.read_text())
FOLDERS = {
    "vae": ["base/vae"], "base": ["base/unet", "base/text_encoder", "base/text_encoder_2"], "judge": ["judge"],
    "detector": ["faces/models/miniature/det.onnx"], "embedder": ["faces/models/miniature/rec.onnx"],
    "clip": ["clip"], "captioner": ["captioner"],
}  # fmt: skip


def figures(page: str) -> dict[str, tuple[str, str]]:
    """figure -> (value, aim) as they stand in the page."""
    rows = re.findall(r"^\| `(\w+\.\w+)` \| ([\d.]+) \| ([^|]*) \|", page, re.MULTILINE)
    return {name: (value, aim.strip()) for name, value, aim in rows}


def wrong_figures(page: str) -> list[str]:
    """Figures that are not the recorded ones, rounded as the page rounds them."""
    found = []
    for name, (value, _) in figures(page).items():
        part, key = name.split(".")
        recorded = RECORDED["figures"][part][key]
        if f"{recorded:.{len(value.partition('.')[2])}f}" != value:
            found.append(f"{name}: {value}, recorded {recorded}")
    return found


def test_every_figure_is_the_recorded_one() -> None:
    assert len(figures(PAGE)) >= len(AIMS)
    assert wrong_figures(PAGE) == []


def test_a_planted_figure_is_noticed() -> None:
    assert wrong_figures(PAGE.replace("| 0.970 |", "| 0.971 |")) == ["base.face_found: 0.971, recorded 0.97"]


def test_every_aim_is_on_the_page() -> None:
    aims = {name: aim for name, (_, aim) in figures(PAGE).items() if aim}
    assert aims == {name: f"{direction} {aim:g}" for name, (direction, aim) in AIMS.items()}


@pytest.mark.parametrize("part", PARTS)
def test_a_part_s_size_and_training_time_are_right(part: str) -> None:
    (million,) = re.findall(rf"^\| `{part}` \|[^|]*\| ([\d.]+) million \|", PAGE, re.MULTILINE)
    (seconds,) = re.findall(rf"^\| `{part}` \| (\d+) \|$", PAGE, re.MULTILINE)
    assert f"{sum(count(WEIGHTS / folder) for folder in FOLDERS[part]) / 1e6:.2f}" == million
    assert int(seconds) == RECORDED["training_seconds"][part]


def count(place: Path) -> int:
    """Stored values of a weight file, or of the weight file in a folder."""
    (path,) = [place] if place.is_file() else [*place.glob("*.safetensors"), *place.glob("*.onnx")]
    if path.suffix == ".onnx":
        return sum(int(np.prod(tensor.dims)) for tensor in onnx.load(path).graph.initializer)
    return sum(tensor.size for tensor in load_file(path).values())


def test_the_renderer_is_as_deterministic_as_the_page_says() -> None:
    first, again = (render(sample_identity(2_000_000), sample_scene(5), 64).image for _ in range(2))
    assert first.tobytes() == again.tobytes()


def test_the_page_is_short() -> None:
    assert len(PAGE.splitlines()) <= 120
