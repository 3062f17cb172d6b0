"""Record sweeps picture by picture, so that ways of sweeping can be compared without drawing anything.

    python -m miniature.sweep_scores      writes miniature/sweep_scores.csv

Trains recipe v3 on the development identities of WORLDS as ``miniature.trial`` does, then draws every cell of each
one's sweep on every prompt with all of SEEDS, two worlds at a time.  A run that was interrupted goes on where it was.
A row of the file is a cell, a column p0_s101 the similarity of its picture of prompt 0 with seed 101.
"""

import os
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from miniature.sweep_study import RECORDED
from miniature.trial import ALONE, make_workspace, recipe_params, run_stage
from stages.contracts.paths import PARAMS
from stages.contracts.settings import Machine, Sweep, read_yaml
from stages.flows.scoring import open_studio
from stages.flows.sweeping import Sheet
from stages.reports.tables import write_table
from stages.runtime.files import write_text
from stages.sweep import Params, choose_checkpoints, make_grid

WORLDS = (("dev1", 1), ("dev3", 3))  # identity and training seed
SEEDS = tuple(range(101, 117))
DRAWN = Path("data/recorded")  # beside the trial's own pictures


def record(sections: dict[str, Any], seeds: tuple[int, ...] = SEEDS) -> list[dict[str, Any]]:
    """Draw and score every cell of a sweep with all ``seeds``; a row per cell.

    Args:
        sections: of the params.yaml of the working directory.
    """
    params = Params(**{name: sections[name] for name in Params.model_fields})
    sweep = Sweep(**sections["sweep"] | {"seeds": seeds[:1], "confirm_seeds": seeds[1:]})
    cells = make_grid(sweep, choose_checkpoints(params.dataset.name, sweep.checkpoints))
    sheet = Sheet(cells, sweep, params.dataset, DRAWN)
    instances = sorted(sheet.first + sheet.fresh)
    with open_studio(params, sweep, Machine(threads=1), sheet.every_shot(), DRAWN) as studio:
        scores_CN = sheet.draw(studio, range(len(cells)), instances, "record")
    return [
        {"checkpoint": cell.checkpoint, "guidance": cell.guidance, "strength": cell.strength}
        | {f"p{prompt}_s{seed}": float(value) for (prompt, seed), value in zip(instances, scores_N, strict=True)}
        for cell, scores_N in zip(cells, np.round(scores_CN, 4), strict=True)
    ]


def record_world(identity: str, seed: int) -> pd.DataFrame:
    """Train and record, unless that was done."""
    folder = make_workspace(identity, recipe_params("v3", seed, ALONE))
    for stage in ("caption", "manifest", "regularize", "train"):
        run_stage(folder, stage)
    recorded = folder / RECORDED.name
    if not recorded.exists():
        os.chdir(folder)
        rows = [{"world": f"{identity}-{seed}"} | row for row in record(read_yaml(PARAMS))]
        write_table(recorded, rows, list(rows[0]))
    return pd.read_csv(recorded)


def main() -> None:
    """Record every world in a process of its own, two at a time."""
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        found = list(pool.map(record_world, *zip(*WORLDS, strict=True)))
    write_text(RECORDED, pd.concat(found).to_csv(index=False, lineterminator="\n"))
    print(RECORDED)


if __name__ == "__main__":
    main()
