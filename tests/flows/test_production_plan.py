"""Which pictures a batch draws follows from its prompts alone, and no prompt moves another's."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.contracts.batches import Wish, index_of
from stages.contracts.settings import Batch
from stages.flows.production_plan import picture_name, plan_rounds, seed_of

BATCH = Batch(prompts=("x",), count=3)
COUNTS = st.lists(st.none() | st.integers(1, 5), min_size=1, max_size=8)


def wishes(*counts: int | None) -> dict[int, Wish]:
    return {i: Wish(prompt=f"prompt {i}", count=count) for i, count in enumerate(counts)}


def test_one_picture_of_every_prompt_is_drawn_before_the_next_of_any() -> None:
    assert list(plan_rounds(wishes(None, 1), BATCH)) == [(0, 0), (1, 0), (0, 1), (0, 2)]


@given(COUNTS)
def test_every_prompt_gets_its_count_and_no_picture_comes_twice(counts: list[int | None]) -> None:
    places = list(plan_rounds(wishes(*counts), BATCH))
    assert len(set(places)) == len(places)
    for index, count in enumerate(counts):
        assert [n for i, n in places if i == index] == list(range(count or 3))
    assert [n for _, n in places] == sorted(n for _, n in places)


@given(COUNTS, st.integers(1, 30))
def test_a_number_to_reach_bounds_all_pictures_and_counts_still_bound_their_prompts(
    counts: list[int | None], most: int
) -> None:
    batch = Batch(prompts=("x",), until=1, most=most)
    places = list(plan_rounds(wishes(*counts), batch))
    enough = None in counts or sum(count or 0 for count in counts) >= most
    assert len(places) == most if enough else len(places) == sum(count or 0 for count in counts)
    assert all(n < counts[i] for i, n in places if counts[i] is not None)  # type: ignore[operator]


@given(st.text(min_size=1), st.text(min_size=1), st.integers(0, 100), st.integers(0, 100))
def test_seeds_follow_from_text_number_and_master_seed(one: str, other: str, n: int, m: int) -> None:
    assert seed_of(BATCH, one, n) == seed_of(BATCH, one, n)
    assert 0 <= seed_of(BATCH, one, n) < 2**32
    if (one, n) != (other, m):
        assert seed_of(BATCH, one, n) != seed_of(BATCH, other, m)
    assert seed_of(BATCH.model_copy(update={"seed": 1}), one, n) != seed_of(BATCH, one, n)


@given(st.text(), st.from_regex(r"[A-Za-z0-9._-]{1,20}", fullmatch=True), st.integers(0, 999))
def test_a_name_is_safe_short_and_tells_the_prompt_s_index(prompt: str, version: str, index: int) -> None:
    name = picture_name(version, index, prompt, 2**32 - 1)
    assert re.fullmatch(r"[a-z0-9][a-z0-9._-]*\.png", name)
    assert len(name) < 120
    assert index_of(name) == index


@pytest.mark.parametrize(
    ("prompt", "name"),
    [
        ("{trigger}, a {class_word}, smiling, in a café", "v3_p03_smiling-in-a-caf_s7.png"),
        ("a photo of {trigger}", "v3_p03_a-photo-of_s7.png"),
        ("{trigger}", "v3_p03_picture_s7.png"),
    ],
)
def test_names_say_what_is_shown(prompt: str, name: str) -> None:
    assert picture_name("v3", 3, prompt, 7) == name
