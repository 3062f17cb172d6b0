"""What the report says beside the means."""

from typing import Any

from stages.contracts.calibration import Calibration, Threshold
from stages.contracts.findings import Agreement, Anchors, Diversity, Ends, Flag, Interval, Memorisation, PoseFigures
from stages.contracts.scorecard import PER_IMAGE_COLUMNS, Cell, Scorecard
from stages.contracts.settings import Thresholds
from stages.measures.calibration import false_accept, false_reject, measure_rate, strict_threshold
from stages.reports.findings import (
    render_calibration,
    render_flags,
    render_judges,
    render_other,
    render_poses,
)
from stages.reports.scorecard import markdown

AROUND = Interval(low=50.0, high=70.0)
CELL = Cell(
    base="base", mode="lora", checkpoint=400, lora="models/lora/x.safetensors", guidance=3.0, sampler="ddim",
    strength=0.8, images=8, similarity_mean=0.51, pass_rate=0.2, detection_rate=1.0,
)  # fmt: skip


def make_card(**changes: Any) -> Scorecard:
    values: dict[str, Any] = {
        "run_id": "abcdef012345", "lora_version": "v3", "lora_sha256": "1" * 64, "protocol": "2" * 64,
        "dataset": "amira", "dataset_manifest_sha256": "3" * 64, "training_params": {}, "notes": "",
        "images_evaluated": 4, "face_detection_rate": 0.75, "face_similarity_mean": 0.5,
        "face_similarity_interval": AROUND, "face_similarity_pass": 0.5, "second_similarity_mean": 0.45,
        "second_similarity_interval": AROUND, "likeness": 61.0, "likeness_interval": AROUND, "second_likeness": 55.0,
        "second_likeness_interval": AROUND,
        "anchors": Anchors(base=0.05, real=0.8, poses={"frontal": Ends(base=0.0, real=0.9, photos=12, pictures=30)}),
        "second_anchors": Anchors(base=0.1, real=0.7), "texture_score": 0.7, "color_naturalness_score": 0.5,
        "skin_realism_mean": 0.59, "prompt_adherence_mean": 0.3, "base_prompt_adherence_mean": 0.32,
        "prior_preservation": 88.0, "prior_preservation_interval": Interval(low=80.0, high=95.0),
        "overall_score": 0.6, "overall_grade": "C", "best_config": CELL, "worst_config": CELL,
        "thresholds": Thresholds().model_dump(mode="json"),
        "licences": {"faces": "non-commercial research only", "second": "Apache-2.0", "text_image": "MIT"},
    }  # fmt: skip
    return Scorecard(**(values | changes))


def agreement(**changes: Any) -> Agreement:
    values: dict[str, Any] = {
        "images": 40, "correlation": 0.49, "correlation_interval": Interval(low=0.21, high=0.68), "difference": 6.0,
        "difference_interval": Interval(low=-2.0, high=14.0), "disagree": False, "conditioned": None, "alarm": False,
    }  # fmt: skip
    return Agreement(**(values | changes))


def flag(name: str, raised: bool) -> Flag:
    return Flag(name=name, raised=raised, value=1.0, interval=AROUND, limit=2.0, says=f"{name} it is")  # type: ignore[arg-type]


def row(name: str, number: int, closeness: float) -> dict[str, Any]:
    own = {"set": name, "file": f"{name}/p{number:02d}.png", "closeness": closeness, "nearest_photo": f"{number}.jpg"}
    return dict.fromkeys(PER_IMAGE_COLUMNS, 0.5) | own | {"prompt": "a", "face_found": 1}


ROWS = [row("lora", number, float(number)) for number in range(5)] + [row("base", 0, 9.0)]


def test_flags_that_are_up_are_said_and_otherwise_that_none_is() -> None:
    up = render_flags(make_card(flags=[flag("leaking", True), flag("copying", False)]))
    assert up == "- **Leaking**: leaking it is."
    none = render_flags(make_card(flags=[flag("leaking", False), flag("wrong_identity", False)]))
    assert none == "No flag is up: not leaking, not wrong identity."
    assert render_flags(make_card()) == ""


def test_every_pose_says_on_whose_ruler_it_is_measured() -> None:
    figures = PoseFigures(
        images=9, likeness=60.0, likeness_interval=AROUND, second_likeness=55.0,
        second_likeness_interval=Interval(low=-4.4, high=64.6),
    )  # fmt: skip
    (table,) = render_poses(make_card(poses={"frontal": figures, "profile": figures}))
    assert "| frontal | 9 | 60 | 50 to 70 | 55 | -4 to 65 | its own (12 photos) |" in table
    assert "| profile | 9 | 60 | 50 to 70 | 55 | -4 to 65 | that of all poses |" in table
    assert render_poses(make_card()) == []


def test_the_judge_that_decides_is_named_with_what_both_have_in_common_and_whose_weights_are_bound() -> None:
    said = render_judges(make_card(agreement=agreement()))
    assert "face pack decides" in said
    assert "over 40 pictures with a face their similarities correlate with 0.49 (0.21 to 0.68; Spearman)" in said
    assert "+6 (-2 to 14)" in said
    assert "weights for non-commercial use only: face pack" in said
    assert "disagree" not in said


def test_an_alarm_goes_off_where_the_generator_was_given_a_judge_s_embedding_and_the_judges_disagree() -> None:
    alarmed = agreement(difference=30.0, disagree=True, conditioned="faces", alarm=True)
    cell = CELL.model_copy(update={"mode": "lora+instantid"})
    said = render_judges(
        make_card(agreement=alarmed, gating_judge="second", best_config=cell, likeness=85.0, second_likeness=55.0)
    )
    assert "second judge decides" in said
    assert "ALARM: the generator was given the face pack's embedding (mode lora+instantid)" in said
    assert "disagree by 30 points.** Believe the second judge" in said


def test_leakage_memorisation_diversity_and_skin_are_said_in_one_place() -> None:
    diversity = Diversity(
        within=0.01, within_interval=Interval(low=0.005, high=0.02), base_within=0.02, across=0.7, real=0.75,
        pose_within=None, pose_within_interval=None, base_pose_within=None, pose_across=0.06, pose_real=0.08,
    )  # fmt: skip
    found = Memorisation(share=0.25, share_interval=Interval(low=0.1, high=0.4), base_share=0.02, limit=5.0, photos=36)
    said = render_other(make_card(diversity=diversity, memorisation=found, texture_z=-2.04, tone_z=0.3), ROWS)
    assert "draws 12 points of this person (100 minus prior preservation, 88, 80 to 95)" in said
    assert "nearly all of 36 real photos are to one of another moment" in said
    assert "25% of the pictures (10% to 40%)" in said
    assert "base model 2%" in said
    assert "lora/p04.png (like 4.jpg), lora/p03.png (like 3.jpg), lora/p02.png (like 2.jpg)" in said
    assert "0.010 between pictures of one prompt (0.005 to 0.020; base model 0.020); 0.700 between all" in said
    assert "one picture per prompt; 0.060 between all, 0.080 between real photos" in said
    assert "texture -2.0 (below 0 smoother), tone +0.3" in said


def calibration(others: int) -> Calibration:
    import numpy as np

    own, strangers = np.linspace(0.5, 0.9, 20), np.linspace(-0.3, 0.5, others)
    judge = {
        "threshold": 0.6, "genuine": own.tolist(), "impostor": strangers.tolist(), "frr": false_reject(own, 0.6),
        "far": false_accept(strangers, 0.6), "strict": strict_threshold(own, strangers, 0.01), "warnings": [],
    }  # fmt: skip
    return Calibration(
        dataset="amira",
        references=10,
        class_images=others,
        base_pictures=0,
        faces=judge,
        second=judge,  # type: ignore[arg-type]
    )


def test_what_a_threshold_does_is_said_with_exact_intervals() -> None:
    said = render_calibration(calibration(500))
    assert "| face pack | 0.6 | 5 of 20: 25.0% (8.7% to 49.1%) | 0 of 500: 0.0% (0.0% to 0.7%) |" in said
    assert "other people are too few" not in said


def test_each_judge_has_a_line_of_its_own_and_who_was_asked_is_counted() -> None:
    judge = calibration(500).faces
    strict = Threshold(far=0.05, value=0.4444, low=0.4111, high=0.4777, frr=measure_rate(3, 12), needed=72)
    other = judge.model_copy(
        update={"threshold": 0.79, "frr": measure_rate(2, 16), "far": measure_rate(4, 32), "strict": strict}
    )
    both = calibration(500).model_copy(
        update={"references": 11, "class_images": 96, "base_pictures": 48, "second": other,
                "faces": judge.model_copy(update={"strict": strict.model_copy(update={"high": None})})}
    )  # fmt: skip
    head, _, faces, second, _, sentence = render_calibration(both).splitlines()
    assert "threshold for 5% of others" in head
    assert faces.endswith(
        "| 0.444 (0.411 or more; an interval takes 72 other people) | 3 of 12: 25.0% (5.5% to 57.2%) |"
    )
    assert second == (
        "| second judge | 0.79 | 2 of 16: 12.5% (1.6% to 38.3%) | 4 of 32: 12.5% (3.5% to 29.0%) "
        "| 0.444 (0.411 to 0.478) | 3 of 12: 25.0% (5.5% to 57.2%) |"
    )
    assert "against 11 holdout photos. Other people: 96 class images and 48 pictures of the base model." in sentence


def test_where_other_people_are_too_few_the_strict_threshold_is_said_to_be_unknown() -> None:
    assert "unknown: 50 other people are too few" in render_calibration(calibration(50))
    assert "an interval takes 368 other people" in render_calibration(calibration(150))


def test_a_rate_of_nobody_is_said_to_be_one() -> None:
    alone = calibration(50)
    nobody = alone.faces.model_copy(update={"far": measure_rate(0, 0)})
    assert "| nobody to ask |" in render_calibration(alone.model_copy(update={"faces": nobody}))


def test_the_page_holds_all_of_it_and_the_advice() -> None:
    card = make_card(agreement=agreement(), flags=[flag("leaking", True)], warnings=["a warning"])
    page = markdown(card, ROWS, calibration(500), ["no left profile: add 2 or more"])
    order = [
        "**Leaking**",
        "a warning",
        "## Likeness",
        "## The two judges",
        "## The other side of likeness",
        "## Figures",
        "## What the thresholds do",
        "## Settings",
        "## Photos to add",
        "- no left profile",
        "## What it rests on",
    ]
    places = [page.index(part) for part in order]
    assert places == sorted(places)
    assert "None" not in page
    assert "nan" not in page
