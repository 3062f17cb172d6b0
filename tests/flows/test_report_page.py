"""What is gathered for the page, from the files of a run or from what is left of them."""

import csv
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import yaml

from stages.compare import main
from stages.contracts.comparison import read_comparison
from stages.contracts.scorecard import Scorecard, read_scorecard
from stages.contracts.version_pictures import VersionPicture, write_version_pictures
from stages.flows.report_page import gather_content, read_rows
from stages.reports.page.content import Content
from stages.runtime.errors import UserError
from stages.runtime.pictures import write_png

ROOT = Path(__file__).parents[2]
V2 = Path("metrics/versions/v2")
PAGE = Path("metrics/report.html")
SWEEP = ("cell", "base", "mode", "checkpoint", "lora", "guidance", "sampler", "strength", "images", "similarity_mean",
         "rank")  # fmt: skip


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write_run: Callable[..., Scorecard]) -> Path:
    """A workspace in which v3 was evaluated and v2 promoted, with a few pictures and a sweep of three cells."""
    monkeypatch.chdir(tmp_path)
    Path("params.yaml").write_text(yaml.safe_dump({"compare": {"baseline": "v2", "bootstrap": 200}, "thresholds": {}}))
    write_run(V2, "v2", noise=1)
    write_run(Path("metrics"), "v3", noise=2)
    for prompt in range(4):
        write_png(Path(f"data/eval/lora/{prompt:02d}_1001.png"), grey(100 + prompt))
        write_png(V2 / f"pictures/{prompt:02d}.png", grey(50 + prompt))
    kept = [VersionPicture(picture=f"{prompt:02d}.png", prompt_index=prompt, seed=1001) for prompt in range(4)]
    write_version_pictures(V2, kept)
    with Path("metrics/sweep_summary.csv").open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(SWEEP)
        writer.writerows([i, "b", "lora", 100 * i, "x", 2.0, "ddim", 1.0, 2, 0.1 + i / 10, 3 - i] for i in range(3))
    drawn = [(cell, seed, f"c{cell:03d}_b_lora/p00_s{seed}.png") for cell in range(3) for seed in (1, 2)]
    for cell, seed, file in drawn:
        write_png(Path("data/sweep") / file, grey(10 * cell + seed))
    lines = [f"{cell},first,0,{seed},{file},1,0.5" for cell, seed, file in drawn]
    table = "\n".join(["cell,seeds,prompt_index,seed,file,face_found,similarity", *lines])
    Path("data/sweep/per_image.csv").write_text(table + "\n")
    return tmp_path


def grey(level: int) -> np.ndarray:
    return np.full((16, 16, 3), level, np.uint8)


def gather(baseline: Path | None = V2) -> Content:
    return gather_content(read_scorecard(), read_comparison(), baseline)


def test_the_stage_writes_one_page_with_the_pairs_the_pictures_and_the_sweep(run: Path) -> None:
    main()
    content = gather()
    assert [(pair.after["prompt_index"], pair.after["seed"]) for pair in content.pairs] == [(p, 1001) for p in range(4)]
    assert {pair.before["prompt"] for pair in content.pairs} == {f"prompt {p}" for p in range(4)}
    assert sorted(content.pictures) == [f"lora/{p:02d}_1001.png" for p in range(4)]
    assert {cell: [name for name, _ in some] for cell, some in content.sweep_pictures.items()} == {
        cell: [f"prompt 1, seed {seed}, similarity 0.500" for seed in (1, 2)] for cell in range(3)
    }
    page = PAGE.read_text()
    assert all(uri in page for uri in content.pictures.values())
    assert "v2 beside v3" in page


def test_two_processes_write_the_same_bytes(run: Path) -> None:
    pages = []
    for seed in ("1", "2"):
        env = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)}
        subprocess.run([sys.executable, "-m", "stages.compare"], check=True, timeout=120, env=env, capture_output=True)
        pages.append(PAGE.read_bytes())
    assert pages[0] == pages[1]
    assert str(run).encode() not in pages[0]


def test_without_pictures_and_tables_the_page_is_written_all_the_same(run: Path) -> None:
    for path in (*Path("data").rglob("*.png"), Path("metrics/sweep_summary.csv"), V2 / "pictures.csv"):
        path.unlink()
    main()
    page = re.sub(r"\s+", " ", PAGE.read_text())
    assert "The sweep's cells are missing" in page
    assert "The pictures themselves are missing" in page
    assert "No pairs can be shown: metrics/versions/v2 keeps no pictures with an index" in page


def test_pairs_whose_new_picture_is_gone_say_where_it_comes_from(run: Path) -> None:
    main()
    for path in Path("data/eval").rglob("*.png"):
        path.unlink()
    content = gather()
    assert content.pairs == []
    assert "dvc pull" in content.no_pairs
    assert gather(None).no_pairs == "there is no baseline"


def test_when_room_is_short_the_best_cells_keep_their_pictures(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    main()
    content = gather()
    one = len(content.sweep_pictures[0][0][1])
    eval_and_pairs = sum(map(len, content.pictures.values())) + sum(
        len(pair.before_picture) + len(pair.after_picture) for pair in content.pairs
    )
    monkeypatch.setattr("stages.flows.report_page.ALL_CHARACTERS", eval_and_pairs + 4 * one + one // 2)
    content = gather()
    assert {cell: len(some) for cell, some in content.sweep_pictures.items()} == {2: 2, 1: 2}
    assert any("2 pictures of the sweep" in note for note in content.notes)


def test_a_table_keeps_text_as_text_and_numbers_as_numbers(run: Path) -> None:
    Path("t.csv").write_text('prompt,seed,similarity,note\n"1, 2",3,nan,\nNA,4,0.5,x\n')
    assert read_rows(Path("t.csv")) == [
        {"prompt": "1, 2", "seed": 3.0, "similarity": None, "note": None},
        {"prompt": "NA", "seed": 4.0, "similarity": 0.5, "note": "x"},
    ]
    assert read_rows(Path("nothing.csv")) == []


@pytest.mark.parametrize("spoilt", [b"a,b\n1,2,3\n", b"a\n\xff\xfe\n", b'a\n"1\n'])
def test_a_spoilt_table_is_named_before_anything_is_written(run: Path, spoilt: bytes) -> None:
    Path("metrics/loss.csv").write_bytes(spoilt)
    with pytest.raises(UserError, match=r"metrics/loss\.csv: not a table"):
        main()
    assert not PAGE.exists()
    assert not Path("metrics/comparison.json").exists()


def test_a_spoilt_choice_is_named(run: Path) -> None:
    Path("metrics/sweep_choice.json").write_text("{")
    with pytest.raises(UserError, match=r"sweep_choice\.json"):
        main()
