"""Rows of per_image.csv against the same figures worked out one by one."""

from typing import Any

import numpy as np
import pytest
from judgements import GROUPS, HELD, PLACES, POSE, make_judged

from stages.contracts.settings import Thresholds
from stages.flows.judged import Judged, measure_rulers
from stages.flows.picture_rows import measure_yardstick, table_rows
from stages.measures.pose import estimate_yaw

BAR = 0.59
POOLED = 1000  # photos that no pose has: every picture is measured on the ruler of all poses


def rows_of(judged: Judged, fewest: int = POOLED, closer_than: float = 0.5) -> list[dict[str, Any]]:
    rulers = measure_rulers(judged.shots["base"], judged.scores["base"], judged.photos, POSE, fewest)
    return table_rows(judged, rulers, measure_yardstick(judged.photos, closer_than), Thresholds(face_pass=BAR))


@pytest.fixture(scope="module")
def judged() -> Judged:
    return make_judged()


@pytest.fixture(scope="module")
def rows(judged: Judged) -> list[dict[str, Any]]:
    return rows_of(judged)


def test_rows_come_set_by_set_each_with_what_its_own_picture_scored(judged: Judged, rows: list[dict[str, Any]]) -> None:
    places = [(name, *place) for name in ("lora", "base", "class") for place in PLACES]
    assert [(row["set"], row["prompt_index"], row["seed"]) for row in rows] == places
    for row, score in zip(rows, [s for name in ("lora", "base", "class") for s in judged.scores[name]], strict=True):
        assert row["file"] == f"{row['set']}/{row['prompt_index']}_{row['seed']}.png"
        assert row["prompt"] == f"prompt {row['prompt_index']}"
        assert (row["similarity"], row["second_similarity"]) == (score.similarity, score.second_similarity)
        assert (row["texture_score"], row["color_naturalness_score"]) == (score.skin.texture, score.skin.tone)
        assert row["realism_score"] == pytest.approx((score.skin.texture * score.skin.tone) ** 0.5)
        assert (row["texture_z"], row["tone_z"]) == pytest.approx(
            (score.skin.texture_z, score.skin.tone_z), nan_ok=True
        )
        assert (row["adherence"], row["face_found"]) == (score.adherence, int(score.face_found))
        assert row["passed"] == int(score.face_found and score.similarity >= BAR)


def test_a_picture_without_a_face_has_no_pose_and_the_others_have_that_of_their_landmarks(
    judged: Judged, rows: list[dict[str, Any]]
) -> None:
    lost = rows[4]
    assert (lost["pose"], lost["passed"], lost["similarity"]) == ("no face", 0, 0.0)
    assert np.isnan([lost["yaw"], lost["pose_diversity"], lost["texture_z"]]).all()
    for row, score in zip(rows[: len(PLACES)], judged.scores["lora"], strict=True):
        if score.sight.face:
            assert row["yaw"] == pytest.approx(estimate_yaw(score.sight.face.landmarks, 0.5))
            turned = abs(row["yaw"])
            assert row["pose"] == ("frontal" if turned < 20 else "half profile" if turned < 50 else "profile")
    assert len({row["pose"] for row in rows}) == 4


@pytest.mark.parametrize("judge", ["", "second_"])
def test_likeness_is_0_where_the_base_model_and_100_where_the_training_photos_stand(
    judged: Judged, rows: list[dict[str, Any]], judge: str
) -> None:
    base = np.mean([getattr(score, f"{judge}similarity") for score in judged.scores["base"]])
    real = np.mean([getattr(score, f"{judge}similarity") for score in judged.photos.scores])
    for row in rows:
        assert row[f"{judge}likeness"] == pytest.approx(100 * (row[f"{judge}similarity"] - base) / (real - base))


def test_prior_preservation_is_that_of_the_same_prompt_and_seed_without_the_trigger(rows: list[dict[str, Any]]) -> None:
    nameless = {(row["prompt_index"], row["seed"]): row["likeness"] for row in rows if row["set"] == "class"}
    for row in rows:
        own = nameless[row["prompt_index"], row["seed"]] if row["set"] == "lora" else row["likeness"]
        assert row["prior_preservation"] == pytest.approx(100 - own)


def test_diversity_is_the_mean_distance_to_the_other_pictures_of_the_prompt_in_the_same_set(
    judged: Judged, rows: list[dict[str, Any]]
) -> None:
    for name, own in (("lora", rows[:6]), ("base", rows[6:12])):
        shows = [score.sight.shows.astype(float) for score in judged.scores[name]]
        for i, row in enumerate(own):
            others = [j for j, place in enumerate(PLACES) if place[0] == PLACES[i][0] and j != i]
            found = np.mean([1 - shows[i] @ shows[j] for j in others]) if others else np.nan
            assert row["diversity"] == pytest.approx(found, nan_ok=True)
    assert np.isnan(rows[5]["diversity"])


def bits(one: int, other: int) -> int:
    return (one ^ other).bit_count()


def test_the_closest_training_photo_is_named_by_what_and_where_it_shows(
    judged: Judged, rows: list[dict[str, Any]]
) -> None:
    train = [score.sight for score in judged.photos.scores]
    everyone, moments = [*judged.photos.references.sights, *train], [*HELD, *GROUPS]

    def compare(one: Any, photo: Any) -> tuple[float, int]:
        cosine = float(one.shows.astype(float) @ photo.shows.astype(float))
        return cosine, min(bits(side, photo.hashes[0]) for side in one.hashes)

    pairs = [[compare(one, photo) for photo in train] for one in everyone]
    apart = [[own != group for group in GROUPS] for own in moments]
    known = np.array([p for row, far in zip(pairs, apart, strict=True) for p, ok in zip(row, far, strict=True) if ok])
    mean, spread = known.mean(axis=0), known.std(axis=0)

    def close(pair: tuple[float, int]) -> float:
        return float((pair[0] - mean[0]) / spread[0] + (mean[1] - pair[1]) / spread[1])

    found = [max(close(p) for p, ok in zip(row, far, strict=True) if ok) for row, far in zip(pairs, apart, strict=True)]
    limit = np.quantile(found, 0.5)
    for row, score in zip(rows, [s for name in ("lora", "base", "class") for s in judged.scores[name]], strict=True):
        each = [compare(score.sight, photo) for photo in train]
        best = max(range(len(train)), key=lambda n: close(each[n]))
        assert row["nearest_photo"] == f"train{best}.jpg"
        assert (row["nearest_similarity"], row["nearest_bits"]) == (pytest.approx(each[best][0]), each[best][1])
        assert row["closeness"] == pytest.approx(close(each[best]))
        assert row["memorised"] == int(close(each[best]) > limit)
    assert {row["memorised"] for row in rows} == {0, 1}


def test_a_pose_that_photos_show_has_a_ruler_of_its_own(judged: Judged) -> None:
    rows = rows_of(judged, fewest=1)
    base = [row for row in rows if row["set"] == "base"]
    poses = {row["pose"] for row in base}
    assert len(poses) > 1
    for pose in poses:
        assert np.mean([row["likeness"] for row in base if row["pose"] == pose]) == pytest.approx(0, abs=60)
