"""metrics/history.jsonl: one line per promotion, only ever appended, kept by git and outside the DAG."""

import os
from datetime import datetime
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from stages.contracts.paths import HISTORY
from stages.runtime.errors import UserError


class Promotion(BaseModel):
    """One version that was promoted."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    promoted_at: datetime = Field(description="UTC")
    run_id: str
    lora_version: str
    lora_sha256: str
    protocol: str
    dataset_manifest_sha256: str
    lora_dataset: str = Field("", description="as in the scorecard")
    scores: dict[str, float]
    overall_score: float
    overall_grade: str
    forced: bool
    why: str = Field(description="given with --force; empty otherwise")
    overruled: list[str] = Field(description="what spoke against it, when it was forced")
    use: str = Field("non-commercial", description="promotion.use, as declared then")
    licences: dict[str, str] = Field({}, description="of the base and of each judge")


def append_promotion(promotion: Promotion, path: Path = HISTORY) -> None:
    """Append one line and see it on the disk.  The caller holds the history's lock."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # A line that a full disk cut short must not swallow the next one.
    torn = path.exists() and path.read_bytes()[-1:] not in (b"", b"\n")
    with path.open("a", encoding="utf-8", newline="\n") as stream:
        stream.write(("\n" if torn else "") + promotion.model_dump_json() + "\n")
        stream.flush()
        os.fsync(stream.fileno())


def read_history(path: Path = HISTORY) -> list[Promotion]:
    """Every promotion, oldest first; none where nothing was promoted yet.

    Raises:
        UserError: naming the first line that does not follow the schema.
    """
    if not path.exists():
        return []
    rows = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        if not line.strip():
            continue
        try:
            rows.append(Promotion.model_validate_json(line))
        except ValidationError as error:
            first = error.errors()[0]
            what = f"{'.'.join(map(str, first['loc'])) or 'line'}: {first['msg']}"
            raise UserError(f"{path}:{number}", what, "restore the line from git") from None
    return rows
