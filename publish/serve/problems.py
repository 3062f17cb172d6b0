"""Everything that can go wrong over HTTP, as problem details (RFC 9457), and its documentation."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from fastapi import FastAPI, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException as StarletteHTTPException

MEDIA = "application/problem+json"
URN = "urn:pistachio:problem:"


@dataclass(frozen=True)
class Kind:
    """One kind of problem."""

    status: int
    title: str
    detail: str  # an example, where a problem says no more


KINDS: dict[str, Kind] = {
    "bad-request": Kind(400, "Not a request that can be read", "The body is not JSON in UTF-8."),
    "unauthorized": Kind(401, "No valid API key", "Send the header Authorization: Bearer KEY."),
    "subject": Kind(403, "Nobody may be drawn now", "The subject card does not allow it: revoked."),
    "not-found": Kind(404, "Nothing here", "There is nothing at this path, or it belongs to another key."),
    "method-not-allowed": Kind(405, "Not a method of this path", "See the header Allow."),
    "timeout": Kind(408, "The request took too long", "It was not there and answered in time."),
    "job-ended": Kind(409, "The job has ended", "Only a queued or running job can be cancelled; this one is done."),
    "gone": Kind(410, "The picture is gone", "Its file was removed or changed after it was made."),
    "too-large": Kind(413, "The body is too large", "A body may have 16384 bytes."),
    "invalid": Kind(422, "Not a valid request", "The field count is not valid."),
    "key-reused": Kind(422, "The idempotency key stands for another body", "Take a new key for a new job."),
    "policy": Kind(422, "The prompt is refused", "The prompt policy refuses it."),
    "too-many-requests": Kind(429, "Too many requests", "Ask again after the time in Retry-After."),
    "too-many-pictures": Kind(429, "Too many pictures", "Ask again after the time in Retry-After."),
    "internal": Kind(500, "A bug of the server", "It is in the server's log."),
    "queue-full": Kind(503, "The queue is full", "Ask again after the time in Retry-After."),
    "not-ready": Kind(503, "Not ready", "The worker is loading its models."),
}
FAILURES = {
    "subject": "the subject card did not allow it any more",
    "policy": "the prompt was refused when it was to be drawn: by the policy, or it was too long for the model",
    "worker-died": "several workers died over one picture",
    "settings": "the settings or files of the server do not allow it",
}
"""Why a job failed: name -> what it means."""


class ProblemDetails(BaseModel):
    """RFC 9457."""

    type: str = Field(description="a URN that names the kind")
    title: str = Field(description="of the kind, for people")
    status: int
    detail: str = Field(description="what it was this time, for people")
    rule: str | None = Field(None, description="kind policy: the rule that refused")
    errors: list[str] | None = Field(None, description="kind invalid: every part that is not valid")


class Problem(HTTPException):
    """What an endpoint raises."""

    def __init__(
        self, kind: str, detail: str = "", headers: Mapping[str, str] | None = None, **more: str | list[str]
    ) -> None:
        self.kind, self.more = kind, more
        super().__init__(KINDS[kind].status, detail or KINDS[kind].detail, dict(headers or {}))

    @property
    def body(self) -> dict[str, Any]:
        """The problem's details."""
        kind = KINDS[self.kind]
        return {
            "type": URN + self.kind, "title": kind.title, "status": kind.status, "detail": self.detail, **self.more,
        }  # fmt: skip


def build_answer(problem: Problem) -> JSONResponse:
    """The answer that tells of a problem."""
    return JSONResponse(problem.body, problem.status_code, dict(problem.headers or {}), MEDIA)


def add_handlers(app: FastAPI, count: Callable[[str], None]) -> None:
    """Answer everything that goes wrong, the framework's own errors too, with problem details.

    Args:
        app: whose errors are answered.
        count: is told the kind of each.
    """

    def respond(problem: Problem) -> JSONResponse:
        count(problem.kind)
        return build_answer(problem)

    async def own(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, Problem)
        return respond(error)

    async def framework(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, StarletteHTTPException)
        kind = {400: "bad-request", 404: "not-found", 405: "method-not-allowed"}.get(error.status_code, "internal")
        return respond(Problem(kind, headers=error.headers))

    async def invalid(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, RequestValidationError)
        return respond(_describe(error))

    async def bug(request: Request, error: Exception) -> JSONResponse:
        return respond(Problem("internal"))

    app.add_exception_handler(Problem, own)
    app.add_exception_handler(StarletteHTTPException, framework)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(Exception, bug)  # the server logs the traceback


def _describe(error: RequestValidationError) -> Problem:
    found = error.errors()
    if any(one["loc"][0] == "path" for one in found):
        return Problem("not-found")  # an id that cannot be one is as unknown as any other
    if any(one["type"] == "json_invalid" for one in found):
        return Problem("bad-request")
    # Never the value: it may hold what no answer can be encoded with.
    errors = [f"{'.'.join(_printable(part) for part in one['loc'])}: {_printable(one['msg'])}" for one in found]
    return Problem("invalid", f"Not valid: {'; '.join(errors)}"[:1000], errors=errors)


def _printable(part: object) -> str:
    return str(part).encode("ascii", "backslashreplace").decode()[:200]


def document(*kinds: str) -> dict[int | str, dict[str, Any]]:
    """OpenAPI's description of these problems: one answer per status, one example per kind."""
    answers: dict[int | str, dict[str, Any]] = {}
    for name in kinds:
        kind = KINDS[name]
        answer = answers.setdefault(
            kind.status,
            {"description": kind.title, "content": {MEDIA: {"schema": _REFERENCE, "examples": {}}}, "headers": {}},
        )
        if kind.title not in answer["description"]:
            answer["description"] += f", or: {kind.title}"
        answer["content"][MEDIA]["examples"][name] = {"value": Problem(name).body}
        if kind.status in (429, 503):
            answer["headers"] |= {"Retry-After": {"description": "seconds", "schema": {"type": "integer"}}}
        if kind.status == 401:
            answer["headers"] |= {"WWW-Authenticate": {"schema": {"type": "string"}}}
    return answers


_REFERENCE = {"$ref": "#/components/schemas/ProblemDetails"}
