"""Scorecard and comparison as the page's lines: every figure in its place and unit."""

import re
from typing import Any

from pages import make_calibration, make_card, make_comparison, make_content, make_flags, make_manifest

from stages.contracts.calibration import Rate
from stages.contracts.comparison import ConfigDifference, MetricComparison, Recommendation
from stages.contracts.findings import Diversity, Ends, Memorisation, PoseFigures
from stages.contracts.scorecard import Anchors, Interval
from stages.contracts.settings import Thresholds
from stages.reports.page import findings, views


def between(low: float, high: float) -> Interval:
    return Interval(low=low, high=high)


def test_tiles_hold_each_figure_against_its_own() -> None:
    card = make_card(
        likeness=74.4, likeness_interval=between(-3.4, 80.4), second_likeness=94.4,
        second_likeness_interval=between(90.4, 97.4), prior_preservation=81.6, prompt_adherence_mean=0.6034,
        base_prompt_adherence_mean=0.6054, skin_realism_mean=0.523, face_detection_rate=0.95, images_evaluated=40,
        thresholds=Thresholds(realism=0.65).model_dump(mode="json"), gating_judge="second",
    )  # fmt: skip
    assert views.tiles(card) == [
        ("Likeness, face pack", "74", "of 100 (−3 to 80)"),
        ("Likeness, second judge", "94", "of 100 (90 to 97), decides"),
        ("Prior preservation", "82", "of 100: the class word alone is somebody else"),
        ("Prompt adherence", "0.603", "base model 0.605"), ("Skin realism", "0.52", "asked for 0.65"),
        ("Faces found", "38", "in 40 pictures"),
    ]  # fmt: skip


def test_each_judge_s_line_has_its_own_value_interval_and_ends() -> None:
    card = make_card(
        likeness=74.0, likeness_interval=between(68, 80), anchors=Anchors(base=0.041, real=0.868),
        second_likeness=-20.0, second_likeness_interval=between(-30.0, -10.0),
        second_anchors=Anchors(base=0.139, real=0.943),
    )  # fmt: skip
    (first, second), labels = views.likeness_lines(card)
    assert (first.name, first.value, first.interval) == ("Face pack", "74", "68 to 80")
    assert (second.name, second.value, second.interval) == ("Second judge", "−20", "−30 to −10")
    assert first.ends == "base model at raw cosine 0.041, real photos at 0.868"
    assert second.ends == "base model at raw cosine 0.139, real photos at 0.943"
    assert labels == [("21.92%", "0 base model"), ("90.41%", "100 real photos")]  # of a scale from -32 to 114
    assert "likeness -20 of 100, 95% interval −30 to −10" in second.bar


def metric(name: str, **changes: Any) -> MetricComparison:
    values = {"metric": name, "baseline": 0.5, "candidate": 0.55, "delta": 0.05, "interval": between(0.01, 0.09),
              "verdict": "IMPROVED", "p_value": 0.001, "p_adjusted": 0.0123, "detectable": 0.04,
              "margin": 0.03}  # fmt: skip
    return MetricComparison(**(values | changes))


def test_a_metric_s_line_keeps_versions_difference_and_corrected_p_apart() -> None:
    likeness = metric("likeness", baseline=69.04, candidate=64.26, delta=-4.78, interval=between(-9.11, -0.45),
                      verdict="REGRESSED", guarded=True, margin=5.0)  # fmt: skip
    rare = metric("passed", baseline=0.25, candidate=0.75, delta=0.5, interval=between(0.1, 0.9), margin=0.0,
                  verdict="INCONCLUSIVE", more_images=26, p_adjusted=None)  # fmt: skip
    one, two = views.compared(make_comparison(make_card(), metrics=[likeness, rare]))
    assert (one.name, one.guarded, one.baseline, one.candidate) == ("Likeness, face pack", True, "69.0", "64.3")
    assert (one.delta, one.interval, one.p_adjusted) == ("−4.8", "−9.1 to −0.5", "0.012")
    assert (one.verdict, one.hint) == ("REGRESSED", "differences from 0.0 on would have been seen")
    assert (two.baseline, two.candidate, two.delta, two.interval) == ("25%", "75%", "+50%", "+10% to +90%")
    assert (two.p_adjusted, two.hint) == ("", "about 26 more pictures would settle it")
    assert 'class="dot regressed"' in one.whisker
    assert "band" in one.whisker
    assert "band" not in two.whisker


def dot(line: views.Metric) -> float:
    found = re.search(r'<circle cx="([\d.]+)%"', line.whisker)
    assert found
    return float(found[1])


def test_metrics_with_a_margin_share_one_axis_whose_unit_is_the_margin() -> None:
    small = metric("similarity", delta=0.03, interval=between(0.0, 0.06), margin=0.03)
    large = metric("likeness", delta=5.0, interval=between(0.0, 10.0), margin=5.0)
    far = metric("adherence", delta=0.02, interval=between(0.0, 0.03), margin=0.01)
    places = [dot(line) for line in views.compared(make_comparison(make_card(), metrics=[small, large, far]))]
    assert places == [65.15, 65.15, 80.3]  # the farthest end is 3 margins away: half the axis is 3.3
    cut = metric("similarity", delta=0.03, interval=between(-0.3, 0.06), margin=0.03)
    assert dot(views.compared(make_comparison(make_card(), metrics=[cut]))[0]) == 62.5  # never more than 4


def test_alarms_name_flags_then_judges_then_what_is_guarded_then_warnings() -> None:
    worse = [metric("adherence", verdict="REGRESSED", guarded=True), metric("passed", verdict="REGRESSED"),
             metric("face_found", guarded=True)]  # fmt: skip
    card = make_card(flags=make_flags("leaking"), warnings=["a warning"])
    assert views.find_alarms(card, make_comparison(card, metrics=worse)) == [
        "Leaking: a sentence about leaking.", "Worse than v2 on what is guarded: prompt adherence.", "a warning"
    ]  # fmt: skip


def test_the_tally_counts_verdicts_and_leaves_out_what_nobody_got() -> None:
    some = [metric("similarity"), metric("passed", verdict="INCONCLUSIVE"), metric("adherence")]
    assert views.tally(make_comparison(make_card(), metrics=some)) == [("IMPROVED", 2), ("INCONCLUSIVE", 1)]


def test_the_reason_reads_as_prose() -> None:
    advice = Recommendation(action="keep", reason="Regressed on second_likeness and face_found.")
    assert views.reason(make_comparison(make_card(), recommendation=advice)) == (
        "Regressed on second likeness and face found."
    )


def test_differences_origin_and_training_keep_their_sides_and_keys() -> None:
    changed = [ConfigDifference(key="a", baseline=None, candidate=0.000123456789)]
    assert views.differences(make_comparison(make_card(), config_differences=changed)) == [("a", "–", "0.000123457")]
    card = make_card(training_params={"ss_b": "2", "ss_a": 1.5}, licences={"text_image": "MIT"}, notes="n")
    assert views.training(card) == [("ss_a", "1.5"), ("ss_b", "2")]
    assert views.origin(card) == [
        ("run", "abcdef012345"), ("protocol", "2" * 64), ("LoRA sha256", "1" * 64),
        ("LoRA file", "models/lora/x-300.safetensors"), ("base model", "models/base"), ("dataset", "amira"),
        ("manifest sha256", "3" * 64), ("licence of the judge text image", "MIT"), ("notes", "n"),
    ]  # fmt: skip


def test_the_dataset_is_counted_in_one_sentence() -> None:
    manifest = make_manifest("a warning")
    several = manifest.summary.model_copy(update={"moments": [["a"], ["b"], ["c"]], "duplicates": [["d"], ["e"]]})
    said, warnings, advice = views.dataset_facts(
        make_content(manifest=manifest.model_copy(update={"summary": several}))
    )
    assert said == (
        "36 photos: 26 to train on, 10 held out as references; 34 different captions, 2 groups of near-duplicates, "
        "3 groups of shots of one moment."
    )
    assert (list(warnings), list(advice)) == (["a warning"], ["No left profile: add 2."])


def test_poses_say_each_judge_s_figures_and_whose_ruler_it_is() -> None:
    figures = PoseFigures(images=9, likeness=60.4, likeness_interval=between(-5.4, 70.4), second_likeness=55.4,
                          second_likeness_interval=between(44.4, 66.4))  # fmt: skip
    anchors = Anchors(base=0, real=1, poses={"profile": Ends(base=0, real=1, photos=8, pictures=20)})
    half, profile = findings.pose_lines(make_card(poses={"half profile": figures, "profile": figures}, anchors=anchors))
    assert (half.pose, half.images, half.likeness, half.interval) == ("Half profile", 9, "60", "−5 to 70")
    assert (half.second, half.second_interval, half.ruler) == ("55", "44 to 66", "that of all poses")
    assert profile.ruler == "its own, 8 photos"


def test_what_stands_beside_likeness_keeps_version_base_model_and_real_photos_apart() -> None:
    diversity = Diversity(
        within=0.111, within_interval=between(0.101, 0.121), base_within=0.222, across=0.333, real=0.444,
        pose_within=0.055, pose_within_interval=between(0.051, 0.059), base_pose_within=0.066, pose_across=0.077,
        pose_real=0.088,
    )  # fmt: skip
    found = Memorisation(share=0.25, share_interval=between(0.1, 0.4), base_share=0.02, limit=5.0, photos=36)
    card = make_card(diversity=diversity, memorisation=found, texture_z=-1.25, tone_z=0.5)
    lines = [(line.value, line.interval, line.base, line.real) for line in findings.beside_lines(card)]
    assert lines == [
        ("25%", "10% to 40%", "2%", ""), ("0.111", "0.101 to 0.121", "0.222", ""), ("0.333", "", "", "0.444"),
        ("0.055", "0.051 to 0.059", "0.066", ""), ("0.077", "", "", "0.088"),
        ("−1.2", "", "", "0"), ("+0.5", "", "", "0"),
    ]  # fmt: skip


def test_each_judge_s_threshold_is_drawn_from_its_own_scores() -> None:
    both = make_calibration()
    second = both.second.model_copy(
        update={"threshold": 0.79, "far": Rate(count=3, trials=12, rate=0.25, low=0.055, high=0.572)}
    )
    _, line = findings.threshold_lines(both.model_copy(update={"second": second}))
    assert line.says.startswith("Second judge: the threshold 0.79 refuses 1 of 10")
    assert line.says.endswith("lets 3 of 12 (6% to 57%) of other people's faces pass.")
