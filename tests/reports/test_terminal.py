"""What commands print: every figure in its place."""

import json
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from pages import make_card, make_comparison, make_flags

from stages.contracts.comparison import MetricComparison, RecipeComparison, Version
from stages.contracts.history import Promotion
from stages.contracts.manifest import Manifest, Summary
from stages.contracts.scorecard import Cell, Interval, write_scorecard
from stages.reports import terminal
from stages.reports.models import print_models

Capture = pytest.CaptureFixture[str]
CELL = Cell(
    base="models/base", mode="lora", checkpoint=300, lora="models/lora/a.safetensors", guidance=2.5, sampler="ddim",
    strength=0.8, images=8, similarity_mean=0.51, pass_rate=0.25, detection_rate=0.875,
)  # fmt: skip


def table(out: str) -> list[list[str]]:
    """The cells of a printed table, head first."""
    return [[cell.strip() for cell in line.strip("│┃").replace("┃", "│").split("│")] for line in out.splitlines()
            if line.startswith(("│", "┃"))]  # fmt: skip


def test_a_scorecard_says_grade_figures_flags_and_how_to_use_it(capsys: Capture) -> None:
    card = make_card(
        likeness=73.96, face_similarity_mean=0.6494, face_similarity_pass=0.354, overall_score=0.6087,
        flags=make_flags("wrong_identity"), best_config=CELL,
    )  # fmt: skip
    terminal.print_scorecard(card)
    assert capsys.readouterr().out.splitlines() == [
        "v3: grade C (0.609), likeness 74.0 of 100, similarity 0.649, passed 35%, run abcdef012345",
        "wrong identity: a sentence about wrong identity",
        "use models/lora/a.safetensors with strength 0.8, guidance 2.5, sampler ddim, mode lora",
    ]


def metric(name: str, **values: Any) -> MetricComparison:
    own = {"baseline": 0.61, "candidate": 0.65, "delta": 0.04, "interval": Interval(low=0.01, high=0.07),
           "verdict": "INCONCLUSIVE", "detectable": 0.055}  # fmt: skip
    return MetricComparison.model_validate({"metric": name} | own | values)


def version(name: str, trainings: int) -> Version:
    return Version(name=name, run_id="0", lora_sha256="1", overall_score=0.5, overall_grade="D", best_config=CELL,
                   trainings=trainings)  # fmt: skip


def test_verdicts_are_two_tables_of_the_loras_and_of_the_recipes(capsys: Capture) -> None:
    recipe = RecipeComparison(delta=-2.5, interval=Interval(low=-7.25, high=2.25), verdict="EQUIVALENT", p_value=0.1,
                              p_adjusted=0.2, spread=1.75, detectable=6.5)  # fmt: skip
    metrics = [
        metric("similarity", guarded=True, more_images=48),
        metric("likeness", baseline=61.2, candidate=70.9, interval=Interval(low=3.1, high=16.3), detectable=8.4,
               verdict="IMPROVED", recipe=recipe),
    ]  # fmt: skip
    comparison = make_comparison(
        make_card(), metrics=metrics, baseline=version("v2", 4), candidate=version("v3", 2), confidence=0.9
    )
    terminal.print_verdicts(comparison)
    out = capsys.readouterr().out
    assert out.splitlines()[0] == "v3 against v2: adopt. Improved on prior_preservation, regressed on nothing."
    assert "The recipes, trained 4 and 2 times" in out
    assert table(out) == [
        ["metric", "v2", "v3", "difference, 90%", "detectable", "verdict", "settled by"],
        ["similarity (guarded)", "0.610", "0.650", "+0.010 .. +0.070", "0.055", "INCONCLUSIVE", "48 more"],
        ["likeness", "61.2", "70.9", "+3.1 .. +16.3", "8.4", "IMPROVED", ""],
        ["metric", "difference", "90%", "spread of trainings", "detectable", "verdict"],
        ["likeness", "-2.5", "-7.2 .. +2.2", "1.8", "6.5", "EQUIVALENT"],
    ]


def test_a_replica_is_told_with_its_own_scorecard(capsys: Capture, tmp_path: Path) -> None:
    write_scorecard(make_card(likeness=71.26, second_likeness=88.84, prompt_adherence_mean=0.6034),
                    tmp_path / "scorecard.json")  # fmt: skip
    terminal.print_replica(tmp_path, 2, 3, known=True)
    said = f"likeness 71.3 of 100, second judge 88.8, adherence 0.603, in {tmp_path.as_posix()}"
    assert capsys.readouterr().out == f"replica 2 of 3 (was there): {said}\n"
    terminal.print_replica(tmp_path, 1, 3, known=False)
    assert capsys.readouterr().out.startswith("replica 1 of 3: likeness")


def promotion(name: str, **changes: Any) -> Promotion:
    values = {"promoted_at": datetime(2024, 5, 6, 7, 8, tzinfo=UTC), "run_id": "abcdef012345", "lora_version": name,
              "lora_sha256": "1" * 64, "protocol": "9876543210fedcba", "dataset_manifest_sha256": "3" * 64,
              "scores": {"likeness": 73.96, "second_likeness": 10.0}, "overall_score": 0.6094, "overall_grade": "C",
              "forced": False, "why": "", "overruled": []}  # fmt: skip
    return Promotion(name=name, **(values | changes))


def test_history_is_listed_oldest_first_with_the_reason_of_a_forced_one(capsys: Capture) -> None:
    forced = promotion("v1", forced=True, why="the demo", overall_grade="D", lora_dataset="unknown")
    terminal.print_history([promotion("v3"), forced])
    head, *rows = table(capsys.readouterr().out)
    assert head == ["version", "promoted (UTC)", "grade", "overall", "likeness", "run", "protocol", "trained on",
                    "forced because"]  # fmt: skip
    assert rows == [
        ["v3", "2024-05-06 07:08", "C", "0.609", "74.0", "abcdef012345", "9876543210fe", "3" * 12, ""],
        ["v1", "2024-05-06 07:08", "D", "0.609", "74.0", "abcdef012345", "9876543210fe", "unknown", "the demo"],
    ]


def test_a_promotion_says_what_was_written_overruled_and_is_next(capsys: Capture) -> None:
    row = promotion("v3", overruled=["grade D", "no comparison"], why="the demo", use="commercial")
    terminal.print_promotion(
        Path("metrics/versions/v3"), row, 24, {"second": "MIT", "base": "RAIL", "faces": "NC"}, "Tagged."
    )
    assert capsys.readouterr().out.splitlines() == [
        "v3: grade C (0.609), 24 pictures, in metrics/versions/v3",
        "overruled: grade D (why: the demo)",
        "overruled: no comparison (why: the demo)",
        "drawn by the base: RAIL", "judged by faces: NC", "judged by second: MIT",
        "declared use: commercial (promotion.use)", "Tagged.",
        "next: git add metrics/versions/v3 metrics/history.jsonl and commit; then compare.baseline: v3",
    ]  # fmt: skip


def test_a_folder_s_scores_end_with_their_means_in_percent(capsys: Capture) -> None:
    pictures = [SimpleNamespace(file="a.png", similarity=0.6254, face_found=True, passed=True),
                SimpleNamespace(file="b.png", similarity=0.0, face_found=False, passed=False)]  # fmt: skip
    scores = SimpleNamespace(
        pictures=pictures, references_without_face=["x.png", "y.png"], references=7, similarity_mean=0.3127,
        pass_rate=0.125, threshold=0.45, detection_rate=0.875, licence="test",
    )  # fmt: skip
    terminal.print_scores(scores)
    out = capsys.readouterr().out
    assert table(out)[1:] == [["a.png", "0.625", "yes"], ["b.png", "no face", "no"]]
    assert out.splitlines()[-3:] == [
        "no face in the references x.png, y.png: left out",
        "2 pictures against 7 references: similarity 0.313, passed 12.5% (>= 0.45), face found 87.5%",
        "face pack's licence: test",
    ]


def test_a_dataset_is_told_in_one_line_with_its_warnings_and_advice(capsys: Capture) -> None:
    summary = Summary(
        total_images=36, total_captions=35, unique_captions=34, caption_distribution={}, mean_image_size_bytes=1.0,
        resolution_set=[], train_images=25, holdout_images=11, duplicates=[["a", "b"]], moments=[["a"], ["b"]],
        warnings=["a warning"], advice=["add one"],
    )  # fmt: skip
    manifest = Manifest(name="x", trigger="t", class_word="w", photos="p", captions="c", images=[], summary=summary)
    terminal.print_summary(manifest, Path("m.json"))
    assert capsys.readouterr().out.splitlines() == [
        "m.json: 36 photos (25 train, 11 holdout), 34 different captions, 1 groups of near-duplicates, "
        "2 moments with several pictures",
        "warning: a warning", "photos: add one",
    ]  # fmt: skip


def test_every_kind_of_change_between_manifests_keeps_before_and_after_apart(capsys: Capture) -> None:
    def change(before: str, after: str) -> list[SimpleNamespace]:
        return [SimpleNamespace(filename="f.png", before=before, after=after)]

    difference = SimpleNamespace(
        settings={"trigger": ("a", "b")}, added=["n.png"], removed=["o.png"], changed_bytes=change("1" * 64, "2" * 64),
        changed_captions=change("old", "new"), moved=change("train", "holdout"), regrouped=change("x.png", ""),
    )  # fmt: skip
    terminal.print_difference(difference)
    assert table(capsys.readouterr().out)[1:] == [
        ["setting", "trigger", "a", "b"], ["added", "n.png", "", ""], ["removed", "o.png", "", ""],
        ["bytes", "f.png", "1" * 12, "2" * 12], ["caption", "f.png", "old", "new"],
        ["split", "f.png", "train", "holdout"], ["grouped with", "f.png", "x.png", ""],
    ]  # fmt: skip


def test_a_proof_of_resume_names_what_differs_and_is_none_without_a_resume(capsys: Capture) -> None:
    one, other = {"a": "1" * 64, "b": "2" * 64}, {"a": "1" * 64, "c": "3" * 64}
    terminal.print_proof((3, 5), (2, 4), one, other)
    out = capsys.readouterr().out
    assert table(out)[1:] == [
        ["a", "1" * 16, "1" * 16, "same"], ["b", "2" * 16, "missing", "DIFFERENT"],
        ["c", "missing", "3" * 16, "DIFFERENT"],
    ]  # fmt: skip
    assert out.splitlines()[-2:] == [
        "killed after step 3, 5; resumed at step 2, 4", "resume is NOT proven on this machine"
    ]  # fmt: skip
    terminal.print_proof((3,), (2,), one, one)
    assert capsys.readouterr().out.endswith("resume is exact on this machine\n")
    terminal.print_proof((3,), (), one, one)
    assert capsys.readouterr().out.endswith("resumed at step none\nresume is NOT proven on this machine\n")


def test_memory_is_told_in_gib_and_added_up(capsys: Capture) -> None:
    terminal.print_memory({"UNet": 5 * 2**30, "moving average": 0, "LoRA": 2**29})
    assert table(capsys.readouterr().out) == [["what", "GiB"], ["UNet", "5.00"], ["LoRA", "0.50"], ["together", "5.50"]]


def test_models_are_listed_with_what_is_here_checked_and_pinned(capsys: Capture) -> None:
    model = {"licence": "MIT", "folder": "models/base/x", "size": 6_940_000_000, "files": 4, "pinned": 4, "present": 4,
             "verified": True}  # fmt: skip
    print_models([
        model | {"name": "all"}, model | {"name": "some", "present": 3, "verified": False, "pinned": 1},
        model | {"name": "none", "present": 0, "verified": False, "folder": "models/judges/y", "size": 12_345_678},
    ])  # fmt: skip
    out = capsys.readouterr().out
    assert table(out)[1:] == [
        ["all", "MIT", "6.94 GB", "yes", "yes", "models/base"],
        ["some", "MIT", "6.94 GB +", "3 of 4 files", "not yet", "models/base"],
        ["none", "MIT", "0.01 GB", "no", "", "models/judges"],
    ]
    assert out.splitlines()[-1] == "+ and files that are not pinned: some"


def test_json_keeps_umlauts_and_refuses_what_is_no_number(capsys: Capture) -> None:
    terminal.print_json({"größe": 1})
    assert json.loads(out := capsys.readouterr().out) == {"größe": 1}
    assert "größe" in out
    with pytest.raises(ValueError, match="not JSON compliant"):
        terminal.print_json(float("nan"))
