"""Photos that are alike: found by perceptual hashes and by embeddings, kept on one side of the split."""

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
    return _components(same_bytes | (hash_distances(phashes) <= distance))


def cosines(embeddings_ND: np.ndarray) -> np.ndarray:
    """Cosine of every pair of unit vectors float32 (N, D): float32 (N, N), -1..1."""
    pairs: np.ndarray = embeddings_ND @ embeddings_ND.T
    return pairs


def group_moments(duplicates: Sequence[int], similarity_NN: np.ndarray, least: float) -> list[int]:
    """Which photos are shots of one moment: what a perceptual hash loses as soon as a picture is cropped or mirrored.

    Measured on rendered people of the development seeds, against the plain photo: of mirror images, turns of the head
    by 10 degrees, crops to 90% and to 80%, pHash within 6 bits finds 0, 84, 4 and 0%; the miniature's CLIP from 0.90
    on finds 100, 100, 86 and 49%.  Of 27,456 pairs of different scenes of one person 25 pass 0.90, nearly all in the
    same clothes, place and light.  Face embeddings cannot do it: they are alike because the person is (1% of different
    scenes lie above 0.976, half of the 10-degree turns below 0.977).

    Args:
        duplicates: N group numbers of ``group_duplicates``; such a group stays whole.
        similarity_NN: cosines of image embeddings, float (N, N).
        least: cosine from which on two photos are of one moment.

    Returns:
        N group numbers, counted from 0 in order of first appearance; a group is a connected component.
    """
    same = np.asarray(duplicates)[:, None] == np.asarray(duplicates)[None, :]
    return _components(same | (similarity_NN >= least))


def nearest(similarity_NN: np.ndarray) -> list[int]:
    """The most alike other photo of each of N >= 2, the first where several are."""
    others = similarity_NN.astype(np.float64)
    np.fill_diagonal(others, -np.inf)
    return [int(index) for index in others.argmax(axis=1)]


def _components(linked_NN: np.ndarray) -> list[int]:
    """The connected component of each of N items, counted from 0 in order of first appearance."""
    rows, columns = np.nonzero(linked_NN)
    links = coo_array((np.ones(len(rows), dtype=np.int8), (rows, columns)), shape=linked_NN.shape)
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
