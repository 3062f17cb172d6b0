"""Around every request: how large, how long, and how many there were."""

import asyncio
import time
from collections.abc import MutableMapping
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from publish.serve.metrics import Metrics
from publish.serve.problems import Problem, build_answer
from stages.contracts.serve_settings import Serve

SAFE = [
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"content-security-policy", b"default-src 'none'"),
]
KEEP_NOTHING = (b"cache-control", b"no-store")  # unless the answer says something else
OTHER = "other"  # methods and paths that nobody offers are one label: labels are kept for ever
METHODS = frozenset({"GET", "POST", "DELETE", "PUT", "PATCH", "HEAD", "OPTIONS"})


class _TooLarge(Exception):
    pass


class Guard:
    """ASGI middleware: reads the body up to its limit, ends what takes too long, adds headers and counts."""

    def __init__(self, app: ASGIApp, settings: Serve, metrics: Metrics) -> None:
        self._app, self._settings, self._metrics = app, settings, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, status = time.perf_counter(), 0

        async def send_safe(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                _add_headers(message)
            await send(message)

        try:
            async with asyncio.timeout(self._settings.request_seconds):
                await self._answer(scope, receive, send_safe)
        except TimeoutError:
            if status:
                raise  # half an answer: the connection is closed
            await self._close_with(Problem("timeout"), scope, receive, send_safe)
        finally:
            self._metrics.count_request(*_labels(scope), status or 500, time.perf_counter() - began)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        names = {name for name, _ in scope["headers"]}
        if not names & {b"content-length", b"transfer-encoding"}:
            await self._app(scope, receive, send)
            return
        limit = self._settings.body_bytes
        try:
            body = await _read_body(scope, receive, limit)
        except _TooLarge:
            problem = Problem("too-large", f"A body may have {limit} bytes.")
            await self._close_with(problem, scope, receive, send)
            return
        if body is not None:
            await self._app(scope, _replay(body, receive), send)

    async def _close_with(self, problem: Problem, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, and have the connection closed: what else comes on it is not read."""
        self._metrics.count_problem(problem.kind)
        answer = build_answer(problem)
        answer.headers["connection"] = "close"
        await answer(scope, receive, send)


async def _read_body(scope: Scope, receive: Receive, limit: int) -> bytes | None:
    """The body; None when the client has gone."""
    said = dict(scope["headers"]).get(b"content-length", b"0")
    if said.isdigit() and int(said[:20]) > limit:
        raise _TooLarge
    parts, size = [], 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > limit:
            raise _TooLarge
        if not message.get("more_body", False):
            return b"".join(parts)


def _replay(body: bytes, receive: Receive) -> Receive:
    messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def again() -> Message:
        return messages.pop() if messages else await receive()

    return again


def _add_headers(message: MutableMapping[str, Any]) -> None:
    headers = list(message.get("headers", []))
    names = {name.lower() for name, _ in headers}
    headers += SAFE
    if KEEP_NOTHING[0] not in names:
        headers.append(KEEP_NOTHING)
    message["headers"] = headers


def _labels(scope: Scope) -> tuple[str, str]:
    route = scope.get("route")
    method = scope["method"] if scope["method"] in METHODS else OTHER
    return method, getattr(route, "path", OTHER)
