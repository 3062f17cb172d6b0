"""What stands beside the means of a scorecard: poses, agreement of the judges, diversity, memorisation, flags."""

import numpy as np
import pandas as pd

from stages.contracts.findings import (
    CONDITIONED,
    Agreement,
    Diversity,
    Flag,
    Interval,
    JudgeName,
    Memorisation,
    PoseFigures,
)
from stages.contracts.measure_settings import FlagLimits
from stages.contracts.settings import Eval
from stages.flows.judged import Judged, Rulers, view_sights, views_of
from stages.flows.picture_rows import landmarks_of
from stages.flows.scoring import References
from stages.measures.agreement import judges_disagree, rank_correlation
from stages.measures.bootstrap import cluster_interval
from stages.measures.diversity import cosine_distances, mean_of_pairs, shape_distances
from stages.measures.memorisation import Yardstick
from stages.measures.pose import POSES
from stages.measures.rulers import likeness_intervals
from stages.measures.skin import FEW_REFERENCES

JUDGES: tuple[JudgeName, ...] = ("faces", "second")


def interval_of(table: pd.DataFrame, column: str | pd.Series, settings: Eval) -> Interval:
    """Bootstrap interval of a column's mean over prompts; rows that lack the value are left out."""
    values = table[column] if isinstance(column, str) else column
    known = values.notna()
    low, high = cluster_interval(
        values[known].to_numpy(float), table.loc[known, "prompt_index"].tolist(),
        resamples=settings.bootstrap, seed=settings.seed,
    )  # fmt: skip
    return Interval(low=low, high=high)


def measure_likeness(judged: Judged, rulers: Rulers, settings: Eval) -> dict[JudgeName, dict[str, Interval]]:
    """Intervals of both judges' likeness, over all pictures and pose by pose."""
    return {
        judge: likeness_intervals(
            judged.sample("lora", judge), judged.sample("base", judge), judged.real(judge), rulers[judge],
            resamples=settings.bootstrap, seed=settings.seed,
        )
        for judge in JUDGES
    }  # fmt: skip


def describe_poses(ours: pd.DataFrame, intervals: dict[JudgeName, dict[str, Interval]]) -> dict[str, PoseFigures]:
    """Likeness pose by pose, as far as the version's pictures show one."""
    found = {}
    for pose in POSES:
        own = ours[ours["pose"] == pose]
        if len(own):
            found[pose] = PoseFigures(
                images=len(own), likeness=float(own["likeness"].mean()), likeness_interval=intervals["faces"][pose],
                second_likeness=float(own["second_likeness"].mean()),
                second_likeness_interval=intervals["second"][pose],
            )  # fmt: skip
    return found


def measure_agreement(ours: pd.DataFrame, mode: str, apart: float, settings: Eval) -> Agreement:
    """Whether the judges say the same of the version's pictures, and whether one of them could be fooled.

    Args:
        ours: rows of set ``lora``.
        mode: that they were drawn in.
        apart: ruler points from which on judges disagree.
        settings: of the bootstrap.
    """
    seen = ours[ours["face_found"] > 0]
    found = rank_correlation(
        seen["similarity"].to_numpy(float), seen["second_similarity"].to_numpy(float),
        seen["prompt_index"].to_numpy(), resamples=settings.bootstrap, seed=settings.seed,
    )  # fmt: skip
    gap = ours["likeness"] - ours["second_likeness"]
    interval, difference = interval_of(ours, gap, settings), float(gap.mean())
    disagree = judges_disagree(difference, (interval.low, interval.high), apart)
    conditioned = CONDITIONED.get(mode)
    return Agreement(
        images=len(seen), correlation=found and found[0],
        correlation_interval=found and Interval(low=found[1][0], high=found[1][1]), difference=difference,
        difference_interval=interval, disagree=disagree, conditioned=conditioned,
        alarm=disagree and conditioned is not None,
    )  # fmt: skip


def measure_diversity(judged: Judged, ours: pd.DataFrame, base: pd.DataFrame, settings: Eval) -> Diversity:
    """How much the version's pictures differ, beside the base model's and the person's photos."""
    photos, scores = judged.photos, judged.scores["lora"]
    shown = np.concatenate([views_of(photos.scores).shows_ND, view_sights(photos.references.sights).shows_ND])
    shapes = landmarks_of(photos.scores) + [s.face.landmarks if s.face else None for s in photos.references.sights]
    moments = [photo.group for photo in (*photos.train, *photos.holdout)]

    def within(table: pd.DataFrame, column: str) -> float | None:
        return float(table[column].mean()) if table[column].notna().any() else None

    def spread(column: str) -> Interval | None:
        return interval_of(ours, column, settings) if ours[column].notna().any() else None

    return Diversity(
        within=within(ours, "diversity"), within_interval=spread("diversity"), base_within=within(base, "diversity"),
        across=mean_of_pairs(cosine_distances(views_of(scores).shows_ND)),
        real=mean_of_pairs(cosine_distances(shown), moments), pose_within=within(ours, "pose_diversity"),
        pose_within_interval=spread("pose_diversity"), base_pose_within=within(base, "pose_diversity"),
        pose_across=mean_of_pairs(shape_distances(landmarks_of(scores))),
        pose_real=mean_of_pairs(shape_distances(shapes), moments),
    )  # fmt: skip


def measure_memorisation(ours: pd.DataFrame, base: pd.DataFrame, yardstick: Yardstick, settings: Eval) -> Memorisation:
    """The share of pictures that are closer to a training photo than real photos are."""
    return Memorisation(
        share=float(ours["memorised"].mean()), share_interval=interval_of(ours, "memorised", settings),
        base_share=float(base["memorised"].mean()), limit=yardstick.limit, photos=yardstick.photos,
    )  # fmt: skip


def raise_flags(
    likeness: tuple[float, Interval], prior: tuple[float, Interval], memorisation: Memorisation, ours: pd.DataFrame,
    limits: FlagLimits,
) -> list[Flag]:  # fmt: skip
    """The four flags, up or down.  One is up where the whole interval lies beyond its limit.

    Args:
        likeness: by the judge that decides, with its interval; ruler points.
        prior: prior preservation, with its interval; points.
        memorisation: of the version's pictures.
        ours: rows of set ``lora``.
        limits: thresholds.flags.
    """
    alike, (kept, keeping) = likeness[1], prior
    close = ours.iloc[int(ours["closeness"].to_numpy().argmax())]
    copies = int(ours["memorised"].sum())
    return [
        _flag("copying", likeness, limits.copying, alike.low > limits.copying,
              f"likeness {_said(*likeness)}; above {limits.copying:g} pictures are more alike than real photos are"),
        _flag("wrong_identity", likeness, limits.wrong_identity, alike.high < limits.wrong_identity,
              f"likeness {_said(*likeness)}; below {limits.wrong_identity:g} the LoRA draws somebody else"),
        _flag("leaking", prior, limits.leaking, keeping.high < limits.leaking,
              f"prior preservation {_said(kept, keeping)}; below {limits.leaking:g} the class word alone draws this "
              "person"),
        _flag("memorising", (memorisation.share, memorisation.share_interval), limits.memorised,
              memorisation.share_interval.low > limits.memorised,
              f"{copies} of {len(ours)} pictures are closer to a training photo than {limits.closer_than:.0%} of real "
              f"photos are, the closest is {close['file']}, like {close['nearest_photo']}"),
    ]  # fmt: skip


def _flag(name: str, figure: tuple[float, Interval], limit: float, raised: bool, says: str) -> Flag:
    return Flag.model_validate(
        {"name": name, "raised": bool(raised), "value": figure[0], "interval": figure[1], "limit": limit, "says": says}
    )


def _said(value: float, interval: Interval) -> str:
    return f"{value:.0f} ({interval.low:.0f} to {interval.high:.0f})"


def warn_of_references(references: References) -> list[str]:
    """What the reader should know about the references."""
    few = f"Only {references.skin.count} holdout photos show skin; below {FEW_REFERENCES} the skin scores are unsure."
    lost = f"In {references.faceless} holdout photos no face was found; they are no references."
    return [*([few] if references.skin.few else []), *([lost] if references.faceless else [])]
