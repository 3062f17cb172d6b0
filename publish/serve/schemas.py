"""What comes and goes over HTTP."""

import hashlib
import re
import secrets
from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from publish.serve.job import LARGEST_SEED, Asked, Job, State
from publish.serve.problems import FAILURES

JOB_ID = r"^[0-9a-f]{32}$"
EXAMPLE_ID = "3f0c9a7be1d24c56a7b8c9d0e1f20314"
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\ufdd0-\ufdef]")


def _plain(text: str) -> str:
    if CONTROL.search(text):
        raise ValueError("holds control characters")
    if not text.strip():
        raise ValueError("is blank")
    return text


Text = Annotated[str, AfterValidator(_plain)]


class NewJob(BaseModel):
    """What to draw."""

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        json_schema_extra={"examples": [{"prompt": "{trigger}, a {class_word}, smiling", "count": 1, "seed": 7}]},
    )

    prompt: Text = Field(min_length=1, description="{trigger} and {class_word} are filled in")
    count: int = Field(1, ge=1, description="pictures")
    seed: int | None = Field(
        None, ge=0, le=LARGEST_SEED,
        description="pictures are drawn with this seed and those that follow it; default: a random one",
    )  # fmt: skip
    negative_prompt: str | None = Field(None, description="what not to show; default: the server's")

    def ask(self) -> Asked:
        """What is to be drawn, with a seed."""
        seed = secrets.randbelow(LARGEST_SEED + 1) if self.seed is None else self.seed
        return Asked(self.prompt, self.negative_prompt, seed, self.count)

    @property
    def sha256(self) -> str:
        """Of the body's meaning: the order of its keys and what stands for a default do not matter."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()


class PictureView(BaseModel):
    """One delivered picture."""

    number: int = Field(description="0, 1, ... within the job")
    seed: int
    href: str = Field(description="where the PNG is")
    sha256: str = Field(description="of the PNG, which is also its ETag")


SHOWN: dict[str, Any] = {
    "id": EXAMPLE_ID, "state": "done", "prompt": "{trigger}, a {class_word}, smiling", "negative_prompt": None,
    "seed": 7, "count": 1, "drawn": 2, "rejected": ["seed 7: similarity 0.41 is below 0.60"],
    "pictures": [{"number": 0, "seed": 8, "href": f"/v1/jobs/{EXAMPLE_ID}/images/0", "sha256": "9f86d081" * 8}],
    "failure": None, "detail": None, "created": "2026-01-01T12:00:00Z", "started": "2026-01-01T12:00:01Z",
    "finished": "2026-01-01T12:00:05Z",
}  # fmt: skip


class JobView(BaseModel):
    """How a job stands."""

    model_config = ConfigDict(json_schema_extra={"examples": [SHOWN]})

    id: str = Field(pattern=JOB_ID, examples=[EXAMPLE_ID])
    state: State = Field(
        description="queued, running; then done, incomplete (fewer pictures passed the gate than were asked for),"
        " failed or cancelled"
    )
    prompt: str
    negative_prompt: str | None
    seed: int
    count: int = Field(description="pictures asked for")
    drawn: int = Field(description="pictures drawn so far, those rejected included")
    rejected: list[str] = Field(description="why pictures were rejected, one line each; they are not delivered")
    pictures: list[PictureView] = Field(description="what can be fetched so far")
    failure: str | None = Field(
        None, description="state failed: " + "; ".join(f"{name}: {means}" for name, means in FAILURES.items())
    )
    detail: str | None = Field(None, description="state failed or incomplete: what it was, for people")
    created: datetime
    started: datetime | None
    finished: datetime | None


class JobPage(BaseModel):
    """Some of a key's jobs, the newest first."""

    jobs: list[JobView]
    next: str | None = Field(description="`before` of the next page; null: this is the last one")


class Health(BaseModel):
    """The server answers."""

    status: str = Field("ok", examples=["ok"])


def show(job: Job) -> JobView:
    """A job as its owner sees it."""
    rejected = [f"seed {draw.seed}: {'; '.join(draw.reasons)}" for draw in job.draws if draw.picture is None]
    return JobView(
        id=job.id, state=job.state, prompt=job.asked.prompt, negative_prompt=job.asked.negative_prompt,
        seed=job.asked.seed, count=job.asked.count, drawn=len(job.draws), rejected=rejected,
        pictures=[
            PictureView(number=draw.picture or 0, seed=draw.seed, href=f"/v1/jobs/{job.id}/images/{draw.picture}",
                        sha256=draw.sha256)
            for draw in job.pictures
        ],
        failure=job.failure or None, detail=job.detail or None,
        created=_time(job.created), started=job.started and _time(job.started),
        finished=job.finished and _time(job.finished),
    )  # fmt: skip


def _time(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
