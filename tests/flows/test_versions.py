"""A promotion: what it keeps, what it refuses, and what it can be talked into."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from stages.contracts.comparison import METRICS, Comparison, MetricComparison, Recommendation, Version, write_comparison
from stages.contracts.history import read_history
from stages.contracts.paths import COMPARISON, EVAL_IMAGES, EVAL_MONTAGE, HISTORY, VERSIONS
from stages.contracts.scorecard import Scorecard, read_scorecard, write_scorecard
from stages.contracts.settings import Promotion, Thresholds
from stages.contracts.version_pictures import read_version_pictures
from stages.flows import versions
from stages.flows.tags import check_tag, tag_version
from stages.flows.versions import PICTURE_BYTES, PICTURES, SCORES, list_versions, promote
from stages.runtime.errors import UserError
from stages.runtime.pictures import write_png

ROOT = Path(__file__).parents[2]
WriteRun = Callable[..., Scorecard]
GIT = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull} | {
    f"GIT_{who}_{what}": value for who in ("AUTHOR", "COMMITTER") for what, value in (("NAME", "t"), ("EMAIL", "t@t"))
}


@pytest.fixture(autouse=True)
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for name, value in (GIT | {"GIT_CEILING_DIRECTORIES": str(tmp_path)}).items():
        monkeypatch.setenv(name, value)
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path / "work"


def git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], check=True, capture_output=True, text=True).stdout.strip()


def make_repository() -> str:
    git("init", "--quiet")
    Path("params.yaml").write_text("a: 1\n")
    git("add", "params.yaml")
    git("commit", "--quiet", "-m", "first")
    return git("rev-parse", "HEAD")


def write_comparison_of(scorecard: Scorecard, verdict: str, guarded: bool = True) -> None:
    version = {
        "name": "v2", "run_id": "0" * 12, "lora_sha256": "0" * 64, "overall_score": 0.7, "overall_grade": "B",
        "best_config": scorecard.best_config.model_dump(),
    }  # fmt: skip
    metric = {"metric": "adherence", "candidate": 0.3, "baseline": 0.4, "verdict": verdict, "guarded": guarded}
    comparison = Comparison(
        comparable=True, baseline=Version.model_validate(version),
        candidate=Version.model_validate(version | {"name": "v3", "run_id": scorecard.run_id}),
        protocol=scorecard.protocol, confidence=0.95, prompts=24, images=48, config_differences=[],
        metrics=[MetricComparison.model_validate(metric)],
        recommendation=Recommendation(action="undecided", reason="Test."),
    )  # fmt: skip
    write_comparison(comparison)


def refusal(name: str = "v3", **how: object) -> str:
    before = sorted(str(path) for path in Path().rglob("*"))
    with pytest.raises(UserError) as refused:
        promote(name, Thresholds(), **how)  # type: ignore[arg-type]
    assert sorted(str(path) for path in Path().rglob("*")) == before
    return refused.value.line


def test_a_version_is_the_scores_as_they_stand_a_line_of_history_and_small_pictures(
    write_run: WriteRun, faces: list[np.ndarray]
) -> None:
    scorecard = write_run(Path("metrics"), "v3")
    write_png(EVAL_MONTAGE, faces[0])
    for prompt in range(24):
        for seed in (1001, 1002):
            write_png(EVAL_IMAGES / f"lora/{prompt:02d}_{seed}.png", faces[prompt % 16])
    promoted = promote("v3", Thresholds())
    folder = VERSIONS / "v3"
    assert promoted.folder == folder
    assert list_versions() == ["v3"]
    assert read_scorecard(folder / "scorecard.json") == scorecard
    assert (folder / "per_image.csv").read_bytes() == Path("metrics/per_image.csv").read_bytes()
    assert (folder / "montage.png").read_bytes() == EVAL_MONTAGE.read_bytes()
    pictures = sorted((folder / "pictures").iterdir())
    assert promoted.pictures == len(pictures) == PICTURES
    assert sum(path.stat().st_size for path in pictures) <= PICTURE_BYTES
    assert Image.open(pictures[0]).size == (64, 64)
    index = read_version_pictures(folder)
    assert list(index.values()) == pictures
    assert list(index) == [(prompt, 1001) for prompt in range(24)]
    row = read_history()[-1]
    assert (row.name, row.run_id, row.lora_sha256) == ("v3", scorecard.run_id, scorecard.lora_sha256)
    assert (row.protocol, row.overall_grade, row.forced, row.why) == (scorecard.protocol, "B", False, "")
    assert row.dataset_manifest_sha256 == scorecard.dataset_manifest_sha256
    assert row.scores["likeness"] == scorecard.likeness
    assert promoted.licences == {"base": "unknown", "faces": "non-commercial research only"}
    assert (row.use, row.licences) == ("non-commercial", promoted.licences)


def test_the_pictures_of_a_version_are_spread_over_all_prompts(write_run: WriteRun) -> None:
    write_run(Path("metrics"), "v3")
    for prompt in range(24):
        for seed in (1001, 1002):
            write_png(EVAL_IMAGES / f"lora/{prompt:02d}_{seed}.png", np.full((16, 16, 3), 10 * prompt, np.uint8))
    promote("v3", Thresholds())
    kept = [np.asarray(Image.open(path)).mean() for path in sorted((VERSIONS / "v3/pictures").iterdir())]
    assert kept == pytest.approx([10 * prompt for prompt in range(24)], abs=2)


def test_history_keeps_every_score_of_the_card_under_its_own_name_and_when_that_was(write_run: WriteRun) -> None:
    card = write_run(Path("metrics"), "v3-of-another-name")
    levels = {name: 0.11 + 0.07 * number for number, name in enumerate(SCORES)}
    write_scorecard(card.model_copy(update=levels | {"overall_score": 0.77, "overall_grade": "A"}))
    before = datetime.now(UTC).replace(microsecond=0)
    row = promote("v9", Thresholds(), Promotion(use="non-commercial", licences={Path("models/base"): "MIT"})).row
    assert read_history() == [row]
    assert row.scores == pytest.approx(levels)
    assert (row.name, row.lora_version, row.overall_score, row.overall_grade) == ("v9", card.lora_version, 0.77, "A")
    assert row.licences["base"] == "MIT"
    assert before <= row.promoted_at <= datetime.now(UTC)


def test_copies_are_as_large_as_all_together_may_be(write_run: WriteRun, monkeypatch: pytest.MonkeyPatch) -> None:
    write_run(Path("metrics"), "v3")
    smooth = np.add.outer(np.arange(300), np.arange(600) // 3)[:, :, None].repeat(3, axis=2) // 3
    for prompt in range(3):
        write_png(EVAL_IMAGES / f"lora/{prompt:02d}_1001.png", smooth.astype(np.uint8))
    sizes = {}
    for budget in (300_000, 30_000, 12_000):
        monkeypatch.setattr(versions, "PICTURE_BYTES", budget)
        promote("v3", Thresholds(), force=True, why="test")
        kept = sorted((VERSIONS / "v3/pictures").iterdir())
        assert sum(path.stat().st_size for path in kept) <= budget
        sizes[budget] = Image.open(kept[0]).size
    assert sizes[300_000] == (512, 256)  # the longer side is 512, the shape stays
    assert sizes[300_000] >= sizes[30_000] >= sizes[12_000]
    image = Image.fromarray(smooth.astype(np.uint8))
    tiers = [(512, 90), (384, 85), (256, 80), (192, 75), (128, 70), (96, 60), (64, 40)]
    for budget, size in sizes.items():
        fits = [side for side, quality in tiers if 3 * len(versions._encode(image, side, quality)) <= budget]
        assert size[0] == fits[0]


def test_large_pictures_are_kept_small(write_run: WriteRun) -> None:
    write_run(Path("metrics"), "v3")
    noise = np.random.default_rng(0).integers(0, 255, (400, 400, 3), np.uint8)  # the worst case for JPEG
    for prompt in range(24):
        write_png(EVAL_IMAGES / f"lora/{prompt:02d}_1001.png", noise)
    assert promote("v3", Thresholds()).pictures == 24
    assert sum(p.stat().st_size for p in (VERSIONS / "v3/pictures").iterdir()) <= PICTURE_BYTES


def test_the_index_names_each_copy_s_own_prompt_and_seed_when_some_pictures_are_gone(write_run: WriteRun) -> None:
    write_run(Path("metrics"), "v3")
    places = [(prompt, seed) for prompt in range(24) for seed in (1001, 1002)][5:]
    for number, (prompt, seed) in enumerate(places):
        write_png(EVAL_IMAGES / f"lora/{prompt:02d}_{seed}.png", np.full((16, 16, 3), 5 * number, np.uint8))
    promote("v3", Thresholds())
    index = read_version_pictures(VERSIONS / "v3")
    assert len(index) == PICTURES
    for place, path in index.items():
        grey = float(np.asarray(Image.open(path)).mean())
        assert grey == pytest.approx(5 * places.index(place), abs=2)


def test_a_spoilt_index_is_named_and_a_version_without_one_has_none(write_run: WriteRun) -> None:
    write_run(Path("metrics"), "v3")
    promote("v3", Thresholds())
    assert read_version_pictures(VERSIONS / "v3") == {}
    (VERSIONS / "v3/pictures.csv").write_text("picture,prompt_index,seed\n../../secret.jpg,0,1\n")
    with pytest.raises(UserError, match=r"pictures.csv:2: picture: "):
        read_version_pictures(VERSIONS / "v3")


def test_a_clone_without_pictures_can_promote(write_run: WriteRun) -> None:
    write_run(Path("metrics"), "v3")
    assert promote("v3", Thresholds()).pictures == 0
    assert not (VERSIONS / "v3/pictures").exists()


def test_a_name_that_exists_is_refused_and_replaced_only_by_force(write_run: WriteRun) -> None:
    write_run(Path("metrics"), "v3")
    promote("v3", Thresholds())
    first = (VERSIONS / "v3/scorecard.json").read_bytes()
    write_comparison_of(write_run(Path("metrics"), "v3", noise=1), "IMPROVED")
    assert "the version exists" in refusal()
    assert (VERSIONS / "v3/scorecard.json").read_bytes() == first
    promote("v3", Thresholds(), force=True, why="the first one had\nno pictures")
    assert (VERSIONS / "v3/scorecard.json").read_bytes() != first
    rows = read_history()
    assert [row.forced for row in rows] == [False, True]
    assert rows[1].why == "the first one had no pictures"
    assert "the version exists" in rows[1].overruled[0]


def test_a_grade_below_the_gate_is_refused(write_run: WriteRun) -> None:
    write_run(Path("metrics"), "v3", overall=0.5)
    assert "grade D (0.500) is below C" in refusal()
    promote("v3", Thresholds(promotion_grade="D"))


def test_a_regression_on_a_guarded_metric_is_refused_unless_forced(write_run: WriteRun) -> None:
    scorecard = write_run(Path("metrics"), "v3")
    write_comparison_of(scorecard, "REGRESSED")
    assert "regressed against v2 on guarded adherence" in refusal()
    assert promote("v3", Thresholds(), force=True, why="prompts will be mended").row.overruled


@pytest.mark.parametrize(("verdict", "guarded"), [("REGRESSED", False), ("INCONCLUSIVE", True), ("IMPROVED", True)])
def test_any_other_verdict_passes(write_run: WriteRun, verdict: str, guarded: bool) -> None:
    write_comparison_of(write_run(Path("metrics"), "v3"), verdict, guarded)
    assert not promote("v3", Thresholds()).row.forced


def test_a_comparison_of_another_run_is_no_passport(write_run: WriteRun) -> None:
    write_comparison_of(write_run(Path("metrics"), "v3"), "IMPROVED")
    write_run(Path("metrics"), "v3", noise=5)
    assert "run `dvc repro compare`" in refusal()


def test_the_second_version_needs_a_comparison_and_the_first_does_not(write_run: WriteRun) -> None:
    write_run(Path("metrics"), "v2")
    promote("v2", Thresholds())
    write_run(Path("metrics"), "v3")
    assert not COMPARISON.exists()
    assert "no metrics/comparison.json" in refusal()


@pytest.mark.parametrize("name", ["", ".", "..", "../v3", "none", "a b", ".hidden", "v3\n"])
def test_a_name_that_is_no_folder_name_is_refused(write_run: WriteRun, name: str) -> None:
    write_run(Path("metrics"), "v3")
    assert "cannot name a version" in refusal(name)


@pytest.mark.parametrize("how", [{"force": True}, {"why": "because"}, {"force": True, "why": "  "}])
def test_force_and_its_reason_go_together(write_run: WriteRun, how: dict[str, object]) -> None:
    write_run(Path("metrics"), "v3")
    assert "--force and --why go together" in refusal(**how)


def test_without_an_evaluation_there_is_nothing_to_promote(write_run: WriteRun) -> None:
    assert "metrics/scorecard.json: not found" in refusal()
    write_run(Path("metrics"), "v3")
    Path("metrics/per_image.csv").unlink()
    VERSIONS.mkdir()
    assert "metrics/per_image.csv: not found" in refusal()


def test_history_is_only_ever_appended(write_run: WriteRun) -> None:
    write_run(Path("metrics"), "v2")
    promote("v2", Thresholds())
    before = HISTORY.read_bytes()
    HISTORY.write_bytes(before.rstrip(b"\n"))  # as a full disk or an editor leaves it
    promote("v3", Thresholds(), force=True, why="test")
    assert HISTORY.read_bytes().startswith(before)
    assert [row.name for row in read_history()] == ["v2", "v3"]


def test_a_spoilt_line_of_history_is_named(write_run: WriteRun) -> None:
    write_run(Path("metrics"), "v2")
    promote("v2", Thresholds())
    with HISTORY.open("a") as stream:
        stream.write(json.dumps({"name": "v3"}) + "\n")
    with pytest.raises(UserError, match="history.jsonl:2"):
        read_history()


def test_a_promotion_waits_for_another_and_gives_up_with_one_line(
    write_run: WriteRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_run(Path("metrics"), "v3")
    monkeypatch.setattr(versions, "PATIENCE_S", 0.2)
    code = (
        "import sys\nfrom stages.flows.versions import _history_lock\n"
        "with _history_lock():\n    print('held', flush=True)\n    sys.stdin.read()"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    assert holder.stdin is not None
    assert holder.stdout is not None
    with holder:
        assert holder.stdout.readline() == b"held\n"
        assert "another promotion has been at work" in refusal()
        holder.stdin.close()
    assert promote("v3", Thresholds()).row.name == "v3"


def test_promotions_at_the_same_time_lose_no_line(write_run: WriteRun) -> None:
    write_run(Path("metrics"), "v3")
    code = (
        "import sys\nfrom stages.contracts.settings import Thresholds\nfrom stages.flows.versions import promote\n"
        "promote(sys.argv[1], Thresholds(), force=True, why='test')"
    )
    env = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    running = [subprocess.Popen([sys.executable, "-c", code, f"v{i}"], env=env) for i in range(3)]
    assert [process.wait(60) for process in running] == [0, 0, 0]
    assert sorted(row.name for row in read_history()) == list_versions() == ["v0", "v1", "v2"]


def test_the_tag_marks_the_commit_that_the_version_was_made_from() -> None:
    head = make_repository()
    assert tag_version("v3") == f"Tagged {head[:12]} as lora/v3."
    assert git("rev-parse", "lora/v3") == head


def test_a_tag_that_exists_is_not_moved() -> None:
    head = make_repository()
    tag_version("v3")
    git("commit", "--quiet", "--allow-empty", "-m", "second")
    assert "was not moved" in tag_version("v3")
    assert git("rev-parse", "lora/v3") == head


def test_changes_that_the_tag_does_not_hold_are_said_but_not_the_promotion_s_own(write_run: WriteRun) -> None:
    make_repository()
    write_run(Path("metrics"), "v2")
    promote("v2", Thresholds())
    git("add", "metrics")
    git("commit", "--quiet", "-m", "v2")
    promote("v2", Thresholds(), force=True, why="test")
    assert "does not hold" not in tag_version("v2")
    Path("params.yaml").write_text("a: 2\n")
    assert "does not hold" in tag_version("v3")


def test_without_a_repository_or_a_commit_there_is_no_tag() -> None:
    assert tag_version("v3") == "No git work tree here: no tag."
    git("init", "--quiet")
    assert "no commit yet" in tag_version("v3")


def test_a_name_that_git_cannot_take_is_refused_before_anything_is_written() -> None:
    check_tag("v3")
    with pytest.raises(UserError, match="lora/v3.lock"):
        check_tag("v3.lock")


def test_every_compared_metric_is_a_column_of_the_table(write_run: WriteRun) -> None:
    write_run(Path("metrics"), "v3")
    header = Path("metrics/per_image.csv").read_text().splitlines()[0].split(",")
    assert set(METRICS) <= set(header)
