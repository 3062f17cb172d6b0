"""Every objection to a picture names rule, value and threshold, and is raised on the right side of it."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.contracts.policy import Policy
from stages.contracts.production import Scores
from stages.contracts.settings import Thresholds
from stages.flows.production_gate import find_objections, rule_of

LIMIT = 4.0
GOOD: dict[str, Any] = {
    "faces": 1, "similarity": 0.8, "second_similarity": 0.8, "realism": 0.5, "adherence": 0.3, "sharpness": 0.6,
    "nearest_file": "a.png", "nearest_bits": 20, "nearest_similarity": 0.99, "nearest_photo": "1.jpg",
    "closeness": 1.0, "safety": -0.1,
}  # fmt: skip


def objections(mode: str = "lora", thresholds: Thresholds | None = None, **changes: Any) -> tuple[str, ...]:
    return find_objections(Scores(**GOOD | changes), mode, thresholds or Thresholds(), LIMIT, Policy())


@pytest.mark.parametrize(
    ("changes", "rule", "holds"),
    [
        ({"faces": 2}, "several faces", ("2", "thresholds.batch.faces", "1")),
        ({"similarity": 0.5999}, "face", ("0.5999", "thresholds.face_pass", "0.6")),
        ({"realism": 0.2999}, "skin", ("0.2999", "thresholds.batch.realism", "0.3")),
        ({"sharpness": 0.1499}, "blur", ("0.1499", "thresholds.batch.sharpness", "0.15")),
        ({"adherence": 0.1499}, "prompt", ("0.1499", "thresholds.batch.adherence", "0.15")),
        ({"nearest_bits": 6}, "near-duplicate", ("6 bits", "a.png", "thresholds.batch.duplicate_bits", "0.95")),
        ({"closeness": 4.01}, "memorised", ("4.01", "1.jpg", "thresholds.flags.closer_than", "4.0000")),
        ({"safety": 0.0}, "safety", ("0.0000", "policy.threshold")),
    ],
)
def test_a_picture_beyond_one_limit_has_one_objection(
    changes: dict[str, Any], rule: str, holds: tuple[str, ...]
) -> None:
    (line,) = objections(**changes)
    assert rule_of(line) == rule
    assert all(part in line for part in holds)
    assert "\n" not in line


def test_a_picture_at_every_limit_is_approved() -> None:
    at = {"similarity": 0.6, "realism": 0.3, "sharpness": 0.15, "adherence": 0.15, "closeness": 4.0}
    assert objections(**at) == ()
    assert objections(nearest_bits=6, nearest_similarity=0.9499) == ()  # the hash alone takes every head for a copy
    assert objections(nearest_bits=7, nearest_similarity=1.0) == ()
    assert objections(nearest_bits=None, nearest_similarity=None, closeness=None, safety=None) == ()


def test_of_a_picture_without_a_face_nothing_is_said_that_is_measured_on_faces() -> None:
    lines = objections(faces=0, similarity=0.0, second_similarity=0.0, realism=0.0, sharpness=0.0, adherence=0.0)
    assert [rule_of(line) for line in lines] == ["no face", "prompt"]


@pytest.mark.parametrize("mode", ["lora+instantid", "lora+ipadapter"])
def test_the_judge_that_the_generator_was_given_does_not_decide(mode: str) -> None:
    assert objections(mode, similarity=0.0) == ()
    (line,) = objections(mode, second_similarity=0.5)
    assert "second judge" in line
    assert "thresholds.second_pass" in line


@given(st.floats(-1, 1), st.floats(-1, 1))
def test_a_higher_threshold_never_approves_more(similarity: float, threshold: float) -> None:
    low, high = sorted((0.6, threshold))
    strict, mild = (Thresholds(face_pass=value) for value in (high, low))
    assert len(objections(thresholds=mild, similarity=similarity)) <= len(
        objections(thresholds=strict, similarity=similarity)
    )
