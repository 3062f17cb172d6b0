"""Growth is measured on the real flows, which grow in proportion; the plot is drawn from what was measured."""

from pathlib import Path

import numpy as np
import pytest

from bench import growth, growth_work, photos
from bench.pipeline import build_empty, count_files, differ, fill, repro
from bench.standin import Standin
from stages.contracts.generation import ImageRequest
from stages.contracts.scorecard import read_choice


def test_the_standin_draws_a_request_s_own_picture() -> None:
    requests = [ImageRequest(p, s, Path("b"), None, width=64, height=64) for p in ("a", "b") for s in (1, 2, 3)]
    drawn = list(Standin().generate(requests))
    assert all(picture.shape == (64, 64, 3) and picture.dtype == np.uint8 for picture in drawn)
    assert len({picture.tobytes() for picture in drawn}) == 6
    assert [p.tobytes() for p in Standin().generate(requests[::-1])] == [p.tobytes() for p in drawn[::-1]]


@pytest.mark.slow
def test_the_real_sweep_runs_with_the_standin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    drawn = growth_work.prepare_sweep(100)()
    assert read_choice().images == drawn > 100


def test_the_real_manifest_is_built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(photos, "SCENES", 2)
    assert growth_work.prepare_manifest(14)() == 14


def test_the_plot_is_small(tmp_path: Path) -> None:
    points = [{"count": 10**n, "seconds": 2.0 * 10**n, "before_mib": 100, "peak_mib": 200 + n} for n in range(1, 4)]
    growth.plot({"manifest": points, "sweep": points}, tmp_path / "growth.png")
    assert 5_000 < (tmp_path / "growth.png").stat().st_size < 150_000


@pytest.mark.slow
def test_an_empty_pipeline_finds_nothing_to_do(tmp_path: Path) -> None:
    build_empty(tmp_path / "empty", 2)
    said = repro(tmp_path / "empty")
    assert differ(said, said) == ""
    assert differ(said, "Running stage 'stage0'") != ""


def test_placeholders_are_as_many_as_the_lock_counts_and_no_two_alike(tmp_path: Path) -> None:
    assert count_files()["data/photos"] == 36
    fill(tmp_path / "folder", 250)
    files = [path for path in (tmp_path / "folder").rglob("*") if path.is_file()]
    assert len({path.read_bytes() for path in files}) == len(files) == 250
