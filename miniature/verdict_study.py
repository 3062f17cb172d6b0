"""How often verdicts err where the truth is known: planted comparisons, judged by the product's own measures.

    python -m miniature.verdict_study            # simulate (minutes); what is done is kept in verdict_study.json
    python -m miniature.verdict_study --table    # print what verdict_study.json holds, as in docs/measuring_truth.md
    python -m miniature.verdict_study --write    # and put it there

It begins again where it was killed.
"""

import argparse
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from miniature.planted import LOSES, LOST, METRICS, SAME, SEEDS, SPREAD, World, draw_scores, truth_of
from stages.contracts.comparison import EVENTS
from stages.measures.difference import Difference, measure_differences
from stages.measures.recipe import measure_recipe
from stages.measures.verdict import adjust_holm, decide_verdict, detectable_effect
from stages.runtime.files import write_json, write_text

FIGURES = Path(__file__).parent / "verdict_study.json"
PAGE = Path(__file__).parents[1] / "docs" / "measuring_truth.md"
CONFIDENCE, RESAMPLES, COMPARISONS = 0.95, 5000, 4000
PROMPTS = (24, 48, 96)
BATCHES = 8  # of comparisons, each with resamples of its own
TWICE = ("similarity", "second_similarity")  # are compared on the ruler too: the same p-value once more
FAMILY = len(METRICS) + len(TWICE)
SPREADS, TRAININGS = (0.0, 0.5, 1.0, 2.0), ((1, 1), (4, 1), (4, 4))

Figures = dict[str, Any]


def compare(scores: np.ndarray, metrics: list[int], clusters: np.ndarray | None = None) -> list[list[Difference]]:
    """The product's differences, a list per metric; resamples are drawn anew for each of BATCHES batches."""
    comparisons, pictures = scores.shape[2:]
    if clusters is None:
        clusters = np.repeat(np.arange(pictures // SEEDS), SEEDS)
    found: list[list[Difference]] = [[] for _ in metrics]
    for batch, some in enumerate(np.array_split(np.arange(comparisons), min(BATCHES, comparisons))):
        baseline, candidate = (side[metrics][:, some].reshape(-1, pictures) for side in scores)
        events = [METRICS[metric] in EVENTS for metric in metrics for _ in some]
        rows = measure_differences(baseline, candidate, clusters, confidence=CONFIDENCE, resamples=RESAMPLES,
                                   seed=batch, events=events, family=FAMILY)  # fmt: skip
        for number in range(len(metrics)):
            found[number] += rows[number * len(some) : (number + 1) * len(some)]
    return found


def holm(p_MC: np.ndarray) -> np.ndarray:
    """Adjusted p-values over the product's family: the two judges' metrics count twice."""
    both = np.concatenate([p_MC, p_MC[[METRICS.index(metric) for metric in TWICE]]])
    adjusted: np.ndarray = np.apply_along_axis(adjust_holm, 0, both)[: len(METRICS)]
    return adjusted


def p_values(differences: list[list[Difference]]) -> np.ndarray:
    """The p-values, metrics by comparisons."""
    return np.array([[difference.p_value for difference in row] for row in differences])


def called(row: list[Difference], p_C: np.ndarray) -> np.ndarray:
    """Which differences of one metric are called IMPROVED or REGRESSED: bool (comparisons,)."""
    said = [
        decide_verdict(difference.interval, float(p), margin=0.0, confidence=CONFIDENCE)
        for difference, p in zip(row, p_C, strict=True)
    ]
    return np.isin(said, ("IMPROVED", "REGRESSED"))


def judge_world(
    world: World, prompts: int, comparisons: int, *, plant: bool = False, clusters: np.ndarray | None = None
) -> Figures:
    """Simulate ``comparisons`` comparisons; with ``plant`` as many again with a difference planted in one metric.

    Rates are [hits, of].  ``family``: any metric called different after Holm; of each metric ``alone``: called
    different by its own p-value, ``covers``: the interval holds the truth, ``found``: a true difference of the stated
    detectable effect was called; ``detectable``: its median.
    """
    scores, _ = draw_scores(world, 1, comparisons, prompts)
    differences = compare(scores, list(range(len(METRICS))), clusters)
    adjusted = holm(p_values(differences))
    family = np.any([called(row, p) for row, p in zip(differences, adjusted, strict=True)], axis=0)
    metrics: dict[str, Figures] = {}
    for metric, row, true in zip(METRICS, differences, truth_of(world), strict=True):
        inside = [it.interval is not None and it.interval[0] - 1e-12 <= true <= it.interval[1] + 1e-12 for it in row]
        alone = called(row, np.array([difference.p_value for difference in row]))
        metrics[metric] = {"alone": _rate(alone), "covers": _rate(np.array(inside))}
    if plant:
        for metric, (found, median) in plant_effects(world, prompts, differences).items():
            metrics[metric] |= {"found": found, "detectable": median}
    return {"world": world.name, "prompts": prompts, "family": _rate(family), "metrics": metrics}


def _rate(hits: np.ndarray) -> list[int]:
    return [int(hits.sum()), len(hits)]


def plant_effects(
    world: World, prompts: int, stated: list[list[Difference]]
) -> dict[str, tuple[list[int], float]]:  # fmt: skip
    """New comparisons in which one metric differs by what the comparisons before said they could detect."""
    scores, traits = draw_scores(world, 2, len(stated[0]), prompts)
    null = p_values(compare(scores, list(range(len(METRICS)))))
    planted = {}
    for number, metric in enumerate(METRICS):
        effects = np.array([detectable_effect(difference) or np.nan for difference in stated[number]])
        (row,) = compare(_with_effect(scores, traits, number, np.nan_to_num(effects), world), [number])
        p = null.copy()
        p[number] = [difference.p_value for difference in row]
        found = called(row, holm(p)[number])[np.isfinite(effects)]
        planted[metric] = (_rate(found), float(f"{np.nanmedian(effects):.3g}"))
    return planted


def _with_effect(
    scores: np.ndarray, traits: np.ndarray, number: int, effect_C: np.ndarray, world: World
) -> np.ndarray:  # fmt: skip
    """The scores, with the candidate worse by ``effect_C`` in one metric."""
    metric, planted = METRICS[number], scores.copy()
    if metric in EVENTS:
        share = world.candidate.passed if metric == "passed" else world.candidate.found
        threshold_C = stats.norm.ppf(1 - np.clip(share - effect_C, 0.0, 1.0))
        planted[1, number] = traits[0 if metric == "passed" else 1] > threshold_C[:, None]
    else:
        planted[1, number] -= effect_C[:, None]
    return planted


def judge_recipes(prompts: int, spread: float, trainings: tuple[int, int], comparisons: int) -> Figures:
    """How often two equally good recipes are called different, by two LoRAs' own interval or by the recipes'.

    ``spread``: the standard deviation between training seeds, in standard errors of the comparison of two LoRAs.
    ``found``: of a true difference of three such standard errors.
    """
    rng = np.random.default_rng([int(10 * spread), *trainings, prompts])
    error = (2 * (0.03**2 + 0.05**2 + 0.06**2 / SEEDS) / prompts) ** 0.5
    sides = []
    easy = rng.normal(0.6, 0.07, (comparisons, 1, prompts))
    for count in trainings:
        shape = (comparisons, count, prompts)
        prompt = easy + rng.normal(0, 0.03, (comparisons, 1, prompts))  # what this recipe does to the prompt
        trained = rng.normal(0, spread * error, (comparisons, count, 1)) + rng.normal(0, 0.05, shape)
        sides.append(prompt + trained + rng.normal(0, 0.06 / SEEDS**0.5, shape))
    if max(trainings) == 1:
        rows: Any = measure_differences(
            sides[0][:, 0], sides[1][:, 0], np.arange(prompts), confidence=CONFIDENCE, resamples=RESAMPLES, seed=1,
            events=[False] * comparisons, family=1,
        )  # fmt: skip
    else:
        rows = [measure_recipe(a, b, confidence=CONFIDENCE, family=1) for a, b in zip(*sides, strict=True)]
    low, high = np.array([row.interval for row in rows]).T
    return {
        "prompts": prompts, "spread": spread, "trainings": list(trainings), "false": _rate((low > 0) | (high < 0)),
        "found": _rate(low + 3 * error > 0),  # a difference only moves the interval
    }  # fmt: skip


def simulate(comparisons: int, done: Figures) -> Iterator[Figures]:
    """Every world at every number of prompts, then the recipes; ``done`` so far is kept.  Yields after each."""
    figures: Figures = {"comparisons": comparisons, "worlds": [], "recipes": []} | done
    for world in (SAME, SPREAD, LOST, LOSES):
        for prompts in PROMPTS:
            if (world.name, prompts) not in {(row["world"], row["prompts"]) for row in figures["worlds"]}:
                figures["worlds"].append(judge_world(world, prompts, comparisons, plant=world is SAME))
                yield figures
    figures["recipes"] = [
        judge_recipes(prompts, spread, trainings, comparisons)
        for prompts in PROMPTS for spread in SPREADS for trainings in TRAININGS
    ]  # fmt: skip
    yield figures


def interval(rate: list[int]) -> tuple[float, float]:
    """The exact 95% interval of a rate [hits, of], in percent (Clopper and Pearson 1934)."""
    found = stats.binomtest(*rate).proportion_ci(0.95, "exact")
    return 100 * float(found.low), 100 * float(found.high)


def _percent(rate: list[int]) -> str:
    low, high = interval(rate)
    return f"{100 * rate[0] / rate[1]:.1f} ({low:.1f}-{high:.1f})"


def _table(head: list[str], rows: list[list[Any]]) -> str:
    lines = [f"| {' | '.join(map(str, row))} |" for row in [list[Any](head), *rows]]
    return "\n".join([lines[0], "|" + "---|" * len(head), *lines[1:]])


def render(figures: Figures) -> list[str]:
    """The tables of docs/measuring_truth.md."""
    worlds = {(row["world"], row["prompts"]): row for row in figures["worlds"]}
    family: list[list[Any]] = [
        [world.name, *(_percent(worlds[world.name, prompts]["family"]) for prompts in PROMPTS)]
        for world in (SAME, SPREAD, LOST)
    ]
    columns = [f"{prompts} prompts" for prompts in PROMPTS]
    single: list[list[Any]] = []
    for metric in METRICS:
        for prompts in PROMPTS:
            it = worlds[SAME.name, prompts]["metrics"][metric]
            cells = [_percent(it[key]) for key in ("alone", "covers", "found")]
            single.append([metric, prompts, *cells[:2], f"{it['detectable']:g}", cells[2]])
    cover: list[list[Any]] = []
    for world in (SPREAD, LOST, LOSES):
        of = [worlds[world.name, prompts]["metrics"] for prompts in PROMPTS]
        cover += [[world.name, metric, *(_percent(it[metric]["covers"]) for it in of)] for metric in METRICS]
    rates = {(row["prompts"], row["spread"], tuple(row["trainings"])): row for row in figures["recipes"]}
    recipes = [
        [prompts, spread, *(_percent(rates[prompts, spread, of]["false"]) for of in TRAININGS),
         *(_percent(rates[prompts, spread, of]["found"]) for of in TRAININGS[1:])]
        for prompts in PROMPTS for spread in SPREADS
    ]  # fmt: skip
    return [
        _table(["no difference: any of 11 metrics called IMPROVED or REGRESSED, %", *columns], family),
        _table(["metric", "prompts", "false alarms alone, %", "intervals that hold the truth, %", "detectable (median)",
                "found when planted, %"], single),
        _table(["intervals that hold the truth, %", "metric", *columns], cover),
        _table(["prompts", "spread between trainings", "false: 1 and 1 training, %", "false: 4 and 1",
                "false: 4 and 4", "found: 4 and 1", "found: 4 and 4"], recipes),
    ]  # fmt: skip


def fill_page(page: str, tables: list[str]) -> str:
    """``page`` with the tables between its markers.

    Raises:
        ValueError: when the page lacks a marker.
    """
    for number, table in enumerate(tables, start=1):
        begin, end = f"<!-- table {number} -->", f"<!-- end of table {number} -->"
        parts = re.split(f"(?s){begin}.*?{end}", page)
        if len(parts) != 2:
            raise ValueError(f"{PAGE.name} needs one {begin} with its end")
        page = f"{parts[0]}{begin}\n{table}\n{end}{parts[1]}"
    return page


def main() -> None:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--comparisons", type=int, default=COMPARISONS, help="of each kind, when simulating")
    parser.add_argument("--table", action="store_true", help="print the tables of what was simulated")
    parser.add_argument("--write", action="store_true", help=f"put them into docs/{PAGE.name}")
    arguments = parser.parse_args()
    done = json.loads(FIGURES.read_text(encoding="utf-8")) if FIGURES.exists() else {}
    if arguments.table or arguments.write:
        tables = render(done)
        print("\n\n".join(tables))
        if arguments.write:
            write_text(PAGE, fill_page(PAGE.read_text(encoding="utf-8"), tables))
        return
    if done.get("comparisons") != arguments.comparisons:
        done = {}
    for figures in simulate(arguments.comparisons, done):
        write_json(FIGURES, figures)
        print(f"{len(figures['worlds'])} worlds, {len(figures['recipes'])} pairs of recipes", flush=True)


if __name__ == "__main__":
    main()
