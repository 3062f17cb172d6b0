"""The scorecard against its table: every field is the mean that its name says, of the set that it says."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from judgements import PLACES, POSE, make_judged
from workspaces import PARAMS

from stages.contracts.scorecard import Cell, Scorecard
from stages.contracts.settings import Eval, Thresholds, Weights
from stages.flows.calibration import calibrate
from stages.flows.findings import interval_of, raise_flags
from stages.flows.judged import Judged, measure_rulers
from stages.flows.picture_rows import measure_yardstick, table_rows
from stages.flows.scorecards import make_scorecard, training_params
from stages.measures.diversity import shape_distances

SETTINGS = Eval(**PARAMS["eval"])
THRESHOLDS = Thresholds(face_pass=0.59, second_pass=0.85, weights=Weights(likeness=0.6, skin=0.4))
CELL = Cell(
    base="base", mode="lora", checkpoint=1, lora="x", guidance=2.0, sampler="ddim", strength=1.0, images=1,
    similarity_mean=0.5, pass_rate=0.5, detection_rate=1.0,
)  # fmt: skip


def judge(judged: Judged, mode: str = "lora", **changes: Any) -> tuple[Scorecard, pd.DataFrame]:
    rulers = measure_rulers(judged.shots["base"], judged.scores["base"], judged.photos, POSE, SETTINGS.pose_photos)
    yardstick = measure_yardstick(judged.photos, 0.5)
    thresholds = THRESHOLDS.model_copy(update=changes)
    rows = table_rows(judged, rulers, yardstick, thresholds)
    origin = {
        "run_id": "r", "lora_version": "v", "lora_sha256": "", "protocol": "", "dataset": "d", "notes": "",
        "dataset_manifest_sha256": "", "training_params": {}, "best_config": CELL.model_copy(update={"mode": mode}),
        "worst_config": CELL, "thresholds": {}, "licences": {},
    }  # fmt: skip
    card = make_scorecard(judged, rows, rulers, yardstick, origin, SETTINGS, thresholds, ["a warning"])
    return card, pd.DataFrame(rows)


@pytest.fixture(scope="module")
def judged() -> Judged:
    return make_judged()


@pytest.mark.parametrize(
    ("field", "name", "column"),
    [
        ("face_detection_rate", "lora", "face_found"), ("face_similarity_mean", "lora", "similarity"),
        ("face_similarity_pass", "lora", "passed"), ("second_similarity_mean", "lora", "second_similarity"),
        ("likeness", "lora", "likeness"), ("second_likeness", "lora", "second_likeness"),
        ("texture_score", "lora", "texture_score"), ("color_naturalness_score", "lora", "color_naturalness_score"),
        ("skin_realism_mean", "lora", "realism_score"), ("prompt_adherence_mean", "lora", "adherence"),
        ("base_prompt_adherence_mean", "base", "adherence"), ("prior_preservation", "lora", "prior_preservation"),
        ("texture_z", "lora", "texture_z"), ("tone_z", "lora", "tone_z"),
    ],
)  # fmt: skip
def test_a_figure_is_the_mean_of_its_column(judged: Judged, field: str, name: str, column: str) -> None:
    card, table = judge(judged)
    assert getattr(card, field) == pytest.approx(table[table["set"] == name][column].mean())


def test_intervals_are_of_the_version_s_own_columns(judged: Judged) -> None:
    card, table = judge(judged)
    ours = table[table["set"] == "lora"]
    assert card.images_evaluated == len(PLACES)
    assert card.face_similarity_interval == interval_of(ours, "similarity", SETTINGS)
    assert card.second_similarity_interval == interval_of(ours, "second_similarity", SETTINGS)
    assert card.prior_preservation_interval == interval_of(ours, "prior_preservation", SETTINGS)
    assert card.likeness_interval.low < card.likeness < card.likeness_interval.high
    assert card.second_likeness_interval.low < card.second_likeness < card.second_likeness_interval.high
    assert card.likeness_interval != card.second_likeness_interval
    assert card.warnings == ["a warning"]
    real = [score.similarity for score in judged.photos.scores]
    again = [score.second_similarity for score in judged.photos.scores]
    assert (card.anchors.real, card.second_anchors.real) == (
        pytest.approx(np.mean(real)),
        pytest.approx(np.mean(again)),
    )


@pytest.mark.parametrize(("mode", "decides"), [("lora", "likeness"), ("lora+instantid", "second_likeness")])
def test_the_judge_that_decides_makes_score_grade_and_flags(judged: Judged, mode: str, decides: str) -> None:
    card, _ = judge(judged, mode)
    alike = min(max(getattr(card, decides) / 100, 0), 1)
    assert card.overall_score == pytest.approx(0.6 * alike + 0.4 * card.skin_realism_mean)
    assert card.overall_grade == THRESHOLDS.grades.of(card.overall_score)
    copying, stranger, leaking, memorising = card.flags
    for flag in (copying, stranger):
        assert (flag.value, flag.interval) == (getattr(card, decides), getattr(card, f"{decides}_interval"))
    assert (leaking.value, leaking.interval) == (card.prior_preservation, card.prior_preservation_interval)
    assert card.memorisation is not None
    assert (memorising.value, memorising.interval) == (card.memorisation.share, card.memorisation.share_interval)
    assert card.agreement is not None
    assert card.agreement.difference == pytest.approx(card.likeness - card.second_likeness)
    assert card.agreement.images == 5  # one of six has no face


def test_poses_have_their_own_means_under_both_judges(judged: Judged) -> None:
    card, table = judge(judged)
    ours = table[(table["set"] == "lora") & (table["face_found"] > 0)]
    assert {pose: figures.images for pose, figures in card.poses.items()} == ours.groupby("pose").size().to_dict()
    for pose, figures in card.poses.items():
        own = ours[ours["pose"] == pose]
        assert figures.likeness == pytest.approx(own["likeness"].mean())
        assert figures.second_likeness == pytest.approx(own["second_likeness"].mean())
        assert figures.likeness_interval.low <= figures.likeness <= figures.likeness_interval.high
        assert figures.second_likeness_interval.low <= figures.second_likeness <= figures.second_likeness_interval.high


def test_diversity_stands_beside_the_base_model_s_and_that_of_photos_of_different_moments(judged: Judged) -> None:
    card, table = judge(judged)
    assert card.diversity is not None
    ours, base = table[table["set"] == "lora"], table[table["set"] == "base"]
    found = card.diversity
    assert (found.within, found.base_within) == (
        pytest.approx(ours["diversity"].mean()), pytest.approx(base["diversity"].mean())
    )  # fmt: skip
    assert (found.pose_within, found.base_pose_within) == (
        pytest.approx(ours["pose_diversity"].mean()), pytest.approx(base["pose_diversity"].mean())
    )  # fmt: skip
    assert found.within_interval == interval_of(ours, "diversity", SETTINGS)
    assert found.pose_within_interval == interval_of(ours, "pose_diversity", SETTINGS)
    scores = judged.scores["lora"]
    pairs = [(i, j) for i in range(len(scores)) for j in range(i)]
    shows = [score.sight.shows.astype(float) for score in scores]
    assert found.across == pytest.approx(np.mean([1 - shows[i] @ shows[j] for i, j in pairs]))
    shapes = shape_distances([score.sight.face.landmarks if score.sight.face else None for score in scores])
    assert found.pose_across == pytest.approx(np.nanmean([shapes[i, j] for i, j in pairs]))
    photos = [*judged.photos.train, *judged.photos.holdout]
    seen = [*(score.sight for score in judged.photos.scores), *judged.photos.references.sights]
    apart = [(i, j) for i in range(len(seen)) for j in range(i) if photos[i].group != photos[j].group]
    assert len(apart) < len(seen) * (len(seen) - 1) / 2
    assert found.real == pytest.approx(
        np.mean([1 - seen[i].shows.astype(float) @ seen[j].shows.astype(float) for i, j in apart])
    )
    shapes = shape_distances([sight.face.landmarks if sight.face else None for sight in seen])
    assert found.pose_real == pytest.approx(np.mean([shapes[i, j] for i, j in apart]))


def test_memorisation_is_counted_for_the_version_and_for_the_base_model(judged: Judged) -> None:
    card, table = judge(judged)
    assert card.memorisation is not None
    assert card.memorisation.share == pytest.approx(table[table["set"] == "lora"]["memorised"].mean())
    assert card.memorisation.base_share == pytest.approx(table[table["set"] == "base"]["memorised"].mean())
    assert card.memorisation.photos == 9


def test_every_flag_s_sentence_says_its_own_figures(judged: Judged) -> None:
    card, table = judge(judged)
    ours = table[table["set"] == "lora"].assign(closeness=[1.0, 9.0, 3.0, 2.0, 0.0, 4.0], memorised=[1, 1, 0, 0, 1, 0])
    ours["nearest_photo"] = [f"{n}.jpg" for n in range(6)]
    assert card.memorisation is not None
    points = card.likeness_interval.model_copy(update={"low": 61.4, "high": 88.6})
    kept = card.likeness_interval.model_copy(update={"low": -5.6, "high": 20.4})
    limits = THRESHOLDS.flags.model_copy(
        update={"copying": 105.0, "wrong_identity": 30.0, "leaking": 45.0, "closer_than": 0.95}
    )
    says = [flag.says for flag in raise_flags((74.6, points), (12.4, kept), card.memorisation, ours, limits)]
    assert says == [
        "likeness 75 (61 to 89); above 105 pictures are more alike than real photos are",
        "likeness 75 (61 to 89); below 30 the LoRA draws somebody else",
        "prior preservation 12 (-6 to 20); below 45 the class word alone draws this person",
        "3 of 6 pictures are closer to a training photo than 95% of real photos are, the closest is lora/0_5.png, like "
        "1.jpg",
    ]


def test_a_calibration_counts_moments_class_images_and_the_base_model_s_faces_judge_by_judge() -> None:
    judged = make_judged(lost=(("base", 2), ("lora", 0)))
    found = calibrate(judged, THRESHOLDS, "amira")
    assert (found.dataset, found.references, found.class_images, found.base_pictures) == ("amira", 3, 2, 5)
    own = [judged.photos.scores[n] for n in (0, 2, 3, 4, 5)]  # the first of each moment
    strangers = [*judged.others, *(score for score in judged.scores["base"] if score.face_found)]
    for name, threshold, part in (("similarity", 0.59, found.faces), ("second_similarity", 0.85, found.second)):
        genuine, impostor = ([getattr(score, name) for score in some] for some in (own, strangers))
        assert part.genuine == pytest.approx(sorted(genuine), abs=1e-4)
        assert part.impostor == pytest.approx(sorted(impostor), abs=1e-4)
        assert part.threshold == threshold
        assert part.frr.count == sum(value < threshold for value in genuine)
        assert part.far.count == sum(value >= threshold for value in impostor)
        assert part.strict.far == THRESHOLDS.calibration.far


def test_a_lora_s_header_gives_its_settings_and_neither_hashes_nor_listings() -> None:
    header = {"ss_steps": "300", "modelspec.title": "x", "sshs_model_hash": "1", "modelspec.hash_sha256": "2",
              "other": "3",
              "ss_tag_frequency": "t" * 201, "ss_comment": "c" * 200, "ss_a_hash": "4"}  # fmt: skip
    assert list(training_params(header).items()) == [
        ("modelspec.title", "x"), ("ss_comment", "c" * 200), ("ss_steps", "300")
    ]  # fmt: skip
