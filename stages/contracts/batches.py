"""D/batch.json: what a batch was asked for, how far it is, and what came out; D/per_image.csv beside it."""

from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from stages.contracts.artifact import Closed, read_artifact
from stages.contracts.scorecard import Settings
from stages.runtime.files import write_json

BATCH, TABLE, REPORT, PAGE = "batch.json", "per_image.csv", "batch_report.md", "batch_report.html"
APPROVED, REJECTED = "approved", "rejected"  # subfolders
REASON = ".txt"  # NAME.png was rejected for what NAME.txt says
SCORES = ("similarity", "second_similarity", "realism", "adherence", "sharpness", "closeness")  # that have a mean
COLUMNS = (
    "file", "approved", "prompt_index", "prompt", "seed", "faces", *SCORES[:-1], "nearest_file", "nearest_bits",
    "nearest_similarity", "nearest_photo", "closeness",
    "safety",  # empty where policy.classifier is null
    "reasons",  # one after the other, with "; " between them
)  # fmt: skip


class Wish(Closed):
    """One prompt of a batch."""

    prompt: str = Field(description="{trigger} and {class_word} are filled in")
    negative_prompt: str | None = Field(None, description="null: that of the settings")
    count: int | None = Field(None, ge=1, description="pictures of it, at most; null: as many as of the others")


class Refusal(Closed):
    """A prompt that is not drawn."""

    prompt_index: int
    prompt: str
    rule: str
    reason: str


class Batch(Closed):
    """One batch."""

    id: str = Field(description="12 hexadecimal digits from everything that was asked for: the same has the same id")
    state: Literal["drawing", "drawn", "finished"] = Field(
        "drawing", description="drawn: every picture is there; finished: the approved ones have passports as well"
    )
    drawn_by: str = Field(description="sha256 of code, device and servers: another drawer does not go on with it")
    begun: str = Field(description="UTC, ISO 8601")
    dataset: str
    version: str
    lora_sha256: str
    subject: str = Field(description="name on the subject card")
    subject_sha256: str
    best_config: Settings
    settings: dict[str, Any] = Field(description="the section batch of this run, without its prompts")
    thresholds: dict[str, Any]
    memorised_from: float = Field(description="closeness to a training photo above which a picture repeats it")
    wishes: tuple[Wish, ...]
    refused: tuple[Refusal, ...] = ()
    warnings: tuple[str, ...] = ()
    generated: int = 0
    accepted: int = 0
    rejected: int = 0
    reasons: dict[str, int] = Field(
        default_factory=dict, description="rule -> rejected pictures that it speaks against"
    )
    means: dict[str, float] = Field(default_factory=dict, description="of the approved pictures' scores")
    seconds: float = Field(0.0, description="over all runs, from the start of each")
    usd_per_accepted: str | None = Field(None, description="from the ledger of paid time; null: none is kept")

    @property
    def acceptance(self) -> float | None:
        """Share of the pictures that were approved; None before there is one."""
        return self.accepted / self.generated if self.generated else None

    @property
    def seconds_per_accepted(self) -> float | None:
        """Time that one approved picture took; None where there is none."""
        return self.seconds / self.accepted if self.accepted else None


def index_of(name: str) -> int:
    """The index of the prompt in a picture's name, VERSION_p03_WHAT_s12345.png."""
    return int(name.rsplit("_", 3)[1].removeprefix("p"))


def read_batch(folder: Path) -> Batch:
    """The batch in ``folder``.

    Raises:
        UserError: when there is none, or its file does not follow the schema.
    """
    return read_artifact(Batch, folder / BATCH, "make one: pistachio batch --output-dir " + str(folder))


def write_batch(batch: Batch, folder: Path) -> None:
    """Write the batch's file, atomically."""
    write_json(folder / BATCH, batch.model_dump(mode="json"))
