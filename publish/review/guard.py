"""Who may ask: this machine's browser, by an address that only the terminal was told.

The token is the first part of every path, so that every single request carries it and a reload needs nothing else.  It
is no cookie on purpose: a browser sends the cookies of 127.0.0.1 to whatever listens on any of its ports.
"""

import secrets
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

MOST_BYTES = 4096  # of a body: a vote has about 200
HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "cache-control": "no-store",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}
RAW = [(name.encode(), value.encode()) for name, value in HEADERS.items()]


class Guard:
    """Lets requests through to ``app`` that carry the token and name this very server; adds the headers."""

    def __init__(self, app: App, token: str, port: int) -> None:
        self.app, self.token = app, token.encode()
        self.hosts = {f"127.0.0.1:{port}".encode(), f"localhost:{port}".encode()}
        self.origins = {b"http://" + host for host in self.hosts}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] == "lifespan":
            return await self.app(scope, receive, send)
        if scope["type"] != "http":  # a WebSocket: there is none
            return await send({"type": "websocket.close"})
        refusal = self.refuse(scope)
        if refusal is not None:
            return await _answer(send, *refusal)
        body = await _read_body(receive)
        if body is None:
            return await _answer(send, 413, f"more than {MOST_BYTES} bytes")
        waiting = [{"type": "http.request", "body": body, "more_body": False}]

        async def replay() -> Message:
            return waiting.pop() if waiting else await receive()

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", []), *RAW]
            await send(message)

        return await self.app(scope, replay, send_guarded)

    def refuse(self, scope: Scope) -> tuple[int, str] | None:
        """Status and words of a refusal; None: come in."""
        headers = scope["headers"]
        hosts = [value for name, value in headers if name == b"host"]
        if len(hosts) != 1 or hosts[0].lower() not in self.hosts:  # a foreign name that resolves to 127.0.0.1
            return 421, "this server is 127.0.0.1 alone"
        if any(value not in self.origins for name, value in headers if name == b"origin"):
            return 403, "asked by another page"
        first = scope["path"].encode("utf-8", "surrogatepass").split(b"/")[1:2]
        if not first or not secrets.compare_digest(first[0], self.token):
            return 403, "the address that the terminal shows has a token; this one has not"
        if any(_too_long(value) for name, value in headers if name == b"content-length"):
            return 413, f"more than {MOST_BYTES} bytes"
        return None


def _too_long(length: bytes) -> bool:
    return not length.isdigit() or len(length) > 9 or int(length) > MOST_BYTES


async def _read_body(receive: Receive) -> bytes | None:
    """The whole body; None as soon as it is too long."""
    body = b""
    while True:
        message = await receive()
        body += message.get("body", b"")
        if len(body) > MOST_BYTES:
            return None
        if message["type"] != "http.request" or not message.get("more_body"):
            return body


async def _answer(send: Send, status: int, words: str) -> None:
    text = [(b"content-type", b"text/plain; charset=utf-8"), (b"connection", b"close")]
    await send({"type": "http.response.start", "status": status, "headers": [*text, *RAW]})
    await send({"type": "http.response.body", "body": words.encode()})
