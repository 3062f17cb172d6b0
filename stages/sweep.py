"""Draw a grid of settings, score every picture and choose the settings that eval will judge.

reads: data/manifest.json, models/lora
writes: data/sweep, metrics/sweep_choice.json, metrics/sweep_montage.png, metrics/sweep_summary.csv,
    metrics/top10_by_similarity.csv
"""

from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from stages.contracts.lora import find_checkpoints
from stages.contracts.paths import SWEEP_IMAGES, SWEEP_MONTAGE, SWEEP_SUMMARY, SWEEP_TOP10
from stages.contracts.scorecard import Cell, Choice, Settings, write_choice
from stages.contracts.settings import Dataset, Judges, Section, Sweep, Thresholds, read_machine, read_params
from stages.flows.scoring import Score, Shot, open_studio, plan
from stages.reports.montage import montage
from stages.reports.tables import write_table
from stages.runtime.entry import run_stage
from stages.runtime.errors import UserError
from stages.runtime.pictures import read_picture, write_png
from stages.runtime.progress import track

TIE = 1e-9
SHOWN_CELLS, SHOWN_PICTURES = 8, 8


class Params(Section):
    """What decides the sweep's result."""

    dataset: Dataset
    sweep: Sweep
    judges: Judges
    thresholds: Thresholds


def choose_checkpoints(name: str, steps: Sequence[int]) -> dict[int, Path]:
    """LoRA files by step: those in ``steps``, or all that were saved when it is empty.

    Raises:
        UserError: when a step was not saved.
    """
    saved = find_checkpoints(name)
    missing = [step for step in steps if step not in saved]
    if missing:
        have = ", ".join(map(str, saved))
        raise UserError("sweep.checkpoints", f"no checkpoint of step {', '.join(map(str, missing))}", f"saved: {have}")
    return {step: path for step, path in saved.items() if not steps or step in steps}


def make_grid(sweep: Sweep, checkpoints: dict[int, Path]) -> list[Settings]:
    """Every cell, models outermost so that each is loaded once."""
    axes = product(sweep.bases, sweep.modes, checkpoints.items(), sweep.samplers, sweep.guidance, sweep.strengths)
    return [
        Settings(
            base=base.as_posix(), mode=mode, checkpoint=step, lora=lora.as_posix(), guidance=guidance, sampler=sampler,
            strength=strength,
        )
        for base, mode, (step, lora), sampler, guidance, strength in axes
    ]  # fmt: skip


def cell_name(number: int, cell: Settings) -> str:
    """A folder name that says the cell: c003_sdxl_lora_step00000100_ddim_g3_x0.8."""
    model = f"{Path(cell.base).name}_{cell.mode}_step{cell.checkpoint:08d}"
    return f"c{number:03d}_{model}_{cell.sampler}_g{cell.guidance:g}_x{cell.strength:g}"


def summarise(cells: Sequence[Settings], scores: Sequence[Score], face_pass: float) -> list[dict[str, Any]]:
    """A row per cell: its settings and its pictures' figures; a picture without a face counts as similarity 0.

    ``scores`` go cell by cell, equally many each; ``face_pass`` is the raw cosine from which on a picture passes.
    """
    each = len(scores) // len(cells)
    rows = []
    for number, cell in enumerate(cells):
        own = scores[number * each : (number + 1) * each]
        similarity = np.array([score.similarity for score in own])
        rows.append(
            {
                "cell": number, **cell.model_dump(), "images": each, "similarity_mean": float(similarity.mean()),
                "similarity_sd": float(similarity.std(ddof=1)) if each > 1 else 0.0,
                "pass_rate": float(np.mean([score.passes(face_pass) for score in own])),
                "detection_rate": float(np.mean([score.face_found for score in own])),
                "second_similarity_mean": float(np.mean([score.second_similarity for score in own])),
                "adherence_mean": float(np.mean([score.adherence for score in own])),
            }
        )  # fmt: skip
    return rows


def rank(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Best first; of cells within a billionth of the best one left, the earlier checkpoint, then less guidance."""
    left, ranked = list(rows), []
    while left:
        best = max(row["similarity_mean"] for row in left)
        tied = [row for row in left if row["similarity_mean"] >= best - TIE]
        ranked += sorted(tied, key=lambda row: (row["checkpoint"], row["guidance"], row["cell"]))
        left = [row for row in left if row["similarity_mean"] < best - TIE]
    return ranked


def choose(ranked: Sequence[dict[str, Any]]) -> Choice:
    """The best and the worst cell."""
    best, worst = ({name: row[name] for name in Cell.model_fields} for row in (ranked[0], ranked[-1]))
    return Choice(best=Cell(**best), worst=Cell(**worst), cells=len(ranked), images=sum(r["images"] for r in ranked))


def show(ranked: Sequence[dict[str, Any]], shots: Sequence[Shot]) -> np.ndarray:
    """The best cells and the worst, one row each, the same prompts and seeds: uint8 (H, W, 3) RGB."""
    shown = [*ranked[:SHOWN_CELLS], *ranked[SHOWN_CELLS:][-1:]]
    first = [row["cell"] * row["images"] for row in shown]
    pictures = [shots[start : start + min(shown[0]["images"], SHOWN_PICTURES)] for start in first]
    rows = [[read_picture(shot.path) for shot in some] for some in pictures]
    labels = [
        f"#{ranked.index(row) + 1}  similarity {row['similarity_mean']:.3f}  faces {row['detection_rate']:.0%}   "
        f"{Path(row['base']).name} {row['mode']} step {row['checkpoint']} {row['sampler']} "
        f"guidance {row['guidance']:g} strength {row['strength']:g}"
        for row in shown
    ]
    return montage(rows, labels)


def write_results(rows: list[dict[str, Any]], shots: Sequence[Shot]) -> None:
    """Write tables, choice and montage."""
    ranked = rank(rows)
    write_table(SWEEP_SUMMARY, rows, list(rows[0]))
    write_table(SWEEP_TOP10, [{"rank": i + 1, **row} for i, row in enumerate(ranked[:10])], ["rank", *rows[0]])
    write_choice(choose(ranked))
    write_png(SWEEP_MONTAGE, show(ranked, shots))


def main() -> None:
    params, machine = read_params(Params), read_machine()
    cells = make_grid(params.sweep, choose_checkpoints(params.dataset.name, params.sweep.checkpoints))
    named = [(SWEEP_IMAGES / cell_name(number, cell), cell) for number, cell in enumerate(cells)]
    shots = [shot for folder, cell in named for shot in plan(cell, params.sweep, params.dataset, folder)]
    with open_studio(params.sweep, params.dataset, params.judges, machine, shots, SWEEP_IMAGES) as studio:
        scores = list(track(studio.score(shots), "sweep", len(shots)))
        write_results(summarise(cells, scores, params.thresholds.face_pass), shots)


if __name__ == "__main__":
    run_stage(main)
