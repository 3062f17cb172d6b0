"""`pistachio remote` and `pistachio fsck` as a person types them, with remotes that are folders."""

import json
import os
import re
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from stored import Stored, git, make_repo, make_stored, place, truncate
from typer.testing import CliRunner, Result

from stages.__main__ import app
from stages.runtime.errors import UserError


@pytest.fixture
def repo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty workspace, entered."""
    monkeypatch.setenv("DVC_SITE_CACHE_DIR", str(tmp_path / "site"))
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    folder = tmp_path / "repo"
    make_repo(folder).close()
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def stored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stored:
    monkeypatch.setenv("DVC_SITE_CACHE_DIR", str(tmp_path / "site"))
    made = make_stored(tmp_path)
    monkeypatch.chdir(made.folder)
    return made


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments)


def refusal(*arguments: str) -> str:
    error = run(*arguments).exception
    assert isinstance(error, UserError), error
    return error.line


def test_the_first_remote_becomes_the_default_and_adding_it_again_changes_nothing(repo: Path, tmp_path: Path) -> None:
    place = str(tmp_path / "store")
    result = run("remote", "add", place)
    assert result.output == "remote storage: works; written to .dvc/config, as the default; commit that file\n"
    config = (repo / ".dvc/config").read_text()
    assert f"url = {place}" in config
    assert "remote = storage" in config
    assert run("remote", "add", place).output == "remote storage: works, and is in .dvc/config already\n"
    assert (repo / ".dvc/config").read_text() == config
    assert list((tmp_path / "store").iterdir()) == []
    assert "can be listed, written, read and cleared" in run("remote", "check").output


def test_a_second_remote_is_the_default_only_when_that_is_said(repo: Path, tmp_path: Path) -> None:
    run("remote", "add", str(tmp_path / "a"))
    run("remote", "add", str(tmp_path / "b"), "--name", "B")
    assert "remote = storage" in (repo / ".dvc/config").read_text()
    run("remote", "add", str(tmp_path / "b"), "--name", "b", "--default")
    assert "remote = b" in (repo / ".dvc/config").read_text()
    assert "is " in refusal("remote", "add", str(tmp_path / "c"), "--name", "b")


@pytest.mark.parametrize(
    "arguments",
    [
        ("s3://AKIAX:hunter2@bucket/x",),
        ("s3://bucket/x?secret_access_key=hunter2",),
        ("ssh://me:hunter2@host/x",),
        ("s3://bucket/x", "--endpoint", "https://me:hunter2@host"),
        ("s3://bucket/x", "--secret-access-key", "hunter2"),
        ("s3://bucket/x", "--password=hunter2"),
    ],
    ids=str,
)
def test_a_secret_is_refused_unrepeated_and_the_refusal_says_why(repo: Path, arguments: tuple[str, ...]) -> None:
    before = (repo / ".dvc/config").read_text()
    said = refusal("remote", "add", *arguments)
    assert "hunter2" not in said
    assert "shell's history" in said
    assert "AWS_ACCESS_KEY_ID" in said
    assert (repo / ".dvc/config").read_text() == before


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("gs://bucket/x",), "URL: gs:// is not known"),
        (("s3:///x",), "URL: names no bucket"),
        (("s3://b/x", "--endpoint", "localhost:1"), "--endpoint: 'localhost:1' is no http(s) address"),
        (("/x", "--endpoint", "http://localhost:1"), "--endpoint: is for s3:// alone"),
        (("/nowhere/at/all",), "remote storage: no folder /nowhere/at"),
        (("/x", "--name", "a b"), "--name: 'a b' is no name"),
    ],
    ids=str,
)
def test_an_address_that_cannot_be_is_one_line(repo: Path, arguments: tuple[str, ...], said: str) -> None:
    before = (repo / ".dvc/config").read_text()
    assert refusal("remote", "add", *arguments).startswith(said)
    assert (repo / ".dvc/config").read_text() == before


def test_a_server_that_is_down_is_said_at_once(repo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "a")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "b")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        endpoint = f"http://127.0.0.1:{free.getsockname()[1]}"
        started = time.monotonic()
        said = refusal("remote", "add", "s3://bucket/x", "--endpoint", endpoint)
    assert said.startswith(f"remote storage: nobody answers at {endpoint} (Connection refused)")
    assert time.monotonic() - started < 10


@contextmanager
def mute() -> Iterator[str]:
    """A server that takes a connection and hangs up."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.1)
        over = threading.Event()

        def hang_up() -> None:
            while not over.is_set():
                try:
                    server.accept()[0].close()
                except TimeoutError:
                    continue

        thread = threading.Thread(target=hang_up)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.getsockname()[1]}"
        finally:
            over.set()
            thread.join()


def test_without_credentials_the_line_says_which_variables_to_set(repo: Path) -> None:
    with mute() as endpoint:
        said = refusal("remote", "add", "s3://bucket/x", "--endpoint", endpoint)
    assert "no usable credentials" in said
    assert "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE" in said


def test_a_secret_in_the_file_that_git_keeps_is_named_unrepeated(repo: Path, tmp_path: Path) -> None:
    run("remote", "add", str(tmp_path / "a"))
    with (repo / ".dvc/config").open("a") as stream:
        stream.write("['remote \"cloud\"']\n    url = s3://bucket\n    secret_access_key = hunter2\n")
    said = refusal("remote", "check")
    assert "holds secret_access_key of remote cloud, and git keeps that file" in said
    assert "hunter2" not in said


def test_check_needs_a_remote(repo: Path) -> None:
    assert refusal("remote", "check") == ".dvc/config: no default remote; pistachio remote add URL"
    assert "known: none" in refusal("remote", "check", "nas")


def test_fsck_says_what_it_read_and_exits_with_0_when_all_is_sound(stored: Stored) -> None:
    result = run("fsck")
    assert result.exit_code == 0, result.output
    said = result.stdout.splitlines()
    assert re.fullmatch(
        r"cache and disk: 16 objects, 0.1 MB in .* s \(.* MB/s\); commits read: 2, objects they name: 8", said[0]
    )
    assert said[-1] == "PASS  every object is what its name says"


def test_fsck_exits_with_1_until_what_it_found_is_repaired(stored: Stored) -> None:
    truncate(stored.cache, stored.photo)
    result = run("fsck")
    assert result.exit_code == 1
    assert f"FAIL  cache  {stored.photo}  truncated (2500 of 5000 bytes)  000.jpg in photos" in result.stdout
    assert "pistachio fsck --repair mends" in result.stdout
    repaired = run("fsck", "--repair")
    assert repaired.exit_code == 0
    assert "PASS  repaired and read back: 1, left: 0" in repaired.stdout
    assert run("fsck").exit_code == 0


def test_fsck_says_what_is_left_where_no_good_copy_is_known(stored: Stored) -> None:
    for store in (stored.cache, stored.remote):
        truncate(store, stored.old)
    result = run("fsck", "--repair")
    assert result.exit_code == 1
    assert result.stdout.count("no good copy is known; set aside as ") == 2
    assert "FAIL  repaired: 0, left: 2" in result.stdout
    assert run("fsck").exit_code == 1


def test_fsck_prints_json_and_keeps_it(stored: Stored) -> None:
    truncate(stored.remote, stored.model)
    result = run("fsck", "--json")
    assert result.exit_code == 1
    report = json.loads(result.stdout)
    assert [problem["where"] for problem in report["problems"]] == ["disk"]
    assert json.loads((stored.folder / ".dvc/tmp/fsck/report.json").read_text()) == report
    assert git(stored.folder, "status", "--porcelain", "--", ".dvc") == ""


def test_fsck_can_leave_remotes_alone(stored: Stored) -> None:
    truncate(stored.remote, stored.model)
    assert run("fsck", "--cache-only").exit_code == 0
    assert "contradicts --remote" in refusal("fsck", "--cache-only", "--remote", "disk")
    assert place(stored.remote, stored.model).exists()
