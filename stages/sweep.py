"""Draw a grid of settings, score every picture, confirm the best on fresh seeds and choose what eval will judge.

reads: data/manifest.json, models/lora, metrics/loss.csv
writes: data/sweep, metrics/sweep_choice.json, metrics/sweep_montage.png, metrics/sweep_summary.csv,
    metrics/top10_by_similarity.csv, metrics/checkpoints.csv
"""

from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from stages.contracts.lora import find_checkpoints
from stages.contracts.manifest import read_manifest
from stages.contracts.paths import (
    CHECKPOINTS,
    SWEEP_IMAGES,
    SWEEP_MONTAGE,
    SWEEP_PER_IMAGE,
    SWEEP_SUMMARY,
    SWEEP_TOP10,
)
from stages.contracts.scorecard import Settings, write_choice
from stages.contracts.settings import ComfyUI, Dataset, Judges, Section, Sweep, Thresholds, read_machine, read_params
from stages.flows.conditioning import choose_reference
from stages.flows.nearest_photos import measure_nearest
from stages.flows.permission import permit
from stages.flows.scoring import Studio, open_studio
from stages.flows.sweep_tables import (
    judged_instances,
    list_pictures,
    make_choice,
    read_holdout_losses,
    summarise,
    trace_checkpoints,
)
from stages.flows.sweeping import Outcome, Sheet, run_sweep
from stages.reports.montage import montage
from stages.reports.sweep import describe_choice, label_row, pick_rows
from stages.reports.tables import write_table
from stages.runtime.entry import run_stage
from stages.runtime.errors import UserError
from stages.runtime.pictures import read_picture, write_png

SHOWN_CELLS, SHOWN_PICTURES = 8, 8


class Params(Section):
    """What decides the sweep's result."""

    dataset: Dataset
    sweep: Sweep
    comfyui: ComfyUI
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


def make_grid(sweep: Sweep, checkpoints: dict[int, Path], reference: Path | None = None) -> list[Settings]:
    """Every cell, models outermost so that each is loaded once; ``reference``: the photo of modes that have one."""
    axes = product(sweep.bases, sweep.modes, checkpoints.items(), sweep.samplers, sweep.guidance, sweep.strengths)
    return [
        Settings(
            base=base.as_posix(), mode=mode, checkpoint=step, lora=lora.as_posix(), guidance=guidance, sampler=sampler,
            strength=strength, reference="" if mode == "lora" or reference is None else reference.as_posix(),
        )
        for base, mode, (step, lora), sampler, guidance, strength in axes
    ]  # fmt: skip


def show(rows: Sequence[dict[str, Any]], sheet: Sheet) -> np.ndarray:
    """The chosen cell, the tied, the next best and the worst, a row each, the same prompts and seeds.

    Returns uint8 (H, W, 3) RGB.
    """
    shown = pick_rows(rows, SHOWN_CELLS)
    everywhere = [i for i in sheet.first if all(i in sheet.scores[row["cell"]] for row in shown)][:SHOWN_PICTURES]
    pictures = [[read_picture(sheet.shots[row["cell"]][i].path) for i in everywhere] for row in shown]
    return montage(pictures, [label_row(row) for row in shown])


def write_results(sheet: Sheet, outcome: Outcome, losses: dict[int, float], studio: Studio, params: Params) -> None:
    """Write tables, choice and montage, and say what was chosen."""
    face_pass, seen = params.thresholds.face_pass, judged_instances(sheet, outcome)
    rows = summarise(sheet, outcome, face_pass)
    places = {step: [sheet.shots[cell][i].path for i in seen] for step, cell in outcome.curve.items()}
    judge = studio.instruments.text_image
    nearest = measure_nearest(places, params.dataset, read_manifest(), params.sweep.resolution, judge)
    curve, overfits_from = trace_checkpoints(sheet, outcome, losses, nearest, face_pass)
    choice = make_choice(rows, sheet, outcome, params.sweep, overfits_from)
    best = sorted(rows, key=lambda row: row["rank"])[:10]
    write_table(SWEEP_SUMMARY, rows, list(rows[0]))
    write_table(SWEEP_TOP10, best, ["rank", *(name for name in rows[0] if name != "rank")])
    write_table(CHECKPOINTS, curve, list(curve[0]))
    write_table(SWEEP_PER_IMAGE, pictures := list_pictures(sheet), list(pictures[0]))
    write_png(SWEEP_MONTAGE, show(rows, sheet))
    write_choice(choice)
    print("\n".join(describe_choice(choice)))


def main() -> None:
    params, machine = read_params(Params), read_machine()
    permit(params.dataset, params.sweep.prompts, params.sweep.negative_prompt)
    checkpoints = choose_checkpoints(params.dataset.name, params.sweep.checkpoints)
    cells = make_grid(params.sweep, checkpoints, choose_reference(params.comfyui, params.dataset, read_manifest()))
    losses, sheet = read_holdout_losses(), Sheet(cells, params.sweep, params.dataset)
    shots = sheet.every_shot()
    with open_studio(params, params.sweep, machine, shots, SWEEP_IMAGES) as studio:
        write_results(sheet, run_sweep(sheet, studio, params.sweep), losses, studio, params)


if __name__ == "__main__":
    run_stage(main)
