"""Two recipes, each trained with one seed or several, compared metric by metric."""

from collections.abc import Sequence

import numpy as np

from stages.contracts.comparison import EVENTS, METRICS, RecipeComparison
from stages.contracts.scorecard import Interval
from stages.contracts.settings import Compare
from stages.measures.difference import cluster_means
from stages.measures.recipe import measure_recipe
from stages.measures.verdict import adjust_holm, decide_verdict

FEWEST = 2  # prompts: one alone says nothing about others


def compare_recipes(
    baseline: Sequence[np.ndarray], candidate: Sequence[np.ndarray], prompt_N: np.ndarray, settings: Compare
) -> dict[str, RecipeComparison]:
    """What the differences say of the recipes; empty where neither was trained twice.

    Args:
        baseline: scores of each of its LoRAs, metrics by pictures, in the order of METRICS.
        candidate: the same of the candidate's.
        prompt_N: the prompt of each picture.
        settings: confidence and margins.
    """
    _, index_N = np.unique(prompt_N, return_inverse=True)
    prompts = int(index_N.max()) + 1
    if max(len(baseline), len(candidate)) < 2 or prompts < FEWEST:
        return {}
    sides = [np.stack([cluster_means(scores, index_N) for scores in side]) for side in (baseline, candidate)]
    smallest = prompts / len(index_N)  # what one picture moves its prompt
    differences = [
        measure_recipe(
            sides[0][:, number], sides[1][:, number], confidence=settings.confidence, family=len(METRICS),
            unit=smallest if metric in EVENTS else None,
        )
        for number, metric in enumerate(METRICS)
    ]  # fmt: skip
    adjusted = adjust_holm(np.array([difference.p_value for difference in differences]))
    compared = {}
    for metric, it, p_adjusted in zip(METRICS, differences, adjusted.tolist(), strict=True):
        margin = settings.equivalence.get(metric, 0.0)
        verdict = decide_verdict(it.interval, p_adjusted, margin=margin, confidence=settings.confidence)
        compared[metric] = RecipeComparison(
            delta=it.delta, interval=Interval(low=it.interval[0], high=it.interval[1]), verdict=verdict,
            p_value=it.p_value, p_adjusted=p_adjusted, spread=it.spread, detectable=it.detectable,
        )  # fmt: skip
    return compared
