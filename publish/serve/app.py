"""The application: endpoints at their paths, every answer described in OpenAPI, and the guard around them."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

from fastapi import FastAPI

from publish.serve import endpoints
from publish.serve.guard import Guard
from publish.serve.problems import MEDIA, ProblemDetails, add_handlers, document
from publish.serve.schemas import JobView
from publish.serve.service import Service

VERSION = "1"
Lifespan = Callable[[FastAPI], AbstractAsyncContextManager[None]]
ALL = ("timeout", "too-large", "bad-request", "internal")
KEYED = ("unauthorized", "too-many-requests", *ALL)
SAYS = """Pictures of one person, drawn from prompts.

Send a key as `Authorization: Bearer KEY`. Submit a job, ask for its state until it has ended, fetch its pictures.
Every picture has passed the quality gate and carries content credentials (C2PA) that say that it was made by AI;
rejected ones are never delivered. What goes wrong is told as problem details (RFC 9457).
"""
TAG: dict[str, Any] = {"ETag": {"description": "SHA-256 of the file", "schema": {"type": "string"}}}


def build_app(service: Service, lifespan: Lifespan | None = None) -> FastAPI:
    """The application; ``lifespan`` runs around its life."""
    app = FastAPI(
        title="Pistachio", version=VERSION, description=SAYS, lifespan=lifespan,
        docs_url=None, redoc_url=None,  # no pages that fetch scripts from elsewhere
        generate_unique_id_function=lambda route: route.name,
    )  # fmt: skip
    app.state.service = service
    app.add_middleware(Guard, settings=service.settings, metrics=service.metrics)
    add_handlers(app, service.metrics.count_problem)
    _add_jobs(app)
    _add_watching(app)
    app.openapi_schema = _complete(app.openapi(), service)  # which FastAPI serves from then on
    return app


def _add_jobs(app: FastAPI) -> None:
    location = {"headers": {"Location": {"description": "of the job", "schema": {"type": "string"}}}}
    app.post(
        "/v1/jobs",
        status_code=202,
        response_model=JobView,
        responses={
            202: {"description": "A new job", **location},
            200: {"description": "The job of this Idempotency-Key", "model": JobView, **location},
            **document("invalid", "key-reused", "policy", "subject", "too-many-pictures", "queue-full", *KEYED),
        },
    )(endpoints.submit_job)
    app.get("/v1/jobs", responses=document("not-found", "invalid", *KEYED))(endpoints.list_jobs)
    app.get("/v1/jobs/{job}", responses=document("not-found", *KEYED))(endpoints.show_job)
    app.delete("/v1/jobs/{job}", responses=document("not-found", "job-ended", *KEYED))(endpoints.cancel_job)
    png = {"image/png": {"schema": {"type": "string", "format": "binary"}}}
    app.get(
        "/v1/jobs/{job}/images/{number}",
        response_class=endpoints.Png,
        responses={
            200: {"description": "The picture", "content": png, "headers": TAG},
            304: {"description": "You have it", "headers": TAG},
            **document("not-found", "gone", "subject", *KEYED),
        },
    )(endpoints.fetch_picture)


def _add_watching(app: FastAPI) -> None:
    app.get("/healthz", responses=document(*ALL))(endpoints.healthz)
    app.get("/readyz", responses=document("not-ready", "subject", *ALL))(endpoints.readyz)
    text = {"text/plain": {"schema": {"type": "string"}}}
    app.get(
        "/metrics",
        response_class=endpoints.PlainTextResponse,
        responses={200: {"description": "Prometheus' text format", "content": text}, **document(*ALL)},
    )(endpoints.show_metrics)


def _complete(schema: dict[str, Any], service: Service) -> dict[str, Any]:
    """OpenAPI with this server's limits, the problems' schema, and without answers that no endpoint gives."""
    schemas = schema["components"]["schemas"]
    schemas["ProblemDetails"] = ProblemDetails.model_json_schema()
    fields = schemas["NewJob"]["properties"]
    fields["count"]["maximum"] = service.settings.count_max
    fields["prompt"]["maxLength"] = service.settings.prompt_chars
    fields["negative_prompt"]["anyOf"][0]["maxLength"] = service.settings.prompt_chars
    for operations in schema["paths"].values():
        for operation in operations.values():
            answer = operation["responses"].get("422", {})
            if MEDIA not in answer.get("content", {}):
                operation["responses"].pop("422", None)  # FastAPI's own: ids that are none are answered 404
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    return schema
