"""The report."""

from typing import Any

import pytest

from stages.contracts.findings import Anchors, Interval
from stages.contracts.scorecard import PER_IMAGE_COLUMNS, Cell, Scorecard
from stages.contracts.settings import Thresholds
from stages.reports.scorecard import RULER, draw_ruler, markdown

CELL = Cell(
    base="base", mode="lora", checkpoint=400, lora="models/lora/x.safetensors", guidance=3.0, sampler="ddim",
    strength=0.8, images=8, similarity_mean=0.51, pass_rate=0.2, detection_rate=1.0,
)  # fmt: skip


def make_card(**changes: Any) -> Scorecard:
    values: dict[str, Any] = {
        "run_id": "abcdef012345", "lora_version": "v3", "lora_sha256": "1" * 64, "protocol": "2" * 64,
        "dataset": "amira", "dataset_manifest_sha256": "3" * 64, "training_params": {}, "notes": "a remark",
        "images_evaluated": 4, "face_detection_rate": 0.75, "face_similarity_mean": 0.5,
        "face_similarity_interval": Interval(low=0.4, high=0.6), "face_similarity_pass": 0.5,
        "second_similarity_mean": 0.45, "second_similarity_interval": Interval(low=0.4, high=0.5), "likeness": 61.0,
        "likeness_interval": Interval(low=50.0, high=70.0), "second_likeness": 55.0,
        "second_likeness_interval": Interval(low=45.0, high=65.0), "anchors": Anchors(base=0.05, real=0.8),
        "second_anchors": Anchors(base=0.1, real=0.7), "texture_score": 0.7, "color_naturalness_score": 0.5,
        "skin_realism_mean": 0.59, "prompt_adherence_mean": 0.3, "base_prompt_adherence_mean": 0.32,
        "prior_preservation": 88.0, "prior_preservation_interval": Interval(low=80.0, high=95.0),
        "overall_score": 0.6, "overall_grade": "C", "best_config": CELL, "worst_config": CELL,
        "thresholds": Thresholds().model_dump(mode="json"),
        "licences": {"faces": "non-commercial research only", "second": "CC0", "text_image": "MIT"},
    }  # fmt: skip
    return Scorecard(**(values | changes))


def make_rows() -> list[dict[str, Any]]:
    rows = []
    for name, level in (("lora", 0.5), ("base", 0.1)):
        for number in range(7):
            row: dict[str, Any] = dict.fromkeys(PER_IMAGE_COLUMNS, level)
            similarity = 0.0 if number == 3 else level + number / 100
            row |= {"set": name, "prompt": f"a | b {number}", "file": f"{name}/p{number:02d}_s1.png",
                    "similarity": similarity, "face_found": int(number != 3)}  # fmt: skip
            rows.append(row)
    return rows


def test_the_grade_comes_first_and_the_whole_page_is_text() -> None:
    page = markdown(make_card(), make_rows())
    assert page.startswith("# amira v3: grade C, overall 0.60\n")
    assert page.endswith("\n")
    assert "None" not in page
    assert "nan" not in page


@pytest.mark.parametrize(
    "said",
    ["2" * 64, "non-commercial research only", "CC0", "MIT", "a remark", "likeness 0.7, skin 0.3", "3 of 4 pictures",
     "base model at raw cosine 0.050, real photos at 0.800"],
)  # fmt: skip
def test_the_page_names(said: str) -> None:
    assert said in markdown(make_card(), make_rows())


def test_figures_below_what_is_asked_for_are_marked_as_missed() -> None:
    page = markdown(make_card(), make_rows())
    assert "| skin texture | 0.70 |  | 0.10 | 0.60 | reached |" in page
    assert "| skin colour | 0.50 |  | 0.10 | 0.55 | missed |" in page


def test_the_weakest_pictures_are_the_lora_s_and_the_lost_face_leads() -> None:
    weakest = markdown(make_card(), make_rows()).split("## Weakest pictures")[1].split("##")[0]
    lines = [line for line in weakest.splitlines() if ".png" in line]
    assert len(lines) == 5
    assert lines[0].startswith("| lora/p03_s1.png | 0.000 | no | a \\| b 3 |")
    assert "base/" not in weakest


def test_judges_that_disagree_are_pointed_out() -> None:
    assert "disagree" not in markdown(make_card(), make_rows())
    assert "disagree by 31 points" in markdown(make_card(second_likeness=30.0), make_rows())


def test_warnings_follow_the_verdict() -> None:
    page = markdown(make_card(warnings=["Only 6 holdout photos show skin."]), make_rows())
    assert page.index("Only 6 holdout photos") < page.index("## Likeness")


@pytest.mark.parametrize(
    ("likeness", "place"), [(0.0, 0), (50.0, RULER // 2), (100.0, RULER), (500.0, RULER * 11 // 10)]
)
def test_the_ruler_puts_the_mark_where_the_likeness_is(likeness: float, place: int) -> None:
    line = draw_ruler("x", likeness, Interval(low=likeness, high=likeness))
    assert line.index("#") == 12 + RULER // 10 + place
    assert line.endswith(f"  {likeness:.0f}")


def test_the_interval_is_drawn_around_the_mark() -> None:
    line = draw_ruler("face pack", 50, Interval(low=40, high=60))
    assert line.count("=") == 10
    assert line.index("=") < line.index("#") < line.rindex("=")


def test_the_verdict_says_both_judges_likeness_and_what_stands_beside_it() -> None:
    card = make_card(second_likeness_interval=Interval(low=44.6, high=65.4), skin_realism_mean=0.587)
    assert markdown(card, make_rows()).splitlines()[2] == (
        "Likeness **61** of 100 (50 to 70); the second judge says **55** (45 to 65). A face is found in 3 of 4 "
        "pictures, skin realism is 0.59, prompt adherence 0.300 (base model 0.320)."
    )


def test_every_figure_stands_beside_its_own_interval_and_the_base_model_s_mean_of_the_same() -> None:
    rows = [{**row, **{name: 0.01 * i + 0.1 * (n % 2) for i, name in enumerate(PER_IMAGE_COLUMNS[5:], 5)},
             "set": "base" if n < 4 else "lora", "file": f"{n}.png", "prompt": "p"}
            for n, row in enumerate(make_rows()[:8])]  # fmt: skip
    card = make_card(
        face_similarity_mean=0.5011, face_similarity_pass=0.52, face_detection_rate=0.75,
        second_similarity_interval=Interval(low=0.41, high=0.49), texture_score=0.59,
        thresholds=Thresholds(face_pass=0.55, texture=0.6, colour=0.5, realism=0.59).model_dump(mode="json"),
    )  # fmt: skip
    found = markdown(card, rows).split("## Figures\n\n")[1].split("\n\n")[0].splitlines()[2:]
    base = {name: 0.01 * i + 0.05 for i, name in enumerate(PER_IMAGE_COLUMNS[5:], 5)}
    assert found == [
        f"| likeness, face pack | 61.0 | 50.0 to 70.0 | {base['likeness']:.1f} |  |  |",
        f"| likeness, second judge | 55.0 | 45.0 to 65.0 | {base['second_likeness']:.1f} |  |  |",
        f"| similarity, face pack | 0.501 | 0.400 to 0.600 | {base['similarity']:.3f} |  |  |",
        f"| similarity, second judge | 0.450 | 0.410 to 0.490 | {base['second_similarity']:.3f} |  |  |",
        f"| share with similarity of 0.55 or more | 0.52 |  | {base['passed']:.2f} |  |  |",
        f"| share with a face | 0.75 |  | {base['face_found']:.2f} |  |  |",
        f"| skin texture | 0.59 |  | {base['texture_score']:.2f} | 0.60 | missed |",
        f"| skin colour | 0.50 |  | {base['color_naturalness_score']:.2f} | 0.50 | reached |",
        f"| skin realism | 0.59 |  | {base['realism_score']:.2f} | 0.59 | reached |",
        f"| prompt adherence | 0.300 |  | {base['adherence']:.3f} |  |  |",
        "| prior preservation (the class word alone is somebody else) | 88 | 80 to 95 "
        f"| {base['prior_preservation']:.0f} |  |  |",
    ]


def test_the_best_and_the_worst_settings_keep_their_places() -> None:
    worst = CELL.model_copy(
        update={"base": "b2", "mode": "lora+instantid", "checkpoint": 100, "sampler": "euler", "guidance": 7.5,
                "strength": 1.0, "similarity_mean": 0.1234, "detection_rate": 0.375}
    )  # fmt: skip
    page = markdown(make_card(worst_config=worst), make_rows())
    assert "| best | base | lora | 400 | ddim | 3 | 0.8 | 0.510 | 100% |" in page
    assert "| worst | b2 | lora+instantid | 100 | euler | 7.5 | 1 | 0.123 | 38% |" in page


def test_what_it_rests_on_is_named_each_by_its_own_hash() -> None:
    rests = markdown(make_card(), make_rows()).split("## What it rests on\n\n")[1].splitlines()
    assert rests[0].startswith(f"- protocol `{'2' * 64}`")
    assert rests[1:3] == [f"- run `abcdef012345`, LoRA sha256 `{'1' * 64}`", f"- manifest sha256 `{'3' * 64}`"]
    assert rests[5:] == [
        "- licence of the judge faces: non-commercial research only", "- licence of the judge second: CC0",
        "- licence of the judge text image: MIT", "- notes: a remark",
    ]  # fmt: skip


def test_the_ends_of_both_rulers_are_said_judge_by_judge() -> None:
    page = markdown(make_card(), make_rows())
    assert "- face pack: base model at raw cosine 0.050, real photos at 0.800" in page
    assert "- second judge: base model at raw cosine 0.100, real photos at 0.700" in page


def test_the_scale_above_the_rulers_marks_their_two_ends() -> None:
    lines = markdown(make_card(likeness=30.0, likeness_interval=Interval(low=30, high=30)), make_rows()).splitlines()
    scale = next(line for line in lines if "0 base model" in line)
    ruler = next(line for line in lines if line.startswith("face pack  "))
    assert scale.index("0 base model") == ruler.index("|")
    assert len(scale) - 1 == ruler.rindex("|")
