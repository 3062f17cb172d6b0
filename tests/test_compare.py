"""The comparison of two runs: what it says, what it writes, what it refuses."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import yaml

from stages.compare import config_differences, main
from stages.contracts.comparison import METRICS, Comparison, MetricComparison, read_comparison
from stages.contracts.scorecard import Scorecard, read_scorecard, write_scorecard
from stages.flows.comparison import recommend
from stages.measures.verdict import adjust_holm
from stages.runtime.errors import UserError

WriteRun = Callable[..., Scorecard]
REPORT = Path("metrics/comparison_report.md")
V2 = Path("metrics/versions/v2")
MARGINS = {
    "similarity": 0.03, "second_similarity": 0.03, "likeness": 5.0, "second_likeness": 5.0, "passed": 0.05,
    "face_found": 0.03, "texture_score": 0.05, "color_naturalness_score": 0.05, "realism_score": 0.05,
    "adherence": 0.02,
}  # fmt: skip


@pytest.fixture(autouse=True)
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write_params(baseline: str = "v2", face_pass: float = 0.6, **compare: object) -> None:
    section = {"baseline": baseline, "equivalence": MARGINS, "guarded": ["face_found", "adherence"], "bootstrap": 2000}
    values = {"compare": section | compare, "thresholds": {"face_pass": face_pass}}
    Path("params.yaml").write_text(yaml.safe_dump(values))


def compare(write_run: WriteRun, **shift: float) -> Comparison:
    """v3, which differs from v2 by ``shift`` and by noise, against v2."""
    write_params()
    write_run(V2, "v2", noise=1)
    write_run(Path("metrics"), "v3", noise=2, **shift)
    main()
    return read_comparison()


def verdicts(comparison: Comparison) -> dict[str, str | None]:
    return {metric.metric: metric.verdict for metric in comparison.metrics}


def test_a_better_likeness_is_improved_and_the_advice_is_to_adopt(write_run: WriteRun) -> None:
    comparison = compare(write_run, similarity=0.1, second_similarity=0.08)
    said = verdicts(comparison)
    assert [said[m] for m in ("similarity", "likeness", "second_similarity", "passed")] == ["IMPROVED"] * 4
    assert [said[m] for m in ("adherence", "texture_score")] == ["EQUIVALENT"] * 2
    assert said["face_found"] == "INCONCLUSIVE"  # 48 pictures without a difference do not exclude one of 3%
    assert comparison.comparable
    assert comparison.recommendation.action == "adopt"
    similarity = comparison.metrics[0]
    assert similarity.delta == pytest.approx(0.1, abs=0.02)
    assert similarity.baseline == pytest.approx(read_scorecard(V2 / "scorecard.json").face_similarity_mean)
    assert similarity.candidate == pytest.approx(read_scorecard().face_similarity_mean)


def test_likeness_bought_with_a_guarded_metric_is_not_adopted(write_run: WriteRun) -> None:
    comparison = compare(write_run, similarity=0.1, adherence=-0.08)
    assert verdicts(comparison)["similarity"] == "IMPROVED"
    assert verdicts(comparison)["adherence"] == "REGRESSED"
    assert comparison.regressed_guarded() == ["adherence"]
    assert comparison.recommendation.action == "keep"
    assert "adherence" in comparison.recommendation.reason


def test_the_same_recipe_again_is_equivalent_and_kept(write_run: WriteRun) -> None:
    comparison = compare(write_run)
    assert not {"IMPROVED", "REGRESSED"} & set(verdicts(comparison).values())
    assert verdicts(comparison)["similarity"] == "EQUIVALENT"


def test_a_small_difference_is_inconclusive_and_says_how_many_more_pictures_it_takes(write_run: WriteRun) -> None:
    write_params(equivalence={"similarity": 0.001})
    write_run(V2, "v2", noise=1)
    write_run(Path("metrics"), "v3", noise=2, similarity=0.003)
    main()
    similarity = read_comparison().metrics[0]
    assert similarity.verdict == "INCONCLUSIVE"
    assert similarity.more_images is not None
    assert similarity.more_images > 0
    assert similarity.detectable is not None
    assert read_comparison().recommendation.action == "undecided"


def test_the_report_has_the_verdict_first_and_every_metric(write_run: WriteRun) -> None:
    compare(write_run, similarity=0.1)
    lines = REPORT.read_text().splitlines()
    assert lines[0] == "# v3 against v2: ADOPT"
    assert lines[2].startswith("Improved on similarity")
    table = {line.split("|")[1].strip().split(" ")[0]: line for line in lines if line.startswith("| ")}
    assert set(METRICS) <= set(table)
    assert "**IMPROVED**" in table["similarity"]
    assert "(guarded)" in table["adherence"]
    assert "| train.optimizer.name | v2 | v3 |" in lines


def test_where_no_pair_differs_the_report_says_how_rare_a_difference_it_could_have_missed(write_run: WriteRun) -> None:
    write_params()
    write_run(V2, "v2", noise=1)
    write_run(Path("metrics"), "v3", noise=1)
    main()
    assert read_comparison().images == 48
    assert "a difference in fewer than about 6% of all pictures would not have shown (rule of three)" in (
        REPORT.read_text()
    )


def test_verdicts_rest_on_p_values_corrected_for_the_number_of_metrics(write_run: WriteRun) -> None:
    metrics = compare(write_run, similarity=0.1).metrics
    raw = np.array([metric.p_value for metric in metrics], dtype=float)
    assert [metric.p_adjusted for metric in metrics] == pytest.approx(adjust_holm(raw))
    assert all(metric.p_adjusted < 0.05 for metric in metrics if metric.verdict == "IMPROVED" and metric.p_adjusted)


def test_settings_that_differ_are_listed_and_equal_ones_are_not(write_run: WriteRun) -> None:
    keys = {d.key: (d.baseline, d.candidate) for d in compare(write_run).config_differences}
    assert keys == {"train.optimizer.name": ("v2", "v3")}


def test_the_same_inputs_give_the_same_bytes(write_run: WriteRun) -> None:
    compare(write_run, similarity=0.1)
    first = [Path("metrics/comparison.json").read_bytes(), REPORT.read_bytes()]
    main()
    assert first == [Path("metrics/comparison.json").read_bytes(), REPORT.read_bytes()]


def test_the_order_of_rows_in_a_table_changes_nothing(write_run: WriteRun) -> None:
    before = compare(write_run, similarity=0.1)
    lines = (V2 / "per_image.csv").read_text().splitlines()
    (V2 / "per_image.csv").write_text("\n".join([lines[0], *reversed(lines[1:])]) + "\n")
    main()
    assert read_comparison() == before


def test_exchanging_the_versions_turns_every_verdict(write_run: WriteRun) -> None:
    there = compare(write_run, similarity=0.1, adherence=-0.08)
    write_run(V2, "v3", noise=2, similarity=0.1, adherence=-0.08)
    write_run(Path("metrics"), "v2", noise=1)
    main()
    back = read_comparison()
    opposite = {"IMPROVED": "REGRESSED", "REGRESSED": "IMPROVED"}
    assert [m.verdict for m in back.metrics] == [opposite.get(m.verdict or "", m.verdict) for m in there.metrics]
    assert [m.delta for m in back.metrics] == pytest.approx([-(m.delta or 0) for m in there.metrics])


def test_both_versions_are_judged_by_today_s_pass_threshold(write_run: WriteRun) -> None:
    write_run(V2, "v2", noise=1)
    write_run(Path("metrics"), "v3", noise=2)
    rates = []
    for face_pass in (0.6, 0.5):
        write_params(face_pass=face_pass)
        main()
        passed = next(m for m in read_comparison().metrics if m.metric == "passed")
        rates.append((passed.baseline, passed.candidate))
    assert all(loose > strict for strict, loose in zip(*rates, strict=True))


def test_without_a_baseline_the_candidate_stands_alone_and_the_report_says_how_to_go_on(write_run: WriteRun) -> None:
    write_params(baseline="none")
    write_run(Path("metrics"), "v3")
    main()
    comparison = read_comparison()
    assert not comparison.comparable
    assert comparison.baseline is None
    assert comparison.recommendation.action == "undecided"
    assert comparison.metrics[0].candidate == pytest.approx(read_scorecard().face_similarity_mean)
    assert {m.verdict for m in comparison.metrics} == {None}
    assert "pistachio promote v3" in REPORT.read_text()


def refusal() -> str:
    with pytest.raises(UserError) as refused:
        main()
    assert not REPORT.exists()
    return refused.value.line


def test_an_unknown_baseline_is_refused_with_the_versions_that_exist(write_run: WriteRun) -> None:
    write_params(baseline="v7")
    write_run(Path("metrics"), "v3")
    assert "none yet" in refusal()
    write_run(V2, "v2")
    write_run(Path("metrics/versions/v1"), "v1")
    assert "no version 'v7' (there is: v1, v2)" in refusal()


def test_a_folder_above_the_versions_is_no_version(write_run: WriteRun) -> None:
    write_params(baseline="..")
    write_run(Path("metrics"), "v3")
    Path("metrics/versions").mkdir()
    assert "no version '..'" in refusal()


def test_another_protocol_is_refused_with_what_to_do(write_run: WriteRun) -> None:
    write_params()
    old = write_run(V2, "v2").model_copy(update={"protocol": "ef" * 32})
    write_scorecard(old, V2 / "scorecard.json")
    write_run(Path("metrics"), "v3")
    line = refusal()
    assert "efefefefefef" in line
    assert "abababababab" in line
    assert "evaluate the baseline again" in line


def test_a_picture_without_a_partner_is_refused(write_run: WriteRun) -> None:
    write_params()
    write_run(V2, "v2")
    write_run(Path("metrics"), "v3")
    lines = (V2 / "per_image.csv").read_text().splitlines()
    (V2 / "per_image.csv").write_text("\n".join(lines[:-1]) + "\n")
    assert "lacks prompt 23 with seed 1002" in refusal()


def lose_the_last(text: str, column: str) -> str:
    """The table with an empty cell in its last row."""
    head, *rows = text.splitlines()
    cells = rows[-1].split(",")
    cells[head.split(",").index(column)] = ""
    return "\n".join([head, *rows[:-1], ",".join(cells)])


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda text: text.replace("adherence", "obedience"), "lacks the columns adherence"),
        (lambda text: text.replace("lora,0,", "lora,1,"), "twice"),
        (lambda text: text.replace("lora,", "other,"), "no picture of the version"),
        (lambda text: lose_the_last(text, "adherence"), "not a number"),
        (lambda text: "", "not a table"),
    ],
)
def test_a_spoilt_table_is_one_clear_line(write_run: WriteRun, spoil: Callable[[str], str], said: str) -> None:
    write_params()
    write_run(V2, "v2")
    write_run(Path("metrics"), "v3")
    table = V2 / "per_image.csv"
    table.write_text(spoil(table.read_text()))
    assert said in refusal()


def test_a_metric_that_does_not_exist_is_refused() -> None:
    write_params(guarded=["likenes"], equivalence={"simlarity": 0.1})
    assert "likenes, simlarity" in refusal()


def test_the_stage_as_a_program_ends_with_code_2_and_one_line(write_run: WriteRun) -> None:
    write_params(baseline="v7")
    write_run(Path("metrics"), "v3")
    root = Path(__file__).parent.parent
    done = subprocess.run(
        [sys.executable, "-m", "stages.compare"],
        capture_output=True,
        text=True,
        check=False,
        env={"PYTHONPATH": str(root)},
    )
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1


def metric(name: str, verdict: str, guarded: bool = False) -> MetricComparison:
    return MetricComparison.model_validate(
        {"metric": name, "candidate": 0.5, "verdict": verdict, "guarded": guarded, "more_images": 40}
    )


@pytest.mark.parametrize(
    ("metrics", "action"),
    [
        ([metric("similarity", "IMPROVED"), metric("adherence", "EQUIVALENT", True)], "adopt"),
        ([metric("similarity", "IMPROVED"), metric("adherence", "INCONCLUSIVE", True)], "adopt"),
        ([metric("similarity", "IMPROVED"), metric("adherence", "REGRESSED", True)], "keep"),
        ([metric("similarity", "IMPROVED"), metric("adherence", "REGRESSED")], "undecided"),
        ([metric("similarity", "EQUIVALENT"), metric("adherence", "REGRESSED")], "keep"),
        ([metric("similarity", "EQUIVALENT"), metric("adherence", "EQUIVALENT")], "keep"),
        ([metric("similarity", "EQUIVALENT"), metric("adherence", "INCONCLUSIVE")], "undecided"),
    ],
)
def test_the_policy(metrics: list[MetricComparison], action: str) -> None:
    assert recommend(metrics, comparable=True).action == action


def test_an_open_question_says_what_would_settle_it() -> None:
    assert "about 40 more pictures" in recommend([metric("similarity", "INCONCLUSIVE")], comparable=True).reason


def test_every_setting_that_differs_is_listed_by_its_key_with_both_values(write_run: WriteRun) -> None:
    before, after = write_run(V2, "v2"), write_run(Path("metrics"), "v3")
    before = before.model_copy(
        update={"training_params": {"b": 1, "gone": 2}, "thresholds": {"weights": {"skin": 0.3}}, "dataset": "ada",
                "second_anchors": before.anchors.model_copy(update={"base": 0.11})}
    )  # fmt: skip
    after = after.model_copy(
        update={"training_params": {"b": 1, "a": {"new": 3}}, "thresholds": {"weights": {"skin": 0.4}},
                "dataset": "bob", "dataset_manifest_sha256": "ef" * 32,
                "anchors": after.anchors.model_copy(update={"real": 0.81})}
    )  # fmt: skip
    assert [(d.key, d.baseline, d.candidate) for d in config_differences(before, after)] == [
        ("dataset.manifest_sha256", "cd" * 32, "ef" * 32), ("dataset.name", "ada", "bob"),
        ("ruler.face.real", 0.8, 0.81), ("ruler.second.base", 0.11, 0.05),
        ("thresholds.weights.skin", 0.3, 0.4), ("train.a.new", None, 3),
        ("train.gone", 2, None),
    ]  # fmt: skip


def test_both_versions_are_described_by_their_own_scorecards(write_run: WriteRun) -> None:
    write_params(confidence=0.9)
    old, new = write_run(V2, "v2", noise=1, overall=0.5), write_run(Path("metrics"), "v3", noise=2, overall=0.9)
    for number in (1, 2):
        write_run(V2 / "replicas" / f"seed-{number}", "r", noise=10 + number)
    main()
    found = read_comparison()
    assert found.baseline is not None
    for version, name, card, trainings in ((found.baseline, "v2", old, 3), (found.candidate, "v3", new, 1)):
        assert (version.name, version.run_id, version.lora_sha256) == (name, card.run_id, card.lora_sha256)
        assert (version.overall_score, version.overall_grade) == (card.overall_score, card.overall_grade)
        assert (version.best_config, version.trainings) == (card.best_config, trainings)
    assert (found.prompts, found.images, found.confidence) == (24, 48, 0.9)
