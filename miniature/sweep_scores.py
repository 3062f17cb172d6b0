"""Record a sweep's scores picture by picture, so that ways of sweeping can be compared without drawing anything.

    python -m miniature.sweep_scores WORKSPACE OUTPUT      draws what is missing (minutes), writes a CSV

WORKSPACE is a finished trial of a development identity (``python -m miniature.trial v3 --identity dev7``).  Every cell
of its sweep is drawn on every prompt with SEEDS seeds; a row of the CSV is a cell, a column p0_s101 is the similarity
of its picture of prompt 0 with seed 101.  tests/data/sweep_scores.csv was made so; tests/measures/test_replay.py replays it.
"""

import argparse
import os
from pathlib import Path
from typing import Any

import numpy as np

from stages.contracts.paths import PARAMS
from stages.contracts.settings import Dataset, Judges, Machine, Sweep, read_yaml
from stages.flows.scoring import open_studio
from stages.flows.sweeping import Sheet
from stages.reports.tables import write_table
from stages.sweep import choose_checkpoints, make_grid

SEEDS = tuple(range(101, 117))
DRAWN = Path("data/recorded")  # beside the trial's own pictures


def record(sections: dict[str, Any]) -> list[dict[str, Any]]:
    """Draw and score every cell of the workspace's sweep with all SEEDS; a row per cell.

    Args:
        sections: of the workspace's params.yaml, the working directory.
    """
    dataset, judges, machine = Dataset(**sections["dataset"]), Judges(**sections["judges"]), Machine(threads=1)
    sweep = Sweep(**sections["sweep"] | {"seeds": SEEDS[:1], "confirm_seeds": SEEDS[1:]})
    cells = make_grid(sweep, choose_checkpoints(dataset.name, sweep.checkpoints))
    sheet = Sheet(cells, sweep, dataset, DRAWN)
    instances = sorted(sheet.first + sheet.fresh)
    with open_studio(sweep, dataset, judges, machine, sheet.every_shot(), DRAWN) as studio:
        scores_CN = sheet.draw(studio, range(len(cells)), instances, "record")
    return [
        {"checkpoint": cell.checkpoint, "guidance": cell.guidance, "strength": cell.strength}
        | {f"p{prompt}_s{seed}": float(value) for (prompt, seed), value in zip(instances, scores_N, strict=True)}
        for cell, scores_N in zip(cells, np.round(scores_CN, 4), strict=True)
    ]


def main() -> None:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("workspace", type=Path, help="folder with params.yaml, photos, manifest and LoRA files")
    parser.add_argument("output", type=Path)
    arguments = parser.parse_args()
    output = arguments.output.absolute()
    os.chdir(arguments.workspace)
    rows = record(read_yaml(PARAMS))
    write_table(output, rows, list(rows[0]))


if __name__ == "__main__":
    main()
