"""Photos that are alike: found by perceptual hashes and by embeddings, kept on one side of the split."""

import math
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from stages.runtime.seeds import derive_seed

BLOCK = 1024  # photos that are compared with all others at once; decides memory, never who is alike


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
    bits_N = np.array([int(phash, 16) for phash in phashes], dtype=np.uint64)
    same_bytes_N = np.unique(np.asarray(digests), return_inverse=True)[1]
    near = ((rows, np.bitwise_count(bits_N[rows, None] ^ bits_N[None, :]) <= distance) for rows in _blocks(len(bits_N)))
    return _number(_join(same_bytes_N, near))


def group_moments(duplicates: Sequence[int], embeddings_ND: np.ndarray, least: float) -> list[int]:
    """Which photos are shots of one moment: what a perceptual hash loses as soon as a picture is cropped or mirrored.

    Measured on rendered people of the development seeds, against the plain photo: of mirror images, turns of the head
    by 10 degrees, crops to 90% and to 80%, pHash within 6 bits finds 0, 84, 4 and 0%; the miniature's CLIP from 0.90
    on finds 100, 100, 86 and 49%.  Of 27,456 pairs of different scenes of one person 25 pass 0.90, nearly all in the
    same clothes, place and light.  Face embeddings cannot do it: they are alike because the person is (1% of different
    scenes lie above 0.976, half of the 10-degree turns below 0.977).

    Args:
        duplicates: N group numbers of ``group_duplicates``; such a group stays whole.
        embeddings_ND: unit embeddings of the images, float32 (N, D).
        least: cosine from which on two photos are of one moment.

    Returns:
        N group numbers, counted from 0 in order of first appearance; a group is a connected component.
    """
    alike = ((rows, cosine_BN >= least) for rows, cosine_BN in _cosines(embeddings_ND))
    return _number(_join(np.asarray(duplicates), alike))


def find_nearest(embeddings_ND: np.ndarray) -> list[tuple[int, float]]:
    """The most alike other photo of each of N >= 2, the first where several are, and their cosine, -1..1.

    Args:
        embeddings_ND: unit embeddings of the images, float32 (N, D).
    """
    found: list[tuple[int, float]] = []
    for rows, cosine_BN in _cosines(embeddings_ND):
        inside_B = np.arange(len(cosine_BN))
        cosine_BN[inside_B, rows.start + inside_B] = -np.inf
        best_B = cosine_BN.argmax(axis=1)
        found += zip(best_B.tolist(), cosine_BN[inside_B, best_B].tolist(), strict=True)
    return found


def _blocks(count: int) -> Iterator[slice]:
    """``count`` rows in blocks: what is compared with all others is never in memory for all rows at once."""
    return (slice(start, min(start + BLOCK, count)) for start in range(0, count, BLOCK))


def _cosines(embeddings_ND: np.ndarray) -> Iterator[tuple[slice, np.ndarray]]:
    """Cosines of unit vectors, float32 (B, N), block of rows by block of rows."""
    return ((rows, embeddings_ND[rows] @ embeddings_ND.T) for rows in _blocks(len(embeddings_ND)))


def _join(labels_N: np.ndarray, linked: Iterable[tuple[slice, np.ndarray]]) -> np.ndarray:
    """Connected components: labels of N items, joined by the links bool (B, N) of block after block of rows."""
    count = len(labels_N)
    for rows, linked_BN in linked:
        firsts, known_N = np.unique(labels_N, return_index=True, return_inverse=True)[1:]
        near_B, other_B = np.nonzero(linked_BN)
        ends = (np.concatenate([np.arange(count), near_B + rows.start]), np.concatenate([firsts[known_N], other_B]))
        links = coo_array((np.ones(len(ends[0]), dtype=bool), ends), shape=(count, count))
        labels_N = connected_components(links, directed=False)[1]
    return labels_N


def _number(labels_N: np.ndarray) -> list[int]:
    """The labels, counted from 0 in order of first appearance."""
    labels = labels_N.tolist()
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
