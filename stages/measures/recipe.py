"""Is the recipe better, or only the LoRA that came out of it?  Training again gives another LoRA.

Two questions that one table cannot answer at once:

* *Is this LoRA better than that one?*  Both are given; what varies is what they are asked for.  The prompts are the
  sample (``measures.difference``), and one training each is enough.
* *Is this recipe better than that one?*  The LoRA is one draw of what the recipe gives.  The training seeds are a
  sample too, and with one seed each nothing is known of their spread: a difference that every picture shows may be
  luck.  It takes replicas: the same recipe, photos and sweep, other training seeds.
"""

import math
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtr, stdtrit

MANY = 1e6  # degrees of freedom beyond which Student's t is the normal distribution


@dataclass(frozen=True)
class RecipeDifference:
    """Mean of the candidate's LoRAs minus mean of the baseline's, in the metric's own unit."""

    baseline: float
    candidate: float
    delta: float
    interval: tuple[float, float]
    p_value: float  # two-sided, of no difference between the recipes; not yet corrected
    standard_error: float
    degrees: float  # of freedom, after Satterthwaite
    spread: float  # standard deviation between the LoRAs of one recipe
    detectable: float | None  # smallest true difference found 80 times in 100, Holm's correction paid


def measure_recipe(
    baseline_RK: np.ndarray,
    candidate_RK: np.ndarray,
    *,
    confidence: float,
    family: int,
    unit: float | None = None,
    power: float = 0.80,
) -> RecipeDifference:
    """The recipes' mean difference where prompts and training seeds are both samples.

    Var = Var_prompts + s^2 (1 / n_A + 1 / n_B): the squared standard error over prompts of the difference averaged over
    trainings, and the variance between the LoRAs' means of one recipe, pooled over both.  Pooling takes both recipes to
    be equally unsteady, which is what lets replicas of one of them speak for the other.  Its t is the root of Clark's
    min F' (1973, doi:10.1016/S0022-5371(73)80014-3), a lower bound of the quasi F of two crossed random effects: what
    one LoRA does to one prompt is counted in both terms, so the interval is rather too wide than too narrow.  Degrees
    of freedom: Satterthwaite (1946, doi:10.2307/3002019).

    Args:
        baseline_RK: mean scores of the baseline's LoRAs, trainings by prompts.
        candidate_RK: the same of the candidate, on the same prompts; the number of trainings may differ.
        confidence: of the interval, 0..1.
        family: how many metrics Holm's correction will count.
        unit: for 0/1 metrics, how far one more picture moves its prompt: two pseudo-prompts keep the spread above 0.
        power: of the detectable effect.

    Raises:
        ValueError: when neither recipe has two trainings, or the prompts differ in number or are fewer than two.
    """
    sides = (baseline_RK, candidate_RK)
    if max(map(len, sides)) < 2 or baseline_RK.shape[1] != candidate_RK.shape[1] or baseline_RK.shape[1] < 2:
        raise ValueError(f"two trainings on the same prompts, not {baseline_RK.shape} and {candidate_RK.shape}")
    delta = float(candidate_RK.mean() - baseline_RK.mean())
    difference_K = candidate_RK.mean(axis=0) - baseline_RK.mean(axis=0)
    if unit is not None:
        difference_K = np.append(difference_K, [unit, -unit])
    trained = sum(len(side) - 1 for side in sides)
    spread_2 = sum(float(side.mean(axis=1).var(ddof=0)) * len(side) for side in sides) / trained
    of_prompts = float(difference_K.var(ddof=1)) / len(difference_K)
    of_trainings = spread_2 * sum(1 / len(side) for side in sides)
    error = math.sqrt(of_prompts + of_trainings)
    terms = of_prompts**2 / (len(difference_K) - 1) + of_trainings**2 / trained
    degrees = min(error**4 / terms, MANY) if terms else MANY
    critical, corrected, likely = (
        float(stdtrit(degrees, level)) for level in ((1 + confidence) / 2, 1 - (1 - confidence) / (2 * family), power)
    )
    p_value = 2 * float(stdtr(degrees, -abs(delta) / error)) if error else float(delta == 0.0)
    return RecipeDifference(
        baseline=float(baseline_RK.mean()), candidate=float(candidate_RK.mean()), delta=delta,
        interval=(delta - critical * error, delta + critical * error), p_value=p_value, standard_error=error,
        degrees=degrees, spread=math.sqrt(spread_2), detectable=(corrected + likely) * error if error else None,
    )  # fmt: skip
