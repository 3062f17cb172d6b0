"""Scores become rows of per_image.csv: likeness on the ruler of the pose, and what stands beside likeness."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from stages.contracts.paths import EVAL_IMAGES
from stages.contracts.settings import Thresholds
from stages.flows.judged import Judged, Photos, Rulers, pose_of, view_sights, views_of, yaw_of
from stages.flows.scoring import Score, Shot
from stages.measures.diversity import cosine_distances, mean_to_others, shape_distances
from stages.measures.memorisation import Yardstick, find_closest, make_yardstick
from stages.measures.rulers import place_on_ruler
from stages.runtime.errors import UserError

SETS = ("lora", "base", "class")


def measure_yardstick(photos: Photos, closer_than: float) -> Yardstick:
    """What is close among the person's own photos.

    Raises:
        UserError: when all photos show one moment.
    """
    moments = [np.array([photo.group for photo in side]) for side in (photos.train, photos.holdout)]
    try:
        return make_yardstick(
            views_of(photos.scores), moments[0], view_sights(photos.references.sights), moments[1], closer_than
        )
    except ValueError as error:
        raise UserError("photos", str(error), "add photos of other moments") from None


def table_rows(judged: Judged, rulers: Rulers, yardstick: Yardstick, thresholds: Thresholds) -> list[dict[str, Any]]:
    """Rows of per_image.csv, set by set, each as ordered as its shots."""
    rows = []
    for name in SETS:
        own = [
            _row(name, shot, score, judged) | {"passed": int(score.passes(thresholds.face_pass))}
            for shot, score in zip(judged.shots[name], judged.scores[name], strict=True)
        ]
        columns = {
            "likeness": _likeness(judged, rulers, name, "faces"),
            "second_likeness": _likeness(judged, rulers, name, "second"),
            **_distances(judged.shots[name], judged.scores[name]),
            **_closeness(judged, name, yardstick),
        }
        rows += [row | {column: values[i] for column, values in columns.items()} for i, row in enumerate(own)]
    _add_prior_preservation(rows)
    return rows


def _row(name: str, shot: Shot, score: Score, judged: Judged) -> dict[str, Any]:
    yaw, skin = yaw_of(score, judged.pose), score.skin
    return {
        "set": name, "prompt_index": shot.prompt_index, "prompt": shot.request.prompt, "seed": shot.request.seed,
        "file": shot.path.relative_to(EVAL_IMAGES).as_posix(), "face_found": int(score.face_found),
        "similarity": score.similarity, "second_similarity": score.second_similarity, "texture_score": skin.texture,
        "color_naturalness_score": skin.tone, "realism_score": skin.realism, "adherence": score.adherence,
        "yaw": float("nan") if yaw is None else yaw, "pose": pose_of(score, judged.pose),
        "texture_z": skin.texture_z, "tone_z": skin.tone_z,
    }  # fmt: skip


def _likeness(judged: Judged, rulers: Rulers, name: str, judge: Any) -> list[float]:
    sample = judged.sample(name, judge)
    return [float(value) for value in place_on_ruler(sample.similarity_N, sample.pose_N, rulers[judge])]


def _distances(shots: Sequence[Shot], scores: Sequence[Score]) -> dict[str, list[float]]:
    """Mean distance to the other pictures of the prompt: of what they show, and of the landmarks' shapes."""
    prompts = [shot.prompt_index for shot in shots]
    return {
        "diversity": mean_to_others(cosine_distances(views_of(scores).shows_ND), prompts).tolist(),
        "pose_diversity": mean_to_others(shape_distances(landmarks_of(scores)), prompts).tolist(),
    }


def landmarks_of(scores: Sequence[Score]) -> list[np.ndarray | None]:
    """The five landmarks of every picture; None without a face."""
    return [score.sight.face.landmarks if score.sight.face else None for score in scores]


def _closeness(judged: Judged, name: str, yardstick: Yardstick) -> dict[str, list[Any]]:
    closest = find_closest(views_of(judged.scores[name]), views_of(judged.photos.scores), yardstick)
    return {
        "nearest_photo": [judged.photos.train[int(index)].filename for index in closest.photo_N],
        "nearest_similarity": closest.cosine_N.tolist(),
        "nearest_bits": [int(bits) for bits in closest.bits_N],
        "closeness": closest.closeness_N.tolist(),
        "memorised": [int(value) for value in closest.closeness_N > yardstick.limit],
    }


def _add_prior_preservation(rows: Sequence[dict[str, Any]]) -> None:
    """Add to every row what the LoRA leaves of the class word: 100 minus the likeness that it draws without trigger.

    DreamBooth's prior preservation (Ruiz et al. 2022, arXiv:2208.12242, section 4.3: PRES) on the likeness ruler: of a
    version's picture the partner of the same prompt and seed in set ``class`` is asked, of any other picture itself.
    """
    alike = {(row["prompt_index"], row["seed"]): row["likeness"] for row in rows if row["set"] == "class"}
    for row in rows:
        own = row["set"] != "lora"
        row["prior_preservation"] = 100 - (row["likeness"] if own else alike[row["prompt_index"], row["seed"]])
