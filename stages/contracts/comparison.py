"""metrics/comparison.json: whether the candidate is better than the baseline, metric by metric."""

from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from stages.contracts.artifact import Closed, read_artifact
from stages.contracts.paths import COMPARISON
from stages.contracts.scorecard import Cell, Interval
from stages.runtime.files import write_json

Verdict = Literal["IMPROVED", "REGRESSED", "EQUIVALENT", "INCONCLUSIVE"]

# Columns of per_image.csv that are compared; of each, more is better.
METRICS = (
    "similarity", "second_similarity", "likeness", "second_likeness", "passed", "face_found",
    "texture_score", "color_naturalness_score", "realism_score", "adherence",
    "prior_preservation",
)  # fmt: skip
EVENTS = frozenset({"passed", "face_found"})  # 0 or 1 in every picture
JUDGED = ("similarity", "second_similarity")  # the same pictures by two face judges


class RecipeComparison(Closed):
    """The same of the recipes, whatever seed they are trained with; known once one of them was trained twice."""

    delta: float = Field(description="candidate minus baseline, mean over trainings and prompts")
    interval: Interval
    verdict: Verdict
    p_value: float
    p_adjusted: float
    spread: float = Field(description="standard deviation between the LoRAs of one recipe, pooled over both")
    detectable: float | None = Field(description="smallest true difference of the recipes seen with 80% power")


class MetricComparison(Closed):
    """One metric under both versions.  Without a baseline only ``candidate`` has a value."""

    metric: str
    candidate: float
    baseline: float | None = None
    delta: float | None = Field(None, description="candidate minus baseline, mean over prompts")
    interval: Interval | None = Field(None, description="of delta, at the comparison's confidence")
    verdict: Verdict | None = None
    p_value: float | None = Field(None, description="two-sided, of no difference")
    p_adjusted: float | None = Field(None, description="the same after Holm's correction over all metrics")
    detectable: float | None = Field(
        None, description="smallest true difference called after Holm's correction with 80% power; null: no spread"
    )
    more_images: int | None = Field(None, description="how many more pictures would settle an INCONCLUSIVE one")
    margin: float = Field(0.0, description="compare.equivalence: a smaller difference does not matter")
    guarded: bool = Field(False, description="a regression here forbids adoption")
    method: str | None = Field(None, description="of the interval: studentized, pseudo-prompts, student or none")
    recipe: RecipeComparison | None = Field(None, description="null: neither recipe was trained with other seeds")


class ConfigDifference(Closed):
    """A setting in which the two versions differ; null where one of them lacks it."""

    key: str
    baseline: Any
    candidate: Any


class Version(Closed):
    """What a version is, and the figures that are compared without a test."""

    name: str
    run_id: str
    lora_sha256: str
    lora_dataset: str = Field("", description="as in the scorecard; empty where it is this manifest's")
    overall_score: float
    overall_grade: str
    best_config: Cell
    trainings: int = Field(1, description="LoRAs of this recipe that were scored: itself and its replicas")


class Recommendation(Closed):
    """What to do, and why in one sentence."""

    action: Literal["adopt", "keep", "undecided"]
    reason: str


class Comparison(Closed):
    """The candidate against the baseline."""

    comparable: bool = Field(description="false: there is no baseline, nothing was compared")
    baseline: Version | None
    candidate: Version
    protocol: str
    confidence: float
    prompts: int
    images: int
    metrics: list[MetricComparison]
    config_differences: list[ConfigDifference]
    recommendation: Recommendation

    def regressed_guarded(self) -> list[str]:
        """The guarded metrics on which the candidate is worse."""
        return [m.metric for m in self.metrics if m.guarded and m.verdict == "REGRESSED"]

    def judges_disagree(self) -> bool:
        """Whether one face judge calls the candidate better and the other one worse."""
        said = {m.verdict for m in self.metrics if m.metric in JUDGED}
        return said >= {"IMPROVED", "REGRESSED"}


def write_comparison(comparison: Comparison, path: Path = COMPARISON) -> None:
    """Write the comparison as JSON."""
    write_json(path, comparison.model_dump(mode="json"))


def read_comparison(path: Path = COMPARISON) -> Comparison:
    """Read a comparison.

    Raises:
        UserError: when it is missing or does not follow the schema.
    """
    return read_artifact(Comparison, path, "run `dvc repro compare`")
