"""Draw a sweep: the grid whole or as a race on the first seeds, the contenders again on fresh ones, and decide."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from stages.contracts.paths import SWEEP_IMAGES
from stages.contracts.scorecard import Settings
from stages.contracts.settings import Dataset, Sweep
from stages.flows.scoring import Score, Shot, Studio, plan
from stages.flows.sights import Sight
from stages.measures.racing import order_instances, race
from stages.measures.selection import Cost, Decision, decide, estimate_means, find_contenders, rank_cells
from stages.runtime.progress import track

Instance = tuple[int, int]  # prompt index and seed
UNKEPT = Sight(None, None, np.zeros(0, np.float32), (0, 0))  # nobody asks; 10,000 pictures' embeddings are 70 MB


def cell_name(number: int, cell: Settings) -> str:
    """A folder name that says the cell: c003_sdxl_lora_step00000100_ddim_g3_x0.8."""
    model = f"{Path(cell.base).name}_{cell.mode}_step{cell.checkpoint:08d}"
    return f"c{number:03d}_{model}_{cell.sampler}_g{cell.guidance:g}_x{cell.strength:g}"


class Sheet:
    """Every picture that a sweep may draw, and the scores of those that it has drawn, cell by cell."""

    def __init__(self, cells: Sequence[Settings], sweep: Sweep, dataset: Dataset, folder: Path = SWEEP_IMAGES) -> None:
        self.cells = tuple(cells)
        self.first: list[Instance] = [(p, seed) for p in range(len(sweep.prompts)) for seed in sweep.seeds]
        self.fresh: list[Instance] = [(p, seed) for p in range(len(sweep.prompts)) for seed in sweep.confirm_seeds]
        both = sweep.model_copy(update={"seeds": (*sweep.seeds, *sweep.confirm_seeds)})
        self.shots: list[dict[Instance, Shot]] = [
            {
                (shot.prompt_index, shot.request.seed): shot
                for shot in plan(cell, both, dataset, folder / cell_name(number, cell))
            }
            for number, cell in enumerate(cells)
        ]
        self.scores: list[dict[Instance, Score]] = [{} for _ in cells]

    def every_shot(self) -> list[Shot]:
        """All that may be drawn, cell by cell: what is checked, and what an interrupted sweep is known by."""
        return [shot for shots in self.shots for shot in shots.values()]

    def draw(self, studio: Studio, cells: Sequence[int], instances: Sequence[Instance], what: str) -> np.ndarray:
        """Draw and score what is not there yet; similarities float64 (len(cells), len(instances))."""
        missing = [(cell, i) for cell in cells for i in instances if i not in self.scores[cell]]
        shots = [self.shots[cell][i] for cell, i in missing]
        for (cell, i), score in zip(missing, track(studio.score(shots), what, len(shots)), strict=True):
            self.scores[cell][i] = replace(score, sight=UNKEPT)
        return self.measured(cells, instances)

    def measured(self, cells: Sequence[int], instances: Sequence[Instance], measure: str = "similarity") -> np.ndarray:
        """A measure of the pictures, float64 (len(cells), len(instances)); NaN where one was not drawn."""
        return np.array(
            [
                [float(getattr(self.scores[cell][i], measure)) if i in self.scores[cell] else np.nan for i in instances]
                for cell in cells
            ]
        )


@dataclass(frozen=True)
class Outcome:
    """What a sweep found; cells are numbers of the sheet's."""

    ranked: tuple[int, ...]  # all cells by their first pictures, best first; the first is among the leaders
    means: tuple[float, ...]  # of every cell, on the first pictures
    leaders: tuple[int, ...]  # drawn again, best first
    left_out: int  # contenders beyond sweep.leaders
    curve: dict[int, int]  # per checkpoint, ascending, its best cell on the first pictures; the chosen for its own
    decision: Decision | None  # rows are leaders; None where there was one cell

    @property
    def chosen(self) -> int:
        """The cell to use."""
        return self.leaders[self.decision.chosen] if self.decision else self.ranked[0]

    @property
    def tied(self) -> tuple[int, ...]:
        """The best on the fresh pictures and what they cannot be told from it, cheapest first."""
        return tuple(self.leaders[row] for row in self.decision.tied) if self.decision else (self.ranked[0],)


def cost_of(number: int, cell: Settings) -> Cost:
    """What a cell costs."""
    return Cost(cell.checkpoint, cell.strength, cell.guidance, number)


def draw_first(sheet: Sheet, studio: Studio, sweep: Sweep) -> list[int]:
    """Draw the first pictures; the cells that may be the best (all of a grid, what a race leaves)."""
    everyone = list(range(len(sheet.cells)))
    if sweep.strategy == "grid":
        sheet.draw(studio, everyone, sheet.first, "sweep")
        return everyone
    order = order_instances(len(sweep.prompts), sweep.seeds, sweep.order_seed)

    def draw(cells: list[int], numbers: list[int]) -> np.ndarray:
        return sheet.draw(studio, cells, [order[n] for n in numbers], f"sweep, race of {len(cells)} cells")

    return list(race(draw, len(sheet.cells), len(order), sweep.block).left)


def run_sweep(sheet: Sheet, studio: Studio, sweep: Sweep) -> Outcome:
    """Draw the first pictures, draw the contenders and each checkpoint's best cell again on fresh seeds, and decide.

    Each checkpoint's best cell is drawn again for the curve of checkpoints; unless it is a contender, it is no choice.
    """
    costs = [cost_of(number, cell) for number, cell in enumerate(sheet.cells)]
    left = draw_first(sheet, studio, sweep)
    means = estimate_means(sheet.measured(range(len(costs)), sheet.first))
    ranked = sorted(rank_cells(means, costs), key=lambda cell: cell not in left)  # what a race dropped stays behind
    found = find_contenders(sheet.measured(left, sheet.first), [costs[cell] for cell in left])
    leaders = [left[row] for row in found[: sweep.leaders]]
    steps = sorted({cost.checkpoint for cost in costs})
    curve = {step: next(cell for cell in ranked if costs[cell].checkpoint == step) for step in steps}
    decision = None
    if len(costs) > 1:
        again = [*leaders, *(cell for cell in curve.values() if cell not in leaders)]
        scores_KM = sheet.draw(studio, again, sheet.fresh, "sweep, fresh seeds")[: len(leaders)]
        decision = decide(scores_KM, [costs[cell] for cell in leaders])
        curve[costs[leaders[decision.chosen]].checkpoint] = leaders[decision.chosen]
    return Outcome(tuple(ranked), tuple(means.tolist()), tuple(leaders), len(found) - len(leaders), curve, decision)
