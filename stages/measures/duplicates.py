"""Near-duplicate photos: found by perceptual hashes, kept on one side of the split."""

import math
from collections.abc import Sequence

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from stages.runtime.seeds import derive_seed


def hash_distances(phashes: Sequence[str]) -> np.ndarray:
    """Hamming distances of perceptual hashes (Zauner 2010, Implementation and Benchmarking of Perceptual Image Hashes).

    Args:
        phashes: N 64-bit hashes, 16 hexadecimal digits each.

    Returns:
        uint8 (N, N), 0..64 bits.
    """
    bits = np.array([int(phash, 16) for phash in phashes], dtype=np.uint64)
    return np.bitwise_count(bits[:, None] ^ bits[None, :])


def group_duplicates(phashes: Sequence[str], digests: Sequence[str], distance: int) -> list[int]:
    """Which photos are (nearly) the same picture.

    Two photos are alike when their bytes are the same or their hashes differ in at most ``distance`` bits; a group is
    a connected component of that relation, so the ends of a burst are in one group through its middle.

    Args:
        phashes: N perceptual hashes, 16 hexadecimal digits each.
        digests: N hashes of the files' bytes.
        distance: bits, 0..64.

    Returns:
        N group numbers, counted from 0 in order of first appearance.
    """
    if not phashes:
        return []
    same_bytes = np.asarray(digests)[:, None] == np.asarray(digests)[None, :]
    rows, columns = np.nonzero(same_bytes | (hash_distances(phashes) <= distance))
    links = coo_array((np.ones(len(rows), dtype=np.int8), (rows, columns)), shape=(len(phashes), len(phashes)))
    labels = connected_components(links, directed=False)[1].tolist()
    order = {label: number for number, label in enumerate(dict.fromkeys(labels))}
    return [order[label] for label in labels]


def holdout_size(count: int, fraction: float, minimum: int) -> int:
    """How many of ``count`` photos to keep from training: the fraction, rounded up, never fewer than ``minimum``."""
    return max(math.ceil(fraction * count - 1e-9), minimum)  # 0.07 * 100 is a little more than 7


def split_groups(groups: Sequence[int], digests: Sequence[str], size: int, seed: int) -> list[bool]:
    """Choose whole groups that hold ``size`` photos, or as few more as whole groups allow.

    Every group's place in the lottery comes from ``seed`` and its smallest digest alone, so the choice is independent
    of file names, and one photo more moves few others to the other side.

    Args:
        groups: N group numbers.
        digests: N hashes of the files' bytes.
        size: photos wanted, 0..N.
        seed: of the lottery.

    Returns:
        N booleans: True for the chosen photos.

    Raises:
        ValueError: when ``size`` is more than N.
    """
    if size > len(groups):
        raise ValueError(f"{size} of {len(groups)} photos cannot be chosen")
    members: dict[int, list[str]] = {}
    for group, digest in zip(groups, digests, strict=True):
        members.setdefault(group, []).append(digest)
    lottery = sorted(members, key=lambda group: derive_seed(seed, "split", min(members[group])))
    chosen = _fill(lottery, {group: len(held) for group, held in members.items()}, size)
    return [group in chosen for group in groups]


def _fill(lottery: Sequence[int], sizes: dict[int, int], wanted: int) -> set[int]:
    """Groups whose sizes sum to ``wanted`` or as little more as possible, early ones in the lottery first."""
    reached: dict[int, tuple[int, ...]] = {0: ()}  # sum -> the first groups that were found to make it
    for group in lottery:
        for total in [total for total in reached if total < wanted]:
            reached.setdefault(total + sizes[group], (*reached[total], group))
        if wanted in reached:
            break
    return set(reached[min(total for total in reached if total >= wanted)])
