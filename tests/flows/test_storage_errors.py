"""Each way in which a remote fails is one line that says what to do; what is nobody's fault but ours stays a bug."""

import errno
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError, NoCredentialsError
from s3fs.errors import translate_boto_error

from stages.flows import storage_errors
from stages.flows.remotes import _write_and_read
from stages.flows.storage import CloudStore, file_copy
from stages.flows.storage_errors import explain, explaining
from stages.runtime.errors import UserError


def answer(code: str) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": "as the server puts it"}}, "GetObject")


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("NoSuchBucket", "no such bucket; make it, or mend the address"),
        ("SignatureDoesNotMatch", "the secret does not fit the key; set AWS_ACCESS_KEY_ID"),
        ("InvalidAccessKeyId", "the server does not know these credentials (InvalidAccessKeyId); set AWS"),
        ("ExpiredToken", "the server does not know these credentials (ExpiredToken); set AWS"),
        ("RequestTimeTooSkewed", "this machine's clock is wrong; set the clock"),
        ("AccessDenied", "no right to do this (403); let the key list, read, write and delete there"),
        ("403", "no right to do this (403)"),
        ("507", "the server has no room (507); make room there"),
        ("AccountProblem", "the server refuses (AccountProblem); set AWS"),
        ("InternalError", "the server says InternalError (as the server puts it)"),
    ],
)
def test_what_an_s3_server_answers_is_explained_as_s3fs_passes_it_on(code: str, said: str) -> None:
    explained = explain(translate_boto_error(answer(code)), "nas")
    assert explained is not None
    assert explained.line.startswith(f"remote nas: {said}")


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (EndpointConnectionError(endpoint_url="http://x:1"), "the server does not answer (Could not connect"),
        (TimeoutError("timed out"), "the server does not answer (timed out); start it"),
        (ConnectionRefusedError(errno.ECONNREFUSED, "refused"), "the server does not answer"),
        (NoCredentialsError(), "no usable credentials (Unable to locate credentials); set AWS_ACCESS_KEY_ID"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_never_reached_a_server_is_explained(error: Exception, said: str) -> None:
    explained = explain(error, "nas")
    assert explained is not None
    assert explained.line.startswith(f"remote nas: {said}")


def test_the_disk_is_blamed_for_what_is_the_disk_s() -> None:
    explained = explain(OSError(errno.ENOSPC, "No space left on device", "/disk/x"), "nas")
    assert explained is not None
    assert explained.line == "/disk/x: No space left on device; make room (df -h .), then run again"


def test_a_bug_keeps_its_traceback() -> None:
    assert explain(ZeroDivisionError("ours"), "nas") is None
    with pytest.raises(ZeroDivisionError), explaining("nas"):
        raise ZeroDivisionError


def test_an_object_that_is_not_there_is_no_failure_of_the_remote_but_a_bucket_is() -> None:
    with pytest.raises(FileNotFoundError), explaining("nas"):
        raise translate_boto_error(answer("NoSuchKey"))
    with pytest.raises(UserError, match="no such bucket"), explaining("nas"):
        raise translate_boto_error(answer("NoSuchBucket"))


@pytest.fixture
def silent(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """DVC's file system of a server that takes every connection and never says a word."""
    from dvc_s3 import S3FileSystem

    monkeypatch.setattr(storage_errors, "ANSWER_S", 0.5)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "x")
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(100)
        yield S3FileSystem(url="s3://bucket/ada", endpointurl=f"http://127.0.0.1:{listening.getsockname()[1]}")


@pytest.mark.parametrize(
    "ask",
    [
        lambda store, _: store.list_objects("00"),
        lambda store, _: list(store.copy_of("0" * 32, 10).read()),
        lambda store, file: store.write_object("0" * 32, file_copy(file, "cache")),
        lambda store, _: store.set_aside("0" * 32),
        lambda store, _: _checked(store),
    ],
    ids=["list", "read", "write", "set aside", "remote check"],
)
def test_a_server_that_says_nothing_is_given_up(silent: Any, tmp_path: Path, ask: Callable[..., object]) -> None:
    file = tmp_path / "object"
    file.write_bytes(b"ten bytes.")
    place = "bucket/ada/files/md5"
    store = CloudStore("nas", SimpleNamespace(fs=silent, path=place, oid_to_path=lambda oid: f"{place}/{oid}"))
    began = time.monotonic()
    with pytest.raises(UserError, match="the server does not answer \\(nothing came in time\\)"):
        ask(store, file)
    assert time.monotonic() - began < 10


def _checked(store: CloudStore) -> None:
    with explaining(store.name):
        _write_and_read(store.odb.fs, "bucket/ada", store.name)
