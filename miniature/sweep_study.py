"""Is a sweep fooled?  Simulated sweeps of equal cells, and the race replayed against the grid on recorded scores.

    python -m miniature.sweep_study curse      how much better than it is the chosen cell looks
    python -m miniature.sweep_study replay     does the race choose what the grid chooses, and with how many pictures
    python -m miniature.sweep_study tune       the race on simulated sweeps, where its boundary was chosen

The recorded scores (``python -m miniature.sweep_scores``) were looked at once, when the boundary stood.
"""

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats

from stages.measures.racing import order_instances, race
from stages.measures.selection import Cost, decide, estimate_means, find_contenders, rank_cells

RECORDED = Path(__file__).parent.parent / "tests" / "data" / "sweep_scores.csv"
LEADERS, BLOCK = 12, 4  # conf/sweep/lora.yaml
PROMPTS = 4


@dataclass(frozen=True)
class Result:
    """What one simulated or replayed sweep found; cells are row numbers."""

    naive: int
    naive_mean: float  # on the first pictures
    chosen: int
    chosen_mean: float  # on the fresh pictures
    leaders: frozenset[int]
    tied: frozenset[int]
    images: int


def sweep_scores(first_CN: np.ndarray, fresh_CM: np.ndarray, costs: Sequence[Cost], strategy: str) -> Result:
    """Sweep over scores that are there already, as ``stages.flows.sweeping`` does over pictures that it draws."""
    left, drawn = list(range(len(costs))), first_CN
    if strategy == "race":
        ran = race(lambda cells, numbers: first_CN[np.ix_(cells, numbers)], *first_CN.shape, BLOCK)
        left, drawn = list(ran.left), ran.scores_CN
    found = find_contenders(drawn[left], [costs[cell] for cell in left])[:LEADERS]
    leaders = [left[row] for row in found]
    decision = decide(fresh_CM[leaders], [costs[cell] for cell in leaders])
    chosen = leaders[decision.chosen]
    return Result(
        leaders[0], float(estimate_means(drawn)[leaders[0]]), chosen, float(fresh_CM[chosen].mean()),
        frozenset(leaders), frozenset(leaders[row] for row in decision.tied),
        int((~np.isnan(drawn)).sum()) + len(leaders) * fresh_CM.shape[1],
    )  # fmt: skip


def make_costs(cells: int) -> list[Cost]:
    """Costs that rise with the cell's number."""
    return [Cost(checkpoint=100 * cell, strength=1.0, guidance=3.0, number=cell) for cell in range(cells)]


def mean_with_interval(values: Sequence[float]) -> tuple[float, float, float]:
    """Mean and 95% interval over simulations."""
    mean, reach = float(np.mean(values)), 1.96 * float(stats.sem(values))
    return mean, mean - reach, mean + reach


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


def study_curse(
    truth_C: np.ndarray, sweeps: int, *, strategy: str = "grid", seed: int = 0
) -> dict[str, tuple[float, float, float]]:
    """How much better than it is a cell looks for having been chosen: 8 pictures a cell, then 16 fresh ones.

    A picture's sd is .10: .05 between prompts, the rest within.  Biases are against what the cell truly scores on
    these very prompts, with the 95% interval over the sweeps.
    """
    naive, confirmed, best_tied = [], [], []
    costs = make_costs(len(truth_C))
    for number in range(sweeps):
        rng = np.random.default_rng([seed, number])
        prompts, order = rng.normal(0, 0.05, PROMPTS), rng.permutation(len(truth_C))
        truth, noise = truth_C[order], float(np.sqrt(0.10**2 - 0.05**2))  # cost says nothing about quality
        first, fresh = (simulate_scores(rng, truth, seeds, prompts, noise) for seeds in (2, 4))
        found = sweep_scores(first, fresh, costs, strategy)
        naive.append(found.naive_mean - truth[found.naive] - float(prompts.mean()))
        confirmed.append(found.chosen_mean - truth[found.chosen] - float(prompts.mean()))
        top = max(found.leaders, key=lambda cell: (truth[cell], -cell))
        best_tied.append(float(top in found.tied))
    return {
        "naive bias": mean_with_interval(naive), "confirmed bias": mean_with_interval(confirmed),
        "best leader is tied": mean_with_interval(best_tied),
    }  # fmt: skip


WORLDS: dict[str, np.ndarray] = {
    "24 equal cells": np.full(24, 0.6),
    "a slope: 24 cells, .01 apart": 0.6 - 0.01 * np.arange(24),
    "one better by .05": np.r_[0.65, np.full(23, 0.6)],
    "8 equal, 16 worse by .2": np.r_[np.full(8, 0.6), np.full(16, 0.4)],
}


def show_curse(sweeps: int) -> None:
    """Print the table of docs/measuring.md."""
    print("| world | naive bias | confirmed bias | the best leader is among the tied |\n|---|---|---|---|")
    for name, truth_C in WORLDS.items():
        found = study_curse(truth_C, sweeps)
        cells = [f"{m:+.4f} ({low:+.4f} to {high:+.4f})" for m, low, high in list(found.values())[:2]]
        share = found["best leader is tied"]
        print(f"| {name} | {' | '.join(cells)} | {share[0]:.1%} ({share[1]:.1%} to {share[2]:.1%}) |", flush=True)
