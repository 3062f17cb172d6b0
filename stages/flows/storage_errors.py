"""What a remote's many errors mean, in one line each."""

import errno
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

from stages.runtime.errors import UserError, disk_error

KEYS = "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE"
CONNECT_S = 5.0
ANSWER_S = 60.0
SLOWEST = 100_000  # bytes per second of a line that still works
DOWN = frozenset(
    "ConnectionClosedError ConnectTimeoutError EndpointConnectionError ReadTimeoutError HTTPClientError "
    "ClientConnectorError ServerDisconnectedError IncompleteReadError ResponseStreamingError ClientPayloadError".split()
)
UNREACHED = frozenset(
    {errno.ECONNREFUSED, errno.ECONNRESET, errno.ETIMEDOUT, errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EPIPE}
)


@contextmanager
def explaining(remote: str) -> Iterator[None]:
    """Turn what goes wrong with ``remote`` into a ``UserError``, except that an object is not there."""
    try:
        yield
    except (FileNotFoundError, UserError) as error:
        if _code(error) == "NoSuchBucket":
            raise _no_bucket(remote) from None
        raise
    except Exception as error:
        explained = explain(error, remote)
        if explained is None:
            raise
        raise explained from None


def explain(error: BaseException, remote: str) -> UserError | None:
    """What a user can mend of a remote's error; None when it is a bug's."""
    where = f"remote {remote}"
    code, kinds = _code(error), {type(cause).__name__ for cause in _causes(error)}
    match code:
        case "NoSuchBucket":
            return _no_bucket(remote)
        case "SignatureDoesNotMatch":
            return UserError(where, "the secret does not fit the key", f"set {KEYS}")
        case "InvalidAccessKeyId" | "InvalidToken" | "ExpiredToken":
            return UserError(where, f"the server does not know these credentials ({code})", f"set {KEYS}")
        case "RequestTimeTooSkewed":
            return UserError(where, "this machine's clock is wrong", "set the clock")
        case "403" | "AccessDenied" | "Forbidden":
            return UserError(where, "no right to do this (403)", "let the key list, read, write and delete there")
        case "507" | "InsufficientStorage" | "QuotaExceeded" | "EntityTooLarge":
            return UserError(where, f"the server has no room ({code})", "make room there, then run again")
    if kinds & {"NoCredentialsError", "PartialCredentialsError", "CredentialRetrievalError", "ProfileNotFound"}:
        return UserError(where, f"no usable credentials ({_first(error)})", f"set {KEYS}")
    if kinds & DOWN or isinstance(error, TimeoutError) or getattr(error, "errno", None) in UNREACHED:
        return UserError(
            where, f"the server does not answer ({_first(error)})", "start it, or mend endpoint and network"
        )
    if isinstance(error, PermissionError) and code:
        return UserError(where, f"the server refuses ({code})", f"set {KEYS}, and rights for that key")
    if code:
        return UserError(where, f"the server says {code} ({_first(error)})")
    return disk_error(error) if isinstance(error, OSError) else None


def probe(remote: str, endpoint: str) -> None:
    """Knock at an S3 server: its own client would knock 25 times, for two minutes where nobody answers at all.

    Raises:
        UserError: when nobody answers within ``CONNECT_S`` seconds.
    """
    parts = urlsplit(endpoint)
    port = parts.port or (80 if parts.scheme == "http" else 443)
    try:
        socket.create_connection((parts.hostname or "", port), timeout=CONNECT_S).close()
    except OSError as error:
        what = f"nobody answers at {endpoint} ({error.strerror or error})"
        raise UserError(f"remote {remote}", what, "start the server, or mend the endpoint") from None


def patience(fs: Any, size: int = 0) -> dict[str, float]:
    """The time that one call to a file system of fsspec may take, as its argument; ``size``: bytes that it moves.

    s3fs 2026.9 asks a server that says nothing up to 125 times, 15 s each, and for the word to go on with an upload it
    waits for ever.
    """
    return {"timeout": ANSWER_S + size / SLOWEST} if fs.async_impl else {}


def _no_bucket(remote: str) -> UserError:
    return UserError(f"remote {remote}", "no such bucket", "make it, or mend the address")


def _causes(error: BaseException) -> Iterator[BaseException]:
    """An error and what it came from, at most ten deep."""
    cause: BaseException | None = error
    for _ in range(10):
        if cause is None:
            return
        yield cause
        cause = cause.__cause__ or cause.__context__


def _code(error: BaseException) -> str:
    """S3's own word for what happened, where there is one."""
    for cause in _causes(error):
        response = getattr(cause, "response", None)
        if isinstance(response, dict) and "Error" in response:
            return str(response["Error"].get("Code", ""))
    return ""


def _first(error: BaseException) -> str:
    # s3fs makes up error numbers: what the server said is behind them.
    silence = "nothing came in time" if isinstance(error, TimeoutError) else type(error).__name__
    said = getattr(error, "strerror", None) or str(error) or silence
    return re.sub(r"\s+", " ", said)[:200]
