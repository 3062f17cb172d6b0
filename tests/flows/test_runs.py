"""Any run of the history can be found, and replicas are read with their version."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from stages.__main__ import app
from stages.contracts.comparison import METRICS, Comparison
from stages.contracts.scorecard import Scorecard, read_scorecard, write_scorecard
from stages.flows.runs import find_run, read_run
from stages.runtime.errors import UserError

WriteRun = Callable[..., Scorecard]
V2, V3 = Path("metrics/versions/v2"), Path("metrics/versions/v3")


@pytest.fixture(autouse=True)
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("GIT_CONFIG_GLOBAL", "GIT_CONFIG_SYSTEM"):
        monkeypatch.setenv(name, os.devnull)
    for name in ("AUTHOR_NAME", "AUTHOR_EMAIL", "COMMITTER_NAME", "COMMITTER_EMAIL"):
        monkeypatch.setenv(f"GIT_{name}", "t")
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    Path("params.yaml").write_text(yaml.safe_dump({"compare": {"bootstrap": 500}, "thresholds": {}}))
    return tmp_path / "work"


def git(*arguments: str) -> None:
    subprocess.run(["git", *arguments], check=True, capture_output=True)


def compare(*names: str) -> Comparison:
    done = CliRunner().invoke(app, ["compare", *names, "--json"], catch_exceptions=False)
    return Comparison.model_validate_json(done.stdout)


def test_versions_folders_and_revisions_are_found(write_run: WriteRun, tmp_path: Path) -> None:
    write_run(V2, "v2", noise=1)
    write_run(tmp_path / "other" / "metrics", "other", noise=2)
    git("init", "--quiet")
    write_run(Path("metrics"), "first", noise=3)
    git("add", "metrics/scorecard.json", "metrics/per_image.csv")
    git("commit", "--quiet", "-m", "first")
    write_run(Path("metrics"), "now", noise=4)
    found = {}
    for name in ("v2", "../other", "HEAD", ".", str(V2)):
        with find_run(name) as folder:
            found[name] = read_scorecard(folder / "scorecard.json").lora_version
    assert found == {"v2": "v2", "../other": "other", "HEAD": "first", ".": "now", str(V2): "v2"}


def test_a_revision_is_read_in_this_workspace_s_own_folder_of_the_repository(
    write_run: WriteRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    git("init", "--quiet")
    for folder, version in (("metrics", "root"), ("ada/metrics", "ada"), ("bea/metrics", "bea")):
        write_run(Path(folder), version)
    git("add", ".")
    git("commit", "--quiet", "-m", "three workspaces in one repository")
    monkeypatch.chdir("ada")
    with find_run("HEAD") as folder:
        assert read_scorecard(folder / "scorecard.json").lora_version == "ada"
        assert (folder / "per_image.csv").read_bytes() == Path("metrics/per_image.csv").read_bytes()


@pytest.mark.parametrize("name", ["v9", "..", "none", "--help", "HEAD~5", "a b", "../nowhere"])
def test_what_is_no_run_is_refused_with_the_versions_that_exist(write_run: WriteRun, name: str) -> None:
    write_run(V2, "v2")
    with pytest.raises(UserError, match=r"no run .* \(versions: v2\)"), find_run(name):
        pass


def test_a_revision_without_a_run_is_refused() -> None:
    git("init", "--quiet")
    git("commit", "--quiet", "--allow-empty", "-m", "nothing")
    with pytest.raises(UserError, match="holds no metrics/scorecard.json"), find_run("HEAD"):
        pass


def test_two_versions_are_compared_by_name_whatever_the_baseline_is(write_run: WriteRun) -> None:
    write_run(V2, "v2", noise=1)
    write_run(V3, "v3", noise=2, similarity=0.1)
    there, back = compare("v2", "v3"), compare("v3", "v2")
    assert there.baseline is not None
    assert (there.baseline.name, there.candidate.name) == ("v2", "v3")
    assert [there.metrics[0].verdict, back.metrics[0].verdict] == ["IMPROVED", "REGRESSED"]
    assert there.metrics[0].recipe is None


def test_the_table_says_what_would_settle_an_open_question_and_the_report_is_written(write_run: WriteRun) -> None:
    write_run(V2, "v2", noise=1)
    write_run(V3, "v3", noise=2, similarity=0.003)
    said = CliRunner().invoke(app, ["compare", "v2", "v3", "--output", "out.md"], catch_exceptions=False).stdout
    assert "INCONCLUSIVE" in said
    assert "more" in said
    assert "pistachio replicate" in Path("out.md").read_text()


def test_another_protocol_is_refused(write_run: WriteRun) -> None:
    write_run(V2, "v2")
    write_scorecard(write_run(V3, "v3").model_copy(update={"protocol": "ef" * 32}), V3 / "scorecard.json")
    with pytest.raises(UserError, match="not comparable"):
        compare("v2", "v3")


def replicas(write_run: WriteRun, folder: Path, spread: float, count: int = 3) -> None:
    for number in range(1, count + 1):
        sign = (-1) ** number
        write_run(folder / "replicas" / f"seed-{number}", "r", noise=10 + number, similarity=sign * spread * number)


def test_the_luck_of_one_training_no_longer_counts_as_a_better_recipe(write_run: WriteRun) -> None:
    write_run(V2, "v2", noise=1)
    write_run(V3, "v3", noise=2, similarity=0.05)
    replicas(write_run, V2, 0.05)
    metric = compare("v2", "v3").metrics[0]
    assert metric.verdict == "IMPROVED"
    assert metric.recipe is not None
    assert metric.recipe.verdict == "INCONCLUSIVE"
    assert metric.recipe.spread > 0.03


def test_steady_trainings_prove_the_recipe(write_run: WriteRun) -> None:
    write_run(V2, "v2", noise=1)
    write_run(V3, "v3", noise=2, similarity=0.1)
    replicas(write_run, V2, 0.001)
    comparison = compare("v2", "v3")
    assert comparison.baseline is not None
    assert (comparison.baseline.trainings, comparison.candidate.trainings) == (4, 1)
    assert comparison.metrics[0].recipe is not None
    assert comparison.metrics[0].recipe.verdict == "IMPROVED"
    assert all(metric.recipe for metric in comparison.metrics)
    assert len(comparison.metrics) == len(METRICS)


def test_a_replica_of_another_protocol_is_refused(write_run: WriteRun) -> None:
    write_run(V2, "v2")
    folder = V2 / "replicas" / "seed-1"
    write_scorecard(write_run(folder, "r").model_copy(update={"protocol": "ef" * 32}), folder / "scorecard.json")
    with pytest.raises(UserError, match="another protocol than the version itself"):
        read_run(V2, "v2", 0.6)
