"""The endpoints: what is asked over HTTP, in the words of the service."""

from typing import Annotated

from fastapi import Depends, Header, Path, Query, Request, Response
from fastapi.responses import PlainTextResponse
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from publish.serve.job import Job, State
from publish.serve.problems import Problem
from publish.serve.schemas import EXAMPLE_ID, JOB_ID, Health, JobPage, JobView, NewJob, show
from publish.serve.service import Service
from stages.runtime.errors import UserError

PAGE = 50  # jobs of one page, at most
bearer = HTTPBearer(auto_error=False, description="a key of `pistachio serve keys add NAME`")
JobId = Annotated[str, Path(pattern=JOB_ID, examples=[EXAMPLE_ID], description="of the job")]


class Png(Response):
    """A picture."""

    media_type = "image/png"


def _service(request: Request) -> Service:
    service: Service = request.app.state.service
    return service


Serving = Annotated[Service, Depends(_service)]


async def _owner(service: Serving, credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(bearer)]) -> str:
    """Whose key was sent.

    Raises:
        Problem: unauthorized or too-many-requests.
    """
    try:
        owner = service.keys.find_owner(credentials.credentials) if credentials else None
    except UserError:
        owner = None  # a spoilt file of keys: nobody's key is valid
    if owner is None:
        raise Problem("unauthorized", headers={"WWW-Authenticate": "Bearer"})
    wait = service.requests.take(owner)
    if wait:
        raise Problem("too-many-requests", headers={"Retry-After": str(wait)})
    return owner


Owner = Annotated[str, Depends(_owner)]


def _find(service: Service, job: str, owner: str) -> Job:
    found = service.reader.find(job, owner)
    if found is None:
        raise Problem("not-found")
    return found


async def submit_job(
    body: NewJob,
    service: Serving,
    owner: Owner,
    response: Response,
    idempotency_key: Annotated[
        str | None,
        Header(
            pattern=r"^[!-~]{1,128}$",
            description="any word of yours: the same key and body are the same job, however often they are sent",
        ),
    ] = None,
) -> JobView:
    """Ask for pictures.  The same Idempotency-Key and body are the same job, however often they are sent."""
    settings = service.settings
    if body.count > settings.count_max:
        errors = [f"body.count: at most {settings.count_max}"]
        raise Problem("invalid", f"Not valid: {errors[0]}", errors=errors)
    asked = body.ask()
    if max(len(asked.prompt), len(asked.negative_prompt or "")) > settings.prompt_chars:
        errors = [f"body.prompt, body.negative_prompt: at most {settings.prompt_chars} characters"]
        raise Problem("invalid", f"Not valid: {errors[0]}", errors=errors)
    await service.check_subject()
    await service.check_prompt(asked)
    job, new = await service.submit(owner, asked, body.sha256, idempotency_key)
    response.status_code = 202 if new else 200
    response.headers["Location"] = f"/v1/jobs/{job.id}"
    return show(job)


async def show_job(job: JobId, service: Serving, owner: Owner) -> JobView:
    """How a job stands."""
    return show(_find(service, job, owner))


async def list_jobs(
    service: Serving,
    owner: Owner,
    limit: Annotated[int, Query(ge=1, le=PAGE, description="jobs of a page")] = PAGE,
    before: Annotated[str | None, Query(pattern=JOB_ID, description="only jobs older than this one")] = None,
) -> JobPage:
    """Your jobs, the newest first."""
    older = _find(service, before, owner).number if before is not None else None
    jobs = service.reader.page(owner, older, limit + 1)
    return JobPage(jobs=[show(job) for job in jobs[:limit]], next=jobs[limit - 1].id if len(jobs) > limit else None)


async def fetch_picture(
    job: JobId,
    number: Annotated[int, Path(ge=0, le=10**6, description="of the picture: 0, 1, ...")],
    service: Serving,
    owner: Owner,
    if_none_match: Annotated[str | None, Header(description="ETags that you have")] = None,
) -> Response:
    """A picture that passed the gate, as PNG with its content credentials."""
    found = _find(service, job, owner)
    await service.check_subject()  # what was drawn under a card that is revoked now stays here
    data, sha256 = await service.read_picture(found, number)
    tag = f'"{sha256}"'
    headers = {"ETag": tag, "Cache-Control": "private, no-cache"}
    sent = [one.strip().removeprefix("W/") for one in (if_none_match or "").split(",")]
    if tag in sent or "*" in sent:
        return Response(status_code=304, headers=headers)
    return Png(data, headers=headers)


async def cancel_job(job: JobId, service: Serving, owner: Owner) -> JobView:
    """Cancel a job; pictures that are there already stay.  A cancelled job may be cancelled again."""
    found = await service.cancel(job, owner)
    if found is None:
        raise Problem("not-found")
    if found.state is not State.CANCELLED:
        raise Problem("job-ended", f"Only a queued or running job can be cancelled; this one is {found.state}.")
    return show(found)


async def healthz() -> Health:
    """The server answers."""
    return Health()


async def readyz(service: Serving) -> Health:
    """A job that is sent now would be drawn."""
    await service.check_ready()
    return Health(status="ready")


async def show_metrics(service: Serving) -> Response:
    """For Prometheus."""
    return PlainTextResponse(await service.show_metrics(), media_type=service.metrics.content_type)
