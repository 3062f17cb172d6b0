"""Near-duplicates are found and kept together; the split is fair, seeded and stable."""

import hashlib
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.measures import duplicates
from stages.measures.duplicates import (
    find_nearest,
    group_duplicates,
    group_moments,
    holdout_size,
    split_groups,
)

FLAT = "0" * 16


def digests(count: int) -> list[str]:
    return [hashlib.sha256(str(number).encode()).hexdigest() for number in range(count)]


def test_a_chain_of_near_duplicates_is_one_group_and_groups_are_numbered_as_they_appear() -> None:
    hashes = ["ffffffffffffffff", "0000000000000000", "0000000000000003", "000000000000000f"]
    assert group_duplicates(hashes, digests(4), distance=2) == [0, 1, 1, 1]
    assert group_duplicates(hashes, digests(4), distance=1) == [0, 1, 2, 3]


def test_the_same_bytes_are_one_group_even_where_hashes_are_far_apart() -> None:
    assert group_duplicates([FLAT, "f" * 16, "f0" * 8], ["a", "b", "a"], distance=0) == [0, 1, 0]


def test_no_photos_make_no_groups() -> None:
    assert group_duplicates([], [], distance=6) == []


@pytest.mark.parametrize(
    ("count", "fraction", "minimum", "size"),
    [(30, 0.2, 0, 6), (31, 0.2, 0, 7), (100, 0.07, 0, 7), (30, 0.2, 10, 10), (30, 0.0, 0, 0), (5, 0.2, 10, 10)],
)  # fmt: skip
def test_the_holdout_is_the_fraction_rounded_up_but_never_below_the_minimum(count, fraction, minimum, size) -> None:
    assert holdout_size(count, fraction, minimum) == size


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 8), min_size=1, max_size=24), st.data())
def test_groups_stay_whole_and_the_holdout_is_filled_with_as_few_photos_as_they_allow(groups, data) -> None:
    size = data.draw(st.integers(0, len(groups)))
    chosen = split_groups(groups, digests(len(groups)), size, seed=3)
    sides = {(group, side) for group, side in zip(groups, chosen, strict=True)}
    assert len(sides) == len(set(groups))
    sums = {0}
    for group in set(groups):
        sums |= {total + groups.count(group) for total in sums}
    assert sum(chosen) == min(total for total in sums if total >= size)


def test_the_same_seed_chooses_the_same_photos_whatever_their_order_and_another_seed_others() -> None:
    names = digests(40)
    first = {d for d, kept in zip(names, split_groups(range(40), names, 10, seed=1), strict=True) if kept}
    turned = names[::-1]
    again = {d for d, kept in zip(turned, split_groups(range(40), turned, 10, seed=1), strict=True) if kept}
    other = {d for d, kept in zip(names, split_groups(range(40), names, 10, seed=2), strict=True) if kept}
    assert first == again != other


def test_one_photo_more_moves_at_most_one_other_to_the_other_side() -> None:
    names = digests(41)
    before = split_groups(range(40), names[:40], 10, seed=0)
    after = split_groups(range(41), names, 10, seed=0)[:40]
    assert sum(a != b for a, b in zip(before, after, strict=True)) <= 1


def test_more_photos_than_there_are_cannot_be_chosen() -> None:
    with pytest.raises(ValueError, match="3 of 2"):
        split_groups([0, 1], digests(2), 3, seed=0)


def test_moments_join_what_embeddings_find_alike_and_keep_duplicates_whole() -> None:
    likeness = np.eye(5)
    for a, b, cosine in ((0, 1, 0.95), (1, 2, 0.901), (0, 2, 0.8), (3, 4, 0.891)):
        likeness[a, b] = likeness[b, a] = cosine
    embeddings, alone = np.linalg.cholesky(likeness).astype(np.float32), [0, 1, 2, 3, 4]
    assert group_moments(alone, embeddings, 0.9) == [0, 0, 0, 1, 2]
    assert group_moments(alone, embeddings, 0.96) == alone
    assert group_moments([0, 1, 2, 1, 3], embeddings, 0.96) == [0, 1, 2, 1, 3]
    assert group_moments([0, 1, 2, 1, 3], embeddings, 0.89) == [0, 0, 0, 0, 0]


def test_the_nearest_photo_is_another_one() -> None:
    found = find_nearest(np.array([[1, 0], [0.6, 0.8], [0, 1], [1, 0]], dtype=np.float32))
    assert [other for other, _ in found] == [3, 2, 1, 0]
    assert np.allclose([similarity for _, similarity in found], [1, 0.8, 0.8, 1])


def test_photos_are_grouped_the_same_whatever_lies_in_memory_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    hashes = [f"{value:016x}" for value in rng.integers(0, 4000, 60)]
    names = [str(number % 37) for number in range(60)]
    vectors = rng.normal(size=(60, 3))
    embeddings = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    found = []
    for block in (1024, 60, 7, 1):
        monkeypatch.setattr(duplicates, "BLOCK", block)
        groups = group_duplicates(hashes, names, 1)
        found.append((groups, group_moments(groups, embeddings, 0.98), [n for n, _ in find_nearest(embeddings)]))
    assert found == found[:1] * 4
    assert 1 < len(set(found[0][1])) < len(set(found[0][0])) < 60


def test_ten_thousand_photos_need_little_memory() -> None:
    """All pairs at once would be 800 MB for the hashes alone."""
    others = [f"{value:016x}" for value in np.random.default_rng(0).integers(0, 2**63, 9000)]
    tracemalloc.start()
    groups = group_duplicates([FLAT] * 1000 + others, digests(10_000), 6)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(set(groups)) == 9001
    assert peak < 250e6
