"""Is a sweep fooled?  Simulated sweeps, where the truth is known, and races replayed beside grids on recorded scores.

    python -m miniature.sweep_study curse      writes miniature/sweep_curse.json: how much better do cells look
    python -m miniature.sweep_study race       writes miniature/sweep_race.json: does the race choose what the grid does
    python -m miniature.sweep_study --table    prints the tables of docs/measuring_sweep.md

The recorded scores are those of ``python -m miniature.sweep_scores``.  The race's boundary was chosen on other sweeps.
"""

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from stages.measures.racing import order_instances, race
from stages.measures.selection import Cost, decide, estimate_means, find_contenders
from stages.runtime.files import write_json

RECORDED = Path(__file__).parent / "sweep_scores.csv"
CURSE, RACE = Path(__file__).parent / "sweep_curse.json", Path(__file__).parent / "sweep_race.json"
LEADERS, BLOCK = 12, 4  # conf/sweep/lora.yaml
PROMPTS = 4
SWEEPS, ORDERS = 1000, 40
FIRST_SEEDS = 12  # of the recorded 16; the others confirm
SMALL_SEEDS = 2  # of the grid that costs about as much as the race


@dataclass(frozen=True)
class Result:
    """What one simulated or replayed sweep found; cells are row numbers."""

    naive: int
    naive_mean: float  # on the first pictures
    chosen: int
    chosen_mean: float  # on the fresh pictures
    cheapest: int
    leaders: frozenset[int]
    tied: frozenset[int]
    images: int


def replay_sweep(first_CN: np.ndarray, fresh_CM: np.ndarray, costs: Sequence[Cost], strategy: str) -> Result:
    """Sweep over scores that are there already, as ``stages.flows.sweeping`` does over pictures that it draws."""
    left, drawn = list(range(len(costs))), first_CN
    if strategy == "race":
        ran = race(lambda cells, numbers: first_CN[np.ix_(cells, numbers)], len(costs), first_CN.shape[1], BLOCK)
        left, drawn = list(ran.left), ran.scores_CN
    found = find_contenders(drawn[left], [costs[cell] for cell in left])[:LEADERS]
    leaders = [left[row] for row in found]
    decision = decide(fresh_CM[leaders], [costs[cell] for cell in leaders])
    chosen = leaders[decision.chosen]
    return Result(
        leaders[0], float(estimate_means(drawn)[leaders[0]]), chosen, float(fresh_CM[chosen].mean()),
        leaders[decision.cheapest], frozenset(leaders), frozenset(leaders[row] for row in decision.tied),
        int((~np.isnan(drawn)).sum()) + len(leaders) * fresh_CM.shape[1],
    )  # fmt: skip


# How much better than it is the chosen cell looks.

WORLDS: dict[str, np.ndarray] = {
    "24 equal cells": np.full(24, 0.6),
    "24 cells, .01 apart": 0.6 - 0.01 * np.arange(24),
    "one better by .05 than 23": np.r_[0.65, np.full(23, 0.6)],
    "8 equal, 16 worse by .2": np.r_[np.full(8, 0.6), np.full(16, 0.4)],
}


def simulate_scores(
    rng: np.random.Generator, truth_C: np.ndarray, seeds: int, prompts: np.ndarray, noise: float
) -> np.ndarray:
    """Scores of cells on every prompt with ``seeds`` seeds: float64 (C, P * seeds).

    Args:
        rng: of the pictures' noise.
        truth_C: mean score of every cell.
        seeds: pictures of each prompt.
        prompts: how much easier each prompt is, the same in every cell.
        noise: sd of a picture.
    """
    return truth_C[:, None] + np.repeat(prompts, seeds) + rng.normal(0, noise, (len(truth_C), len(prompts) * seeds))


def mean_with_interval(values: Sequence[float]) -> list[float]:
    """Mean and 95% interval over simulations: [mean, low, high]."""
    mean, reach = float(np.mean(values)), 1.96 * float(stats.sem(values))
    return [round(value, 4) for value in (mean, mean - reach, mean + reach)]


def study_curse(truth_C: np.ndarray, sweeps: int, seed: int = 0) -> dict[str, list[float]]:
    """Sweeps of cells whose truth is known: a grid with 8 pictures a cell, the leaders again with 16 fresh ones.

    A picture's sd is .10: .05 between prompts, the rest within.  Biases are against what a cell truly scores on these
    very prompts; lost is how far the chosen cell lies below the best.  All with their 95% interval over the sweeps.
    """
    found: dict[str, list[float]] = {name: [] for name in ("naive_bias", "confirmed_bias", "lost", "cheapest_lost")}
    costs = [Cost(checkpoint=100 * cell, strength=1.0, guidance=3.0, number=cell) for cell in range(len(truth_C))]
    for number in range(sweeps):
        rng = np.random.default_rng([seed, number])
        prompts, order = rng.normal(0, 0.05, PROMPTS), rng.permutation(len(truth_C))
        truth, noise = truth_C[order], float(np.sqrt(0.10**2 - 0.05**2))  # cost says nothing about quality
        first, fresh = (simulate_scores(rng, truth, seeds, prompts, noise) for seeds in (2, 4))
        result = replay_sweep(first, fresh, costs, "grid")
        found["naive_bias"].append(result.naive_mean - truth[result.naive] - float(prompts.mean()))
        found["confirmed_bias"].append(result.chosen_mean - truth[result.chosen] - float(prompts.mean()))
        found["lost"].append(truth.max() - truth[result.chosen])
        found["cheapest_lost"].append(truth.max() - truth[result.cheapest])
    return {name: mean_with_interval(values) for name, values in found.items()}


# Does the race choose what the grid chooses?


def read_recorded(path: Path = RECORDED) -> dict[str, tuple[np.ndarray, list[Cost]]]:
    """Scores of every world, float64 (C, prompts, seeds), and what its cells cost."""
    worlds = {}
    for name, table in pd.read_csv(path).groupby("world"):
        scores_CN = table[[column for column in table if str(column).startswith("p")]].to_numpy(np.float64)
        settings = table[["checkpoint", "strength", "guidance"]].itertuples(index=False)
        costs = [Cost(int(step), float(x), float(g), number) for number, (step, x, g) in enumerate(settings)]
        worlds[str(name)] = (scores_CN.reshape(len(table), PROMPTS, -1), costs)
    return worlds


def replay_orders(scores_CPS: np.ndarray, costs: Sequence[Cost], orders: int) -> list[dict[str, float]]:
    """The race, and a grid of about its cost, beside the grid of all first seeds; a row per order.

    An order deals the seeds anew into first and fresh ones, and orders the race's pictures.
    """
    rows = []
    cells, prompts, seeds = scores_CPS.shape
    for number in range(orders):
        dealt = np.random.default_rng([1, number]).permutation(seeds)
        first, fresh = dealt[:FIRST_SEEDS], dealt[FIRST_SEEDS:]
        fresh_CM = scores_CPS[:, :, fresh].reshape(cells, -1)
        order = order_instances(prompts, [int(seed) for seed in first], number)
        first_CN = np.stack([scores_CPS[:, prompt, seed] for prompt, seed in order], axis=1)
        grid = replay_sweep(first_CN, fresh_CM, costs, "grid")
        small = replay_sweep(first_CN[:, : prompts * SMALL_SEEDS], fresh_CM, costs, "grid")
        raced = replay_sweep(first_CN, fresh_CM, costs, "race")
        rows.append(
            {
                f"{name}_{what}": float(value)
                for name, result in (("race", raced), ("small", small))
                for what, value in (
                    ("same", result.chosen == grid.chosen), ("tied", result.chosen in grid.tied),
                    ("images", result.images / grid.images),
                )
            } | {"grid_tied": float(len(grid.tied))}
        )  # fmt: skip
    return rows


def study_race(worlds: dict[str, tuple[np.ndarray, list[Cost]]], orders: int) -> dict[str, Any]:
    """Shares over all orders of each world, and how many orders there were."""
    found = {name: pd.DataFrame(replay_orders(scores, costs, orders)) for name, (scores, costs) in worlds.items()}
    figures = {name: {k: round(float(v), 4) for k, v in table.mean().items()} for name, table in found.items()}
    return {"orders": orders, "worlds": figures, "cells": {name: len(costs) for name, (_, costs) in worlds.items()}}


def render_curse(result: dict[str, Any]) -> str:
    """The curse as Markdown."""
    heads = ("truth", "bias of the naive best", "bias of the confirmed", "chosen lies below the best by", "cheapest by")
    lines = [f"| {' | '.join(heads)} |", "|---|---|---|---|---|"]
    for world, figures in result["worlds"].items():
        shown = [f"{mean:+.4f} ({low:+.4f} to {high:+.4f})" for mean, low, high in list(figures.values())[:2]]
        lost = [f"{figures[name][0]:.3f}" for name in ("lost", "cheapest_lost")]
        lines.append(f"| {' | '.join([world, *shown, *lost])} |")
    return "\n".join(lines)


def render_race(result: dict[str, Any]) -> str:
    """The race as Markdown."""
    lines = ["| world | orders | | same cell | same or tied | images |", "|---|---|---|---|---|---|"]
    for world, figures in result["worlds"].items():
        for name, words in (("race", "race"), ("small", f"grid of {SMALL_SEEDS} seeds")):
            shown = [f"{figures[f'{name}_{what}']:.1%}" for what in ("same", "tied", "images")]
            lines.append(f"| {' | '.join([world, str(result['orders']), words, *shown])} |")
    return "\n".join(lines)


def main() -> None:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", nargs="?", choices=("curse", "race"))
    parser.add_argument("--table", action="store_true", help="print the tables of what was measured")
    study = parser.parse_args().study
    if study == "curse":
        worlds = {name: study_curse(truth_C, SWEEPS) for name, truth_C in WORLDS.items()}
        write_json(CURSE, {"sweeps": SWEEPS, "worlds": worlds})
    elif study == "race":
        write_json(RACE, study_race(read_recorded(), ORDERS))
    for path, render in ((CURSE, render_curse), (RACE, render_race)):
        if path.exists():
            print(render(json.loads(path.read_text())), end="\n\n")


if __name__ == "__main__":
    main()
