"""What photos show and lack."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.contracts.measure_settings import CoverageLimits
from stages.measures.coverage import POSE, UNKNOWN, advise, count_coverage, name_aspect, name_framing
from stages.measures.pose import SIDES

LIMITS = CoverageLimits()
PLACES = ("beach", "city", "forest", "studio")
EVEN = {POSE: dict.fromkeys(SIDES, 3)}


@pytest.mark.parametrize(
    ("caption", "said"),
    [("a woman at the Beach", "beach"), ("a woman, beaches", UNKNOWN), ("from the city to the forest", UNKNOWN)],
)
def test_a_caption_that_names_one_label_decides(caption: str, said: str) -> None:
    assert name_aspect(caption, PLACES, None, 0.6) == said


def test_where_the_caption_is_silent_clip_is_believed_when_it_is_sure() -> None:
    sure, torn = np.array([0.1, 0.1, 0.7, 0.1]), np.array([0.5, 0.5, 0, 0])
    assert name_aspect("a woman", PLACES, sure, 0.6) == "forest"
    assert name_aspect("a woman", PLACES, torn, 0.6) == UNKNOWN
    assert name_aspect("a woman in the city", PLACES, sure, 0.6) == "city"


def test_a_framing_is_the_largest_that_the_face_fills() -> None:
    heights = (0.9, 0.45, 0.3, 0.12, 0.01)
    named = [name_framing(height, LIMITS.framing) for height in heights]
    assert named == ["close-up", "close-up", "portrait", "half-length", "full-length"]


@settings(deadline=None)
@given(st.lists(st.sampled_from([*PLACES, UNKNOWN]), max_size=40))
def test_every_photo_is_counted_once(places: list[str]) -> None:
    counts = count_coverage([{"background": place} for place in places], {"background": PLACES})["background"]
    assert sum(counts.values()) == len(places)
    assert set(PLACES) <= set(counts)


def test_thirty_one_photos_of_one_background_are_said_to_be() -> None:
    lines = advise({"background": {"studio": 31, "beach": 5}}, LIMITS)
    assert lines == ["31 of 36 photos share one background (studio): add others, or it is learnt with the face"]


def test_missing_poses_are_named_side_by_side() -> None:
    counts = dict(zip(SIDES, (0, 1, 20, 8, 2), strict=True))
    assert advise({POSE: counts}, LIMITS) == [
        "no left profile: add 2 or more",
        "only 1 left half profile: add 1 or more",
    ]


def test_mostly_frontal_photos_are_fine_when_every_side_is_there() -> None:
    assert advise({POSE: dict(zip(SIDES, (2, 2, 30, 2, 2), strict=True))}, LIMITS) == []


def test_two_kinds_of_light_are_few() -> None:
    lines = advise({"light": {"warm": 10, "cool": 10, "dim": 0}}, LIMITS)
    assert lines == ["only 2 kinds of light (warm, cool): add others"]
    assert advise({"light": {"warm": 10, "cool": 10}}, LIMITS) == []  # there are no other kinds


def test_of_what_nobody_could_tell_nothing_is_said() -> None:
    assert advise({"light": {"warm": 9, "cool": 0, "dim": 0, UNKNOWN: 10}}, LIMITS) == []
    assert advise({"light": {"warm": 0, UNKNOWN: 10}}, LIMITS) == []
    assert advise({}, LIMITS) == []


def test_well_covered_photos_need_no_advice() -> None:
    assert advise(EVEN | {"light": {"warm": 5, "cool": 5, "dim": 5}}, LIMITS) == []


@pytest.mark.parametrize(("largest", "said"), [(12, []), (13, ["13 of 20 photos share one light (warm): add others, or "
                                                            "it is learnt with the face"])])  # fmt: skip
def test_one_kind_may_have_its_share_of_all_photos_the_unknown_among_them(largest: int, said: list[str]) -> None:
    counts = {"cool": 2, "warm": largest, "dim": 1, UNKNOWN: 17 - largest}
    assert advise({"light": counts}, LIMITS) == said


def test_half_of_the_photos_must_be_known_before_anything_is_said() -> None:
    assert advise({"light": {"warm": 9, "cool": 0, "dim": 0, UNKNOWN: 9}}, LIMITS) == [
        "only 1 kinds of light (warm): add others"
    ]
    assert advise({"light": {"warm": 8, "cool": 0, "dim": 0, UNKNOWN: 9}}, LIMITS) == []


def test_clip_is_sure_from_its_bound_on_and_a_caption_with_two_kinds_leaves_it_to_clip() -> None:
    assert name_aspect("a woman", PLACES, np.array([0.2, 0.6, 0.1, 0.1]), 0.6) == "city"
    assert name_aspect("from the beach to the forest", PLACES, np.array([0.1, 0.8, 0.05, 0.05]), 0.6) == "city"


@pytest.mark.parametrize(("height", "framing"), [(0.45, "close-up"), (0.449, "portrait"), (0.25, "portrait"),
                                                 (0.12, "half-length"), (0.119, "full-length")])  # fmt: skip
def test_a_framing_begins_at_its_bound_in_whatever_order_they_are_listed(height: float, framing: str) -> None:
    assert name_framing(height, LIMITS.framing) == name_framing(height, LIMITS.framing[::-1]) == framing
    assert name_framing(-0.1, LIMITS.framing) == UNKNOWN


def test_photos_are_counted_aspect_by_aspect_and_the_unknown_only_where_there_are_any() -> None:
    photos = [{"light": "warm", "place": "city"}, {"light": "cool"}, {"light": "warm", "place": "studio"}]
    counted = count_coverage(photos, {"light": ("warm", "cool", "dim"), "place": ("city", "studio")})
    assert counted == {"light": {"warm": 2, "cool": 1, "dim": 0}, "place": {"city": 1, "studio": 1, UNKNOWN: 1}}
