"""Race the cells of a sweep: all are drawn a few pictures further at a time, and who loses is drawn no further.

Racing (Maron & Moore 1994) as irace's t-race does it (Lopez-Ibanez et al. 2016, doi:10.1016/j.orp.2016.09.002): after
every round each cell that is left is compared with the leader on the same prompts and seeds, pair by pair, and leaves
when it is clearly worse.  The test is the one that decides in the end (``measures.selection``), because a lost face
must count for what it costs; a test of ranks, as Optuna's WilcoxonPruner has it, forgives it.  How clearly is O'Brien
and Fleming's boundary (1979, doi:10.2307/2530245): a leader of few pictures is often a lucky one, so little is dropped
early and more the further the race has gone.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from stages.measures.selection import test_worse

FEWEST = 4  # pairs before anything is dropped
LAST_LEVEL = 0.2  # p below which a cell is dropped when all is drawn; found on development sweeps


@dataclass(frozen=True)
class Race:
    """How a race went."""

    scores_CN: np.ndarray  # NaN where a cell was not drawn
    left: tuple[int, ...]  # cells that were not dropped, ascending


def order_instances(prompts: int, seeds: Sequence[int], seed: int) -> list[tuple[int, int]]:
    """Every (prompt index, seed) once, in random order, but all prompts in turn: each part of it is as hard as another.

    Args:
        prompts: how many.
        seeds: of the pictures.
        seed: of the order.
    """
    rng = np.random.default_rng(seed)
    seeds_of = [rng.permutation(len(seeds)) for _ in range(prompts)]
    return [
        (int(prompt), seeds[seeds_of[prompt][turn]])
        for turn in range(len(seeds))
        for prompt in rng.permutation(prompts)
    ]


def drop_level(drawn: int, instances: int) -> float:
    """p below which a cell is dropped after ``drawn`` of ``instances`` pictures: Phi(z(LAST_LEVEL) sqrt(N / n))."""
    return float(stats.norm.cdf(stats.norm.ppf(LAST_LEVEL) * np.sqrt(instances / drawn)))


def race(draw: Callable[[list[int], list[int]], np.ndarray], cells: int, instances: int, block: int) -> Race:
    """Race ``cells`` cells over ``instances`` instances, ``block`` of them a round, until one is left or all are drawn.

    Args:
        draw: the scores of these cells on these instances, float (len(cells), len(instances)).
    """
    scores_CN = np.full((cells, instances), np.nan)
    left = list(range(cells))
    for start in range(0, instances, block):
        stop = min(start + block, instances)
        scores_CN[left, start:stop] = draw(left, list(range(start, stop)))
        if stop >= FEWEST:
            drawn_KN = scores_CN[left, :stop]
            p_K = test_worse(drawn_KN, int(drawn_KN.mean(axis=1).argmax()))
            left = [cell for cell, p in zip(left, p_K, strict=True) if p >= drop_level(stop, instances)]
        if len(left) == 1:
            break
    return Race(scores_CN, tuple(left))
