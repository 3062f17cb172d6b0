"""The promotion policy: every rule refuses with its name, and nothing else does."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from stages.contracts.comparison import Comparison, MetricComparison, Recommendation, Version, write_comparison
from stages.contracts.scorecard import Scorecard
from stages.contracts.settings import Promotion, Thresholds
from stages.flows.gate import find_objections, licences_of

WriteRun = Callable[..., Scorecard]
FREE = {"faces": "Apache-2.0", "second": "CC0-1.0", "text_image": "MIT"}
OPEN = Promotion(use="commercial", licences={Path("models/base"): "CreativeML Open RAIL++-M"})


@pytest.fixture(autouse=True)
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def card(write_run: WriteRun) -> Scorecard:
    return write_run(Path("metrics"), "v3").model_copy(update={"licences": FREE})


def objections(card: Scorecard, policy: Promotion = OPEN, versions: tuple[str, ...] = ()) -> list[str]:
    return find_objections("v3", card, Thresholds(), policy, versions)


def write_verdicts(card: Scorecard, **verdicts: str) -> None:
    version = Version(
        name="v2", run_id=card.run_id, lora_sha256="0" * 64, overall_score=0.7, overall_grade="B",
        best_config=card.best_config,
    )  # fmt: skip
    metrics = [
        MetricComparison.model_validate({"metric": name, "candidate": 0.5, "verdict": said, "guarded": True})
        for name, said in verdicts.items()
    ]
    write_comparison(
        Comparison(comparable=True, baseline=version, candidate=version, protocol=card.protocol, confidence=0.95,
                   prompts=24, images=48, metrics=metrics, config_differences=[],
                   recommendation=Recommendation(action="undecided", reason="Test."))
    )  # fmt: skip


def test_a_good_version_with_free_licences_passes(card: Scorecard) -> None:
    write_verdicts(card, similarity="IMPROVED", second_similarity="INCONCLUSIVE")
    assert objections(card, versions=("v2",)) == []


def test_every_rule_that_is_broken_is_named(card: Scorecard) -> None:
    Path("metrics/versions/v3").mkdir(parents=True)
    write_verdicts(card, similarity="IMPROVED", second_similarity="REGRESSED")
    bad = card.model_copy(update={"overall_grade": "D", "licences": {"faces": "InsightFace, Non-commercial research"}})
    found = objections(bad)
    assert [line.rsplit("rule: ", 1)[1].rstrip(")").split(",")[0] for line in found] == [
        "name", "grade", "guarded", "judges", "licences",
    ]  # fmt: skip
    assert all("\n" not in line for line in found)


def test_judges_that_contradict_each_other_are_an_objection_and_a_silent_one_is_not(card: Scorecard) -> None:
    write_verdicts(card, similarity="REGRESSED", second_similarity="IMPROVED")
    assert any("contradict each other: similarity REGRESSED, second_similarity IMPROVED" in o for o in objections(card))
    write_verdicts(card, similarity="IMPROVED", second_similarity="EQUIVALENT")
    assert objections(card) == []


def test_a_raised_flag_and_judges_that_are_far_apart_are_objections(card: Scorecard) -> None:
    flags = [
        SimpleNamespace(raised=True, says="The class word is the person."),
        SimpleNamespace(raised=False, says="No"),
    ]
    apart = SimpleNamespace(disagree=True, difference=-21.4)
    found = objections(card.model_copy(update={"flags": flags, "agreement": apart}))
    assert found == [
        "flagged: The class word is the person (rule: flags, thresholds.flags)",
        "the two face judges are 21 ruler points apart (rule: judges, thresholds.judges_apart)",
    ]
    near = SimpleNamespace(disagree=False, difference=3.0)
    assert objections(card.model_copy(update={"flags": flags[1:], "agreement": near})) == []


@pytest.mark.parametrize("licence", ["InsightFace antelopev2, non-commercial research only", "CC-BY-NC-4.0"])
def test_a_licence_that_forbids_the_declared_use_stops_it_and_another_use_does_not(
    card: Scorecard, licence: str
) -> None:
    restricted = card.model_copy(update={"licences": FREE | {"faces": licence}})
    (said,) = objections(restricted)
    assert f"not allowed by faces: {licence} (rule: licences" in said
    assert objections(restricted, Promotion(use="non-commercial")) == []


def test_a_base_of_unknown_licence_is_not_sold(card: Scorecard) -> None:
    (said,) = objections(card, Promotion(use="commercial"))
    assert "base: unknown" in said


def test_the_base_s_licence_is_what_conf_models_says(card: Scorecard) -> None:
    registry = Path("conf/models")
    registry.mkdir(parents=True)
    model = {"folder": "models/base/x", "licence": "RAIL", "non_commercial": False, "hub": "a/b", "revision": "0" * 40,
             "files": {"f": {}}}  # fmt: skip
    (registry / "x.yaml").write_text(yaml.safe_dump(model))
    based = card.model_copy(update={"best_config": card.best_config.model_copy(update={"base": "models/base/x"})})
    assert licences_of(based, Promotion())["base"] == "RAIL"
    assert licences_of(card, OPEN)["base"] == "CreativeML Open RAIL++-M"
