"""Scores whose truth is known: two versions' pictures that score as real ones do, with a difference planted or none.

Every picture has a latent normal value per trait: what its prompt does to both versions, what the prompt does to one
version, what the starting noise does to both, and its own.  A trait's quantile function turns it into a score that is
bounded and skewed as the recorded ones (metrics/versions/*/per_image.csv, from which shares, correlations and
distributions were taken); a picture without a face scores 0.
"""

from dataclasses import dataclass, field

import numpy as np
from scipy import stats

SEEDS = 2  # pictures of a prompt

# Share of a trait's variance: prompt (both versions), prompt (one version), starting noise (both), the picture's own.
TRAITS = {
    "similarity": (0.35, 0.10, 0.25, 0.30), "second_similarity": (0.25, 0.10, 0.15, 0.50),
    "texture": (0.15, 0.30, 0.05, 0.50), "colour": (0.10, 0.10, 0.05, 0.75), "adherence": (0.72, 0.10, 0.06, 0.12),
    "prior": (0.05, 0.10, 0.05, 0.80), "found": (0.20, 0.10, 0.30, 0.40),
}  # fmt: skip
SHARES_T4 = np.array(list(TRAITS.values()))
CORRELATED = {
    ("similarity", "second_similarity"): 0.6, ("similarity", "texture"): 0.35, ("similarity", "prior"): -0.4,
    ("second_similarity", "prior"): -0.3, ("adherence", "similarity"): -0.2,
}  # fmt: skip
METRICS = (
    "similarity", "second_similarity", "passed", "face_found", "texture_score", "color_naturalness_score",
    "realism_score", "adherence", "prior_preservation",
)  # fmt: skip
GRID = np.linspace(-6, 6, 2001)


@dataclass(frozen=True)
class Quality:
    """How one version's pictures score, over all prompts: beta distributions (a, b, largest value)."""

    similarity: tuple[float, float, float] = (12.0, 6.4, 1.0)
    second_similarity: tuple[float, float, float] = (35.0, 3.5, 0.98)
    texture: tuple[float, float, float] = (0.5, 2.6, 1.0)
    colour: tuple[float, float, float] = (60.0, 0.6, 1.0)
    found: float = 1.0  # share of pictures with a face
    passed: float = 0.65


WIDE = Quality(similarity=(4.8, 2.6, 1.0), second_similarity=(8.0, 0.78, 0.98), texture=(0.35, 1.8, 1.0))


@dataclass(frozen=True)
class World:
    """Two versions; ``level`` moves the candidate's means onto the baseline's."""

    name: str
    baseline: Quality = field(default_factory=Quality)
    candidate: Quality = field(default_factory=Quality)
    level: bool = True


SAME = World("the same recipe twice")
SPREAD = World("equal means, other spread", baseline=WIDE)
LOST = World("both lose 4% of the faces", Quality(found=0.96), Quality(found=0.96))
LOSES = World("4% against 0.5% of the faces lost", Quality(found=0.96), Quality(found=0.995), level=False)


def draw_latents(rng: np.random.Generator, comparisons: int, prompts: int) -> np.ndarray:
    """Standard normal: (2 versions, traits, comparisons, prompts, seeds)."""
    names, correlation = list(TRAITS), np.eye(len(TRAITS))
    for (one, other), value in CORRELATED.items():
        i, j = names.index(one), names.index(other)
        correlation[i, j] = correlation[j, i] = value
    mix = np.linalg.cholesky(correlation)

    def draw(part: int, *shape: int) -> np.ndarray:
        scaled = mix * np.sqrt(SHARES_T4[:, part, None])
        # every row of ``mix`` has length 1, so each part keeps the share of variance that TRAITS gives it
        return np.tensordot(scaled, rng.standard_normal((len(names), *shape)), axes=1)

    shared = draw(0, comparisons, prompts, 1) + draw(2, comparisons, prompts, SEEDS)
    own = [draw(1, comparisons, prompts, 1) + draw(3, comparisons, prompts, SEEDS) for _ in range(2)]
    return np.stack([shared + version for version in own])


def score_pictures(latent_TCKS: np.ndarray, quality: Quality) -> np.ndarray:
    """Scores (metrics, comparisons, prompts, seeds), in the order of METRICS."""
    z = dict(zip(TRAITS, latent_TCKS, strict=True))
    found = (z["found"] > stats.norm.ppf(1 - quality.found)).astype(float)
    similarity, second, texture, colour = (
        np.interp(z[trait], GRID, _quantiles(quality, trait)) * found
        for trait in ("similarity", "second_similarity", "texture", "colour")
    )
    passed = (z["similarity"] > stats.norm.ppf(1 - quality.passed)).astype(float)
    return np.stack([similarity, second, passed, found, texture, colour, np.sqrt(texture * colour),
                     0.6 + 0.028 * z["adherence"], 82 + 22 * z["prior"]])  # fmt: skip


def _quantiles(quality: Quality, trait: str) -> np.ndarray:
    a, b, largest = getattr(quality, trait)
    return largest * stats.beta.ppf(stats.norm.cdf(GRID), a, b)


def true_means(quality: Quality) -> np.ndarray:
    """The expected score of every metric."""

    def mean(trait: str, power: float = 1.0) -> float:
        values = _quantiles(quality, trait) ** power
        weights = stats.norm.pdf(GRID)
        return float(values @ weights / weights.sum())

    found = quality.found
    realism = mean("texture", 0.5) * mean("colour", 0.5)  # their latents are independent
    return np.array([mean("similarity") * found, mean("second_similarity") * found, quality.passed, found,
                     mean("texture") * found, mean("colour") * found, realism * found, 0.6, 82.0])  # fmt: skip


def truth_of(world: World) -> np.ndarray:
    """The planted mean difference of every metric."""
    if world.level:
        return np.zeros(len(METRICS))
    return true_means(world.candidate) - true_means(world.baseline)


def draw_scores(world: World, seed: int, comparisons: int, prompts: int) -> tuple[np.ndarray, np.ndarray]:
    """Both versions' scores, (metrics, comparisons, pictures), and the candidate's latent similarity and found."""
    rng = np.random.default_rng([seed, prompts])
    latent = draw_latents(rng, comparisons, prompts)
    sides = [score_pictures(latent[0], world.baseline), score_pictures(latent[1], world.candidate)]
    if world.level:
        sides[1] += (true_means(world.baseline) - true_means(world.candidate)).reshape(-1, 1, 1, 1)
    flat = np.stack(sides).reshape(2, len(METRICS), comparisons, -1)
    names = list(TRAITS)
    traits = latent[1][[names.index("similarity"), names.index("found")]].reshape(2, comparisons, -1)
    return flat, traits
