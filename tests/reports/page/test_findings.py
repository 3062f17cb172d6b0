"""Flags, judges and what stands beside likeness, as the page says them."""

from typing import Any

import pytest
from pages import make_calibration, make_card, make_comparison, make_flags

from stages.contracts.scorecard import Scorecard
from stages.reports.page.findings import beside_lines, flag_lines, judge_alarm, judge_sentences, threshold_lines
from stages.reports.page.gallery import judged_by
from stages.reports.page.views import find_alarms, headline


def apart(mode_given: str | None, **values: Any) -> Scorecard:
    card = make_card(**values)
    assert card.agreement
    found = card.agreement.model_copy(
        update={"disagree": True, "difference": 30.0, "conditioned": mode_given, "alarm": mode_given is not None}
    )
    return make_card(agreement=found, **values)


def test_raised_flags_come_first_and_are_alarms_before_everything_else() -> None:
    card = make_card(flags=make_flags("leaking"))
    assert [(line.name, line.raised) for line in flag_lines(card)] == [
        ("Leaking", True), ("Copying", False), ("Wrong identity", False), ("Memorising", False),
    ]  # fmt: skip
    assert find_alarms(card, make_comparison(card))[0] == "Leaking: a sentence about leaking."
    assert not [said for said in find_alarms(make_card(), make_comparison(make_card())) if "sentence" in said]


def test_judges_that_disagree_alarm_and_one_that_the_generator_was_given_is_not_believed() -> None:
    assert judge_alarm(make_card()) == ""
    assert "disagree by 30 points: look at the pictures" in judge_alarm(apart(None))
    said = judge_alarm(apart("faces", gating_judge="second"))
    assert "given the face pack's embedding: believe the second judge" in said


def test_the_judge_that_decides_gives_the_likeness_of_the_headline_and_the_order_of_the_pictures() -> None:
    card = make_card(gating_judge="second")
    assert "likeness 70 of 100" in headline(make_comparison(card), card)
    assert "likeness 74 of 100" in headline(make_comparison(make_card()), make_card())
    assert (judged_by(card), judged_by(make_card())) == ("second_similarity", "similarity")
    assert "The second judge decides" in judge_sentences(card)[0]


def test_what_was_not_measured_is_no_line() -> None:
    names = [line.name for line in beside_lines(make_card())]
    assert len(names) == 7
    assert beside_lines(make_card(diversity=None, memorisation=None, texture_z=None, tone_z=None)) == []
    (poses,) = [line for line in beside_lines(make_card()) if line.name == "Poses of one prompt differ by"]
    assert (poses.value, poses.interval) == ("–", "")


def test_weights_that_may_not_be_sold_are_named() -> None:
    assert judge_sentences(make_card())[-1] == "Weights for non-commercial use only: face pack."
    free = judge_sentences(make_card(licences={"faces": "MIT"}))
    assert not [said for said in free if "non-commercial" in said]


def test_a_threshold_is_drawn_between_the_person_and_the_others() -> None:
    faces, _ = threshold_lines(make_calibration())
    assert faces.says == (
        "Face pack: the threshold 0.60 refuses 1 of 10 (0% to 40%) of this person's photos and lets 0 of 20 "
        "(0% to 40%) of other people's faces pass."
    )
    assert [faces.strip.count(f"stroke {kind}") for kind in ("first", "other")] == [10, 20]
    assert threshold_lines(None) == []


@pytest.mark.parametrize("licences", [{}, {"faces": "Apache-2.0"}])
def test_without_agreement_the_sentences_are_those_that_are_known(licences: dict[str, str]) -> None:
    assert len(judge_sentences(make_card(agreement=None, licences=licences))) == 1
