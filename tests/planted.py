"""Comparisons whose truth is known: scores that resemble real ones, with a difference planted or none.

    PYTHONPATH=. python tests/planted.py                  # print the tables of docs/measuring_truth.md (minutes)
    PYTHONPATH=. python tests/planted.py --write          # and put them there

Every picture has a latent normal value per trait: what its prompt does to both versions, what the prompt does to one
version, what the starting noise does to both, and its own.  A trait's quantile function turns it into a score that is
bounded and skewed as the recorded ones (metrics/versions/*/per_image.csv); a picture without a face scores 0.  The
verdicts come from the product's own measures.difference, measures.recipe and measures.verdict.
"""

import argparse
import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from scipy import stats

from stages.contracts.comparison import EVENTS
from stages.measures.difference import Difference, measure_differences
from stages.measures.recipe import measure_recipe
from stages.measures.verdict import adjust_holm, decide_verdict, detectable_effect

DOCS = Path(__file__).parent.parent / "docs/measuring_truth.md"
CONFIDENCE, RESAMPLES = 0.95, 5000
PROMPTS, SEEDS = (24, 48, 96), 2
BATCHES = 8  # of comparisons, each with resamples of its own

# Share of a trait's variance: prompt (both versions), prompt (one version), starting noise (both), the picture's own.
TRAITS = {
    "similarity": (0.35, 0.10, 0.25, 0.30), "second_similarity": (0.25, 0.10, 0.15, 0.50),
    "texture": (0.15, 0.30, 0.05, 0.50), "colour": (0.10, 0.10, 0.05, 0.75), "adherence": (0.72, 0.10, 0.06, 0.12),
    "prior": (0.05, 0.10, 0.05, 0.80), "found": (0.20, 0.10, 0.30, 0.40),
}  # fmt: skip
SHARES_T4 = np.array(list(TRAITS.values()))
CORRELATED = {
    ("similarity", "second_similarity"): 0.6, ("similarity", "texture"): 0.35, ("similarity", "prior"): -0.4,
    ("second_similarity", "prior"): -0.3, ("adherence", "similarity"): -0.2,
}  # fmt: skip
METRICS = (
    "similarity", "second_similarity", "passed", "face_found", "texture_score", "color_naturalness_score",
    "realism_score", "adherence", "prior_preservation",
)  # fmt: skip
TWICE = ("similarity", "second_similarity")  # are compared on the ruler too: the same p-value once more
FAMILY = len(METRICS) + len(TWICE)
MARGINS = {"similarity": 0.03, "second_similarity": 0.03, "passed": 0.05, "face_found": 0.03, "texture_score": 0.05,
           "color_naturalness_score": 0.05, "realism_score": 0.05, "adherence": 0.02, "prior_preservation": 5.0}  # fmt: skip
GRID = np.linspace(-6, 6, 2001)


@dataclass(frozen=True)
class Quality:
    """How one version's pictures score, over all prompts: beta distributions (a, b, largest value)."""

    similarity: tuple[float, float, float] = (12.0, 6.4, 1.0)
    second_similarity: tuple[float, float, float] = (35.0, 3.5, 0.98)
    texture: tuple[float, float, float] = (0.5, 2.6, 1.0)
    colour: tuple[float, float, float] = (60.0, 0.6, 1.0)
    found: float = 1.0  # share of pictures with a face
    passed: float = 0.65


WIDE = Quality(similarity=(4.8, 2.6, 1.0), second_similarity=(8.0, 0.78, 0.98), texture=(0.35, 1.8, 1.0))


@dataclass(frozen=True)
class World:
    """Two versions; ``level`` moves the candidate's means onto the baseline's."""

    name: str
    baseline: Quality = field(default_factory=Quality)
    candidate: Quality = field(default_factory=Quality)
    level: bool = True


SAME = World("the same recipe twice")
SPREAD = World("equal means, other spread", baseline=WIDE)
LOST = World("both lose 4% of the faces", Quality(found=0.96), Quality(found=0.96))
RARE = World("both lose 0.5% of the faces", Quality(found=0.995), Quality(found=0.995))
LOSES = World("4% against 0.5% of the faces lost", Quality(found=0.96), Quality(found=0.995), level=False)


def draw_latents(rng: np.random.Generator, comparisons: int, prompts: int) -> np.ndarray:
    """Standard normal: (2 versions, traits, comparisons, prompts, seeds)."""
    names, correlation = list(TRAITS), np.eye(len(TRAITS))
    for (one, other), value in CORRELATED.items():
        i, j = names.index(one), names.index(other)
        correlation[i, j] = correlation[j, i] = value
    mix = np.linalg.cholesky(correlation)

    def draw(part: int, *shape: int) -> np.ndarray:
        scaled = mix * np.sqrt(SHARES_T4[:, part, None])
        # every row of ``mix`` has length 1, so each part keeps the share of variance that TRAITS gives it
        return np.tensordot(scaled, rng.standard_normal((len(names), *shape)), axes=1)

    shared = draw(0, comparisons, prompts, 1) + draw(2, comparisons, prompts, SEEDS)
    own = [draw(1, comparisons, prompts, 1) + draw(3, comparisons, prompts, SEEDS) for _ in range(2)]
    return np.stack([shared + version for version in own])


def score_pictures(latent_TCKS: np.ndarray, quality: Quality) -> np.ndarray:
    """Scores (metrics, comparisons, prompts, seeds), in the order of METRICS."""
    z = dict(zip(TRAITS, latent_TCKS, strict=True))
    found = (z["found"] > stats.norm.ppf(1 - quality.found)).astype(float)
    similarity, second, texture, colour = (
        np.interp(z[trait], GRID, _quantiles(quality, trait)) * found
        for trait in ("similarity", "second_similarity", "texture", "colour")
    )
    passed = (z["similarity"] > stats.norm.ppf(1 - quality.passed)).astype(float)
    return np.stack([similarity, second, passed, found, texture, colour, np.sqrt(texture * colour),
                     0.6 + 0.028 * z["adherence"], 82 + 22 * z["prior"]])  # fmt: skip


def _quantiles(quality: Quality, trait: str) -> np.ndarray:
    a, b, largest = getattr(quality, trait)
    return largest * stats.beta.ppf(stats.norm.cdf(GRID), a, b)


def true_means(quality: Quality) -> np.ndarray:
    """The expected score of every metric."""

    def mean(trait: str, power: float = 1.0) -> float:
        values = _quantiles(quality, trait) ** power
        weights = stats.norm.pdf(GRID)
        return float(values @ weights / weights.sum())

    found = quality.found
    realism = mean("texture", 0.5) * mean("colour", 0.5)  # their latents are independent
    return np.array([mean("similarity") * found, mean("second_similarity") * found, quality.passed, found,
                     mean("texture") * found, mean("colour") * found, realism * found, 0.6, 82.0])  # fmt: skip


def truth_of(world: World) -> np.ndarray:
    """The planted mean difference of every metric."""
    if world.level:
        return np.zeros(len(METRICS))
    return true_means(world.candidate) - true_means(world.baseline)


def draw_scores(world: World, seed: int, comparisons: int, prompts: int) -> tuple[np.ndarray, np.ndarray]:
    """Both versions' scores, (metrics, comparisons, pictures), and the candidate's latent similarity and found."""
    rng = np.random.default_rng([seed, prompts])
    latent = draw_latents(rng, comparisons, prompts)
    sides = [score_pictures(latent[0], world.baseline), score_pictures(latent[1], world.candidate)]
    if world.level:
        sides[1] += (true_means(world.baseline) - true_means(world.candidate)).reshape(-1, 1, 1, 1)
    flat = np.stack(sides).reshape(2, len(METRICS), comparisons, -1)
    names = list(TRAITS)
    traits = latent[1][[names.index("similarity"), names.index("found")]].reshape(2, comparisons, -1)
    return flat, traits


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
    return np.apply_along_axis(adjust_holm, 0, both)[: len(METRICS)]


def p_values(differences: list[list[Difference]]) -> np.ndarray:
    return np.array([[difference.p_value for difference in row] for row in differences])


def called(row: list[Difference], p_C: np.ndarray, margin: float = 0.0) -> np.ndarray:
    """The verdicts of one metric."""
    return np.array([
        decide_verdict(difference.interval, float(p), margin=margin, confidence=CONFIDENCE)
        for difference, p in zip(row, p_C, strict=True)
    ])  # fmt: skip


def is_found(verdicts: np.ndarray) -> np.ndarray:
    return np.isin(verdicts, ("IMPROVED", "REGRESSED"))


@dataclass(frozen=True)
class Rate:
    """How often something happened, with the exact binomial interval (Clopper and Pearson 1934)."""

    hits: int
    of: int

    @property
    def value(self) -> float:
        return self.hits / self.of

    @property
    def interval(self) -> tuple[float, float]:
        bounds = stats.binomtest(self.hits, self.of).proportion_ci(0.95, "exact")
        return float(bounds.low), float(bounds.high)

    def __str__(self) -> str:
        low, high = self.interval
        return f"{100 * self.value:.1f} ({100 * low:.1f}-{100 * high:.1f})"


def rate(hits: np.ndarray) -> Rate:
    return Rate(int(hits.sum()), len(hits))


@dataclass(frozen=True)
class Found:
    """What one world showed at one number of prompts."""

    world: World
    prompts: int
    family: Rate  # any metric called different after Holm
    single: dict[str, Rate]  # this metric called different, by its own p-value alone
    cover: dict[str, Rate]  # intervals that hold the truth
    power: dict[str, Rate]  # a true difference of the stated detectable effect that was called
    detectable: dict[str, float]  # its median
    equal: dict[str, Rate]  # a true difference as large as the margin that was called EQUIVALENT


def judge_world(
    world: World, prompts: int, comparisons: int, *, plant: bool = False, clusters: np.ndarray | None = None
) -> Found:
    """Simulate ``comparisons`` comparisons; with ``plant`` as many again with a difference planted in one metric."""
    everything = list(range(len(METRICS)))
    scores, _ = draw_scores(world, 1, comparisons, prompts)
    differences, truth = compare(scores, everything, clusters), truth_of(world)
    adjusted = holm(p_values(differences))
    family = np.any([is_found(called(row, p)) for row, p in zip(differences, adjusted, strict=True)], axis=0)
    single, cover = {}, {}
    for metric, row, true in zip(METRICS, differences, truth, strict=True):
        single[metric] = rate(is_found(called(row, np.array([d.p_value for d in row]))))
        cover[metric] = rate(np.array([d.interval[0] - 1e-12 <= true <= d.interval[1] + 1e-12 for d in row]))
    planted = plant_effects(world, prompts, differences) if plant else ({}, {}, {})
    return Found(world, prompts, rate(family), single, cover, *planted)


def plant_effects(
    world: World, prompts: int, stated: list[list[Difference]]
) -> tuple[dict[str, Rate], dict[str, float], dict[str, Rate]]:
    """New comparisons in which one metric differs by what the comparisons before said they could detect."""
    comparisons = len(stated[0])
    scores, traits = draw_scores(world, 2, comparisons, prompts)
    null = p_values(compare(scores, list(range(len(METRICS)))))
    power, median, equal = {}, {}, {}
    for number, metric in enumerate(METRICS):
        # what is not detectable at all is planted as large as it can be
        effects = np.array([detectable_effect(d) or np.nan for d in stated[number]])
        median[metric] = float(np.nanmedian(effects))
        verdicts, _ = _with_effect(scores, traits, null, number, effects, world)
        power[metric] = rate(is_found(verdicts[np.isfinite(effects)]))
        margin = np.full(comparisons, MARGINS[metric])
        equal[metric] = rate(_with_effect(scores, traits, null, number, margin, world)[1] == "EQUIVALENT")
    return power, median, equal


def _with_effect(
    scores: np.ndarray, traits: np.ndarray, null: np.ndarray, number: int, effect_C: np.ndarray, world: World
) -> tuple[np.ndarray, np.ndarray]:
    """Verdicts without and with the margin, when the candidate is worse by ``effect_C`` in one metric."""
    metric, effect_C = METRICS[number], np.nan_to_num(effect_C)
    planted = scores[:, [number]].copy()
    if metric in EVENTS:
        share = getattr(world.candidate, "passed" if metric == "passed" else "found")
        threshold_C = stats.norm.ppf(1 - np.clip(share - effect_C, 0.0, 1.0))
        planted[1, 0] = traits[0 if metric == "passed" else 1] > threshold_C[:, None]
    else:
        planted[1, 0] -= effect_C[:, None]
    (row,) = compare_one(planted, number)
    p = null.copy()
    p[number] = [difference.p_value for difference in row]
    adjusted = holm(p)[number]
    return called(row, adjusted), called(row, adjusted, MARGINS[metric])


def compare_one(planted: np.ndarray, number: int) -> list[list[Difference]]:
    """The differences of one metric alone; ``planted`` is (2, 1, comparisons, pictures)."""
    full = np.zeros((2, len(METRICS), *planted.shape[2:]))
    full[:, number] = planted[:, 0]
    return compare(full, [number])


@dataclass(frozen=True)
class RecipeFound:
    """Two recipes that are equally good, trained with several seeds each."""

    prompts: int
    spread: float  # standard deviation between training seeds, in standard errors of the comparison of two LoRAs
    trainings: int  # of each recipe; 1: no replica
    false: Rate
    cover: Rate
    power: Rate | None  # of a true difference of three standard errors of two LoRAs' comparison


def judge_recipes(prompts: int, spread: float, trainings: int, comparisons: int) -> RecipeFound:
    """How often two equal recipes are called different, by the LoRAs' own intervals or by the recipes'."""
    rng = np.random.default_rng([int(10 * spread), trainings, prompts])
    error = (2 * (0.03**2 + 0.05**2 + 0.06**2 / SEEDS) / prompts) ** 0.5  # of the mean difference of two LoRAs
    shape = (comparisons, trainings, prompts)
    easy = rng.normal(0.6, 0.07, (comparisons, 1, prompts))
    sides = []
    for _ in range(2):
        prompt = easy + rng.normal(0, 0.03, (comparisons, 1, prompts))  # what this recipe does to the prompt
        trained = rng.normal(0, spread * error, (comparisons, trainings, 1)) + rng.normal(0, 0.05, shape)
        sides.append(prompt + trained + rng.normal(0, 0.06 / SEEDS**0.5, shape))
    if trainings == 1:
        clusters = np.arange(prompts)
        rows = measure_differences(sides[0][:, 0], sides[1][:, 0], clusters, confidence=CONFIDENCE,
                                   resamples=RESAMPLES, seed=1, events=[False] * comparisons, family=1)  # fmt: skip
    else:
        rows = [measure_recipe(a, b, confidence=CONFIDENCE, family=1) for a, b in zip(*sides, strict=True)]
    intervals = np.array([row.interval for row in rows])
    covered = (intervals[:, 0] <= 0) & (intervals[:, 1] >= 0)
    moved = intervals[:, 0] + 3 * error > 0  # a difference only moves the interval
    return RecipeFound(prompts, spread, trainings, rate(~covered), rate(covered), rate(moved))


SPREADS, TRAININGS = (0.0, 0.5, 1.0, 2.0), (1, 2, 4)


def tables(comparisons: int) -> Iterator[str]:
    """The tables of docs/measuring_truth.md."""
    found = {(world.name, prompts): judge_world(world, prompts, comparisons, plant=world is SAME)
             for world in (SAME, SPREAD, LOST, LOSES) for prompts in PROMPTS}  # fmt: skip
    yield summary_table(found)
    yield metric_table([found[SAME.name, prompts] for prompts in PROMPTS])
    yield cover_table(found)
    yield recipe_table(comparisons)


def _row(*cells: object) -> str:
    return f"| {' | '.join(map(str, cells))} |"


def _table(head: list[str], rows: list[str]) -> str:
    return "\n".join([_row(*head), "|" + "---|" * len(head), *rows])


def summary_table(found: dict[tuple[str, int], Found]) -> str:
    rows = []
    for world in (SAME, SPREAD):
        for prompts in PROMPTS:
            it = found[world.name, prompts]
            worst = max(it.single, key=lambda metric: it.single[metric].value)
            rows.append(_row(world.name, prompts, it.family, f"{it.single[worst]}, {worst}"))
    return _table(["no difference: false IMPROVED or REGRESSED, %", "prompts", "any of 11 metrics, after Holm",
                   "worst single metric, not corrected"], rows)  # fmt: skip


def metric_table(found: list[Found]) -> str:
    rows = [
        _row(metric, it.prompts, it.single[metric], it.cover[metric], f"{it.detectable[metric]:.3g}",
             it.power[metric], it.equal[metric])
        for metric in METRICS for it in found
    ]  # fmt: skip
    return _table(["metric", "prompts", "false alarms, %", "intervals that hold the truth, %", "detectable (median)",
                   "found when planted, %", "margin planted, called EQUIVALENT, %"], rows)  # fmt: skip


def cover_table(found: dict[tuple[str, int], Found]) -> str:
    rows = []
    for world in (SPREAD, LOST, LOSES):
        for metric in METRICS:
            rates = [found[world.name, prompts].cover[metric] for prompts in PROMPTS]
            rows.append(_row(world.name, metric, *rates))
    return _table(["intervals that hold the truth, %", "metric", *(f"{prompts} prompts" for prompts in PROMPTS)], rows)


def recipe_table(comparisons: int) -> str:
    rows = []
    for prompts in PROMPTS:
        for spread in SPREADS:
            of = [judge_recipes(prompts, spread, trainings, comparisons) for trainings in TRAININGS]
            rows.append(_row(prompts, spread, *(it.false for it in of), *(it.power for it in of[1:])))
    return _table(["prompts", "spread between trainings", "false: one training each, %", "false: 1 replica each",
                   "false: 3 replicas each", "found: 1 replica", "found: 3 replicas"], rows)  # fmt: skip


def write_docs(text: list[str]) -> None:
    """Put the tables between the markers of docs/measuring_truth.md."""
    page = DOCS.read_text(encoding="utf-8")
    for number, table in enumerate(text, start=1):
        begin, end = f"<!-- table {number} -->", f"<!-- end of table {number} -->"
        page, count = re.subn(rf"(?s){begin}.*?{end}", lambda _: f"{begin}\n{table}\n{end}", page)  # noqa: B023
        assert count == 1, begin
    DOCS.write_text(page, encoding="utf-8")


def main() -> None:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--comparisons", type=int, default=4000, help="of each kind")
    parser.add_argument("--write", action="store_true", help="put the tables into docs/measuring_truth.md")
    arguments = parser.parse_args()
    text = []
    for table in tables(arguments.comparisons):
        print(table, end="\n\n", flush=True)
        text.append(table)
    if arguments.write:
        write_docs(text)


if __name__ == "__main__":
    main()
