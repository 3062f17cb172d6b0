"""Two versions' pictures, matched by prompt and seed, compared metric by metric, and the policy that recommends."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from stages.contracts.comparison import EVENTS, METRICS, MetricComparison, Recommendation
from stages.contracts.scorecard import PER_IMAGE_COLUMNS, Interval
from stages.contracts.settings import Compare
from stages.flows.recipes import compare_recipes
from stages.measures.difference import measure_differences
from stages.measures.verdict import adjust_holm, decide_verdict, detectable_effect, more_pictures
from stages.runtime.errors import UserError
from stages.runtime.seeds import derive_seed


@dataclass(frozen=True)
class Pictures:
    """The rows of per_image.csv that show the version itself (set ``lora``), sorted by prompt and seed."""

    source: Path
    prompt_index_N: np.ndarray
    seed_N: np.ndarray
    prompts: tuple[str, ...]
    values: dict[str, np.ndarray]  # metric -> float64 (N,)


def read_pictures_table(path: Path, face_pass: float) -> Pictures:
    """Read per_image.csv; ``passed`` is judged anew with today's ``face_pass``: both versions meet one bar.

    Raises:
        UserError: when it is missing, lacks a column, or holds no picture of the version, one twice or a bad number.
    """
    import pandas as pd

    try:
        table = pd.read_csv(path, float_precision="round_trip", dtype={"prompt": str, "set": str})
    except FileNotFoundError:
        raise UserError(path, "not found", "run `dvc repro eval`") from None
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise UserError(path, f"not a table ({error})", "run `dvc repro eval`") from None
    missing = [column for column in PER_IMAGE_COLUMNS if column not in table.columns]
    if missing:
        raise UserError(path, f"lacks the columns {', '.join(missing)}", "evaluate this version again")
    table = table[table["set"] == "lora"].sort_values(["prompt_index", "seed"], kind="stable")
    if table.empty or table.duplicated(["prompt_index", "seed"]).any():
        what = "holds no picture of the version (set lora)" if table.empty else "holds a prompt and seed twice"
        raise UserError(path, what, "evaluate this version again")
    values = {metric: pd.to_numeric(table[metric], errors="coerce").to_numpy(np.float64) for metric in METRICS}
    broken = [metric for metric, value_N in values.items() if not np.isfinite(value_N).all()]
    if broken:
        raise UserError(path, f"not a number in: {', '.join(broken)}", "evaluate this version again")
    values["passed"] = ((values["similarity"] >= face_pass) & (values["face_found"] > 0)).astype(np.float64)
    return Pictures(
        source=path, prompt_index_N=table["prompt_index"].to_numpy(np.int64), seed_N=table["seed"].to_numpy(np.int64),
        prompts=tuple(table["prompt"].astype(str)), values=values,
    )  # fmt: skip


def check_paired(baseline: Pictures, candidate: Pictures) -> None:
    """Refuse tables that do not show the same prompts and seeds.

    Raises:
        UserError: naming the first pair that one of them lacks.
    """
    keys = [set(zip(p.prompt_index_N.tolist(), p.seed_N.tolist(), strict=True)) for p in (baseline, candidate)]
    odd = sorted(keys[0] ^ keys[1])
    if odd:
        lacking = baseline if odd[0] in keys[1] else candidate
        what = f"lacks prompt {odd[0][0]} with seed {odd[0][1]} ({len(odd)} pictures have no partner)"
        raise UserError(lacking.source, what, "evaluate both versions on the same prompts and seeds")


def compare_metrics(
    baseline: Pictures,
    candidate: Pictures,
    settings: Compare,
    replicas: tuple[Sequence[Pictures], Sequence[Pictures]] = ((), ()),
) -> list[MetricComparison]:
    """Every metric's paired difference with interval, Holm-corrected p-value and verdict, in the order of METRICS.

    ``replicas``: the pictures of either recipe trained with other seeds; with any, the recipes are compared too.
    """
    for other in (candidate, *replicas[0], *replicas[1]):
        check_paired(baseline, other)
    differences = measure_differences(
        table_of(baseline), table_of(candidate), candidate.prompt_index_N, confidence=settings.confidence,
        resamples=settings.bootstrap, seed=derive_seed(settings.seed, "compare"),
        events=[metric in EVENTS for metric in METRICS], family=len(METRICS),
    )  # fmt: skip
    adjusted = adjust_holm(np.array([difference.p_value for difference in differences]))
    trained = [
        [table_of(pictures) for pictures in (own, *others)]
        for own, others in zip((baseline, candidate), replicas, strict=True)
    ]
    recipes = compare_recipes(trained[0], trained[1], candidate.prompt_index_N, settings)
    compared = []
    for metric, difference, p_adjusted in zip(METRICS, differences, adjusted.tolist(), strict=True):
        margin = settings.equivalence.get(metric, 0.0)
        verdict = decide_verdict(difference.interval, p_adjusted, margin=margin, confidence=settings.confidence)
        more = more_pictures(difference, margin=margin) if verdict == "INCONCLUSIVE" else None
        interval = difference.interval and Interval(low=difference.interval[0], high=difference.interval[1])
        compared.append(
            MetricComparison(
                metric=metric, baseline=difference.baseline, candidate=difference.candidate, delta=difference.delta,
                interval=interval, verdict=verdict, p_value=difference.p_value, p_adjusted=p_adjusted, more_images=more,
                detectable=detectable_effect(difference, margin=margin), margin=margin,
                guarded=metric in settings.guarded, method=difference.method, recipe=recipes.get(metric),
            )
        )  # fmt: skip
    return compared


def table_of(pictures: Pictures) -> np.ndarray:
    """The scores, metrics by pictures, in the order of METRICS."""
    return np.stack([pictures.values[metric] for metric in METRICS])


def describe_metrics(pictures: Pictures, settings: Compare) -> list[MetricComparison]:
    """The candidate's values alone: there is no baseline."""
    _, index_N = np.unique(pictures.prompt_index_N, return_inverse=True)
    size_K = np.bincount(index_N)
    return [
        MetricComparison(
            metric=metric, candidate=float(np.mean(np.bincount(index_N, weights=pictures.values[metric]) / size_K)),
            margin=settings.equivalence.get(metric, 0.0), guarded=metric in settings.guarded,
        )
        for metric in METRICS
    ]  # fmt: skip


def recommend(metrics: list[MetricComparison], *, comparable: bool) -> Recommendation:
    """The policy: adopt what improves something and worsens nothing; a regression of a guarded metric forbids it."""
    if not comparable:
        return Recommendation(action="undecided", reason="There is no baseline to compare with.")
    by_verdict = {verdict: [m.metric for m in metrics if m.verdict == verdict] for verdict in ("IMPROVED", "REGRESSED")}
    improved, regressed = by_verdict["IMPROVED"], by_verdict["REGRESSED"]
    forbidden = [m.metric for m in metrics if m.guarded and m.metric in regressed]
    if forbidden:
        return Recommendation(action="keep", reason=f"Regressed on the guarded {_join(forbidden)}.")
    if improved and regressed:
        reason = f"A trade: improved on {_join(improved)}, regressed on {_join(regressed)}, none of these guarded."
        return Recommendation(action="undecided", reason=reason)
    if improved:
        return Recommendation(action="adopt", reason=f"Improved on {_join(improved)}, regressed on nothing.")
    if regressed:
        return Recommendation(action="keep", reason=f"Regressed on {_join(regressed)}, improved on nothing.")
    undecided = [m for m in metrics if m.verdict == "INCONCLUSIVE"]
    if not undecided:
        return Recommendation(action="keep", reason="Equivalent on every metric: nothing is gained by changing.")
    needs = [m.more_images for m in undecided if m.more_images is not None]
    hint = f"; about {min(needs)} more pictures on new prompts would settle the nearest" if needs else ""
    reason = f"No improvement is proven, and {_join([m.metric for m in undecided])} cannot be told apart yet{hint}."
    return Recommendation(action="undecided", reason=reason)


def _join(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
