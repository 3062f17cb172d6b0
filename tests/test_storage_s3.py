"""Push, pull and fsck against a real S3 server: what is spoilt is repaired, a failure is one line, nothing is lost."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
from s3 import GUEST, OWNER, S3, client
from stored import ROOT, dvc, git, make_repo, pistachio, place, write_photos

from stages.runtime.provenance import hash_path

pytestmark = pytest.mark.slow
WRONG = (OWNER[0], "another-secret")


@dataclass
class World:
    """A workspace whose photos are pushed to a bucket of its own."""

    folder: Path
    server: S3
    bucket: str

    @property
    def cache(self) -> Path:
        return self.folder / ".dvc/cache/files/md5"

    def list_keys(self) -> list[str]:
        pages = client(self.server).get_paginator("list_objects_v2").paginate(Bucket=self.bucket)
        return [found["Key"] for page in pages for found in page.get("Contents", [])]

    def read(self, key: str) -> bytes:
        return client(self.server).get_object(Bucket=self.bucket, Key=key)["Body"].read()

    def write(self, key: str, data: bytes) -> None:
        client(self.server).put_object(Bucket=self.bucket, Key=key, Body=data)

    def pistachio(self, *arguments: str, who: tuple[str, str] = OWNER) -> "subprocess.CompletedProcess[str]":
        return pistachio(self.folder, *arguments, **self.server.env(who))

    def dvc(self, *arguments: str, who: tuple[str, str] = OWNER) -> "subprocess.CompletedProcess[str]":
        return dvc(self.folder, *arguments, **self.server.env(who))

    def key(self, oid: str) -> str:
        return f"ada/files/md5/{oid[:2]}/{oid[2:]}"


def make_world(folder: Path, server: S3, bucket: str, *, files: int, size: int) -> World:
    server.make_bucket(bucket)
    make_repo(folder).close()
    world = World(folder, server, bucket)
    write_photos(folder / "photos", files, size)
    added = world.pistachio("remote", "add", f"s3://{bucket}/ada", "--endpoint", server.endpoint)
    assert added.returncode == 0, added.stderr
    assert world.dvc("add", "photos").returncode == 0
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message", "photos")
    return world


@pytest.fixture
def world(s3: S3, tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setenv("DVC_SITE_CACHE_DIR", str(tmp_path / "site"))
    number = sum(map(ord, request.node.name))
    made = make_world(tmp_path / "repo", s3, f"photos-{number}", files=12, size=20_000)
    assert made.dvc("push").returncode == 0
    return made


def photo_of(world: World) -> str:
    (listing,) = world.cache.rglob("*.dir")
    return str(json.loads(listing.read_bytes())[0]["md5"])


def complaint(done: "subprocess.CompletedProcess[str]") -> str:
    """The one line of error, after what progress has said."""
    assert done.returncode == 2, done.stderr
    errors = [line for line in done.stderr.splitlines() if not line.startswith("fsck: ")]
    assert len(errors) == 1, done.stderr
    return errors[0]


def test_what_was_pushed_can_be_pulled_and_is_sound(world: World) -> None:
    before = hash_path(world.folder / "photos")
    shutil.rmtree(world.cache)
    shutil.rmtree(world.folder / "photos")
    assert world.dvc("pull").returncode == 0
    assert hash_path(world.folder / "photos") == before
    done = world.pistachio("fsck")
    assert done.returncode == 0, done.stderr
    assert "cache and storage: 26 objects" in done.stdout


def test_truncated_objects_that_dvc_trusts_are_repaired_on_both_sides(world: World) -> None:
    (listing,) = world.cache.rglob("*.dir")
    first, second = (str(entry["md5"]) for entry in json.loads(listing.read_bytes())[:2])
    whole = {oid: place(world.cache, oid).read_bytes() for oid in (first, second)}
    place(world.cache, first).chmod(0o644)
    place(world.cache, first).write_bytes(whole[first][:7000])
    place(world.cache, first).chmod(0o444)
    world.write(world.key(second), whole[second][:7000])
    for command in (("status",), ("push",), ("status", "--cloud")):
        assert "up to date" in world.dvc(*command).stdout or "in sync" in world.dvc(*command).stdout
    found = world.pistachio("fsck")
    assert found.returncode == 1
    assert f"FAIL  cache  {first}  truncated (7000 of 20000 bytes)" in found.stdout
    assert f"FAIL  storage  {second}  truncated (7000 of 20000 bytes)" in found.stdout
    repaired = world.pistachio("fsck", "--repair")
    assert repaired.returncode == 0, repaired.stdout
    assert "repaired from storage" in repaired.stdout
    assert "repaired from cache" in repaired.stdout
    assert place(world.cache, first).read_bytes() == whole[first]
    assert world.read(world.key(second)) == whole[second]
    assert world.pistachio("fsck").returncode == 0


def test_a_damaged_object_without_a_good_copy_is_kept_beside_and_no_longer_trusted(world: World) -> None:
    oid = photo_of(world)
    world.write(world.key(oid), b"rotten")
    place(world.cache, oid).unlink()
    shutil.rmtree(world.folder / "photos")
    done = world.pistachio("fsck", "--repair")
    assert done.returncode == 1
    assert f"set aside as s3://{world.bucket}/ada/damaged/{oid}" in done.stdout
    assert world.read(f"ada/damaged/{oid}") == b"rotten"
    assert world.key(oid) not in world.list_keys()
    assert world.dvc("pull").returncode != 0


@pytest.mark.parametrize(
    ("who", "said"),
    [(WRONG, "the secret does not fit the key"), (("nobody", "x"), "the secret does not fit the key"),
     (GUEST, "no right to do this (403)")],
    ids=["wrong secret", "unknown key", "no right"],
)  # fmt: skip
def test_whom_the_server_refuses_is_told_why_in_one_line(world: World, who: tuple[str, str], said: str) -> None:
    before, keys = hash_path(world.cache), world.list_keys()
    config = (world.folder / ".dvc/config").read_text()
    add = ("remote", "add", f"s3://{world.bucket}/b", "--endpoint", world.server.endpoint, "--name", "b")
    for command in (("remote", "check"), ("fsck",), ("fsck", "--repair"), add):
        line = complaint(world.pistachio(*command, who=who))
        assert said in line
        assert who[1] not in line
    assert world.dvc("push", who=who).returncode in (0, 1, 255)
    assert world.dvc("pull", "--force", who=who).returncode in (0, 1, 255)
    assert (hash_path(world.cache), world.list_keys()) == (before, keys)
    assert (world.folder / ".dvc/config").read_text() == config


def test_a_bucket_that_is_not_there_is_one_line(world: World) -> None:
    command = ("remote", "add", "s3://nowhere/ada", "--endpoint", world.server.endpoint, "--name", "b")
    assert complaint(world.pistachio(*command)).startswith("error: remote b: no such bucket; make it")


def test_trying_a_remote_leaves_nothing_there(world: World) -> None:
    keys = world.list_keys()
    done = world.pistachio("remote", "check")
    assert done.stdout == f"remote storage: s3://{world.bucket}/ada can be listed, written, read and cleared\n"
    assert world.list_keys() == keys


@pytest.fixture
def no_proxy(world: World) -> Iterator[None]:
    """The server is down until the test ends."""
    world.server.stop("proxy")
    yield
    world.server.start("proxy")


@pytest.mark.usefixtures("no_proxy")
def test_a_server_that_is_down_is_one_line_within_15_seconds_and_nothing_is_lost(world: World) -> None:
    before = hash_path(world.cache)
    for command in (("remote", "check"), ("fsck",), ("fsck", "--repair")):
        started = time.monotonic()
        assert "nobody answers at http://127.0.0.1" in complaint(world.pistachio(*command))
        assert time.monotonic() - started < 15
    assert world.dvc("push").returncode != 0
    shutil.move(world.cache, world.folder / "kept")
    assert world.dvc("pull").returncode != 0
    assert hash_path(world.folder / "kept") == before


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of four megabytes."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", folder]
    if subprocess.run(command, capture_output=True, check=False).returncode != 0:
        pytest.skip("needs the right to mount a disk")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


def fill(disk: Path, left: int) -> Path:
    """Leave ``left`` bytes on the disk."""
    filler = disk / "filler"
    filler.write_bytes(b"x" * max(0, shutil.disk_usage(disk).free - left))
    return filler


def test_a_full_disk_is_one_line_and_the_next_run_repairs(
    s3: S3, tmp_path: Path, small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DVC_SITE_CACHE_DIR", str(tmp_path / "site"))
    world = make_world(small_disk / "repo", s3, "full", files=5, size=200_000)
    assert world.dvc("push").returncode == 0
    oid, keys = photo_of(world), world.list_keys()
    half = place(world.cache, oid).read_bytes()[:100_000]
    place(world.cache, oid).chmod(0o644)
    place(world.cache, oid).write_bytes(half)
    place(world.cache, oid).chmod(0o444)
    shutil.rmtree(world.folder / "photos")
    filler = fill(small_disk, 60_000)
    said = complaint(world.pistachio("fsck", "--repair"))
    assert said.endswith("No space left on device; make room (df -h .), then run again")
    assert place(world.cache, oid).read_bytes() == half
    assert world.dvc("pull").returncode != 0
    assert sorted(world.list_keys()) == sorted(keys)
    filler.unlink()
    repaired = world.pistachio("fsck", "--repair")
    assert repaired.returncode == 0, repaired.stdout + repaired.stderr
    assert place(world.cache, oid).stat().st_size == 200_000
    assert world.dvc("pull").returncode == 0
    assert list(place(world.cache, oid).parent.glob(".*")) == []


def measure(world: World, *command: str) -> tuple[str, float, float]:
    """Run a program; returns its output, its seconds and its peak memory in MB."""
    env, output = os.environ | world.server.env() | {"PYTHONPATH": str(ROOT)}, world.folder.parent / "output"
    started, peak = time.monotonic(), 0
    with output.open("wb") as stream:
        process = subprocess.Popen(
            [sys.executable, "-m", *command], cwd=world.folder, env=env, stdout=stream, stderr=subprocess.DEVNULL
        )
        watched = psutil.Process(process.pid)
        while process.poll() is None:  # not its ru_maxrss, which counts what this process had before it
            with suppress(psutil.Error):
                peak = max(peak, watched.memory_info().rss)
            time.sleep(0.02)
    assert process.returncode == 0, output.read_text()
    return output.read_text(), time.monotonic() - started, peak / 2**20


def test_a_thousand_files_and_200_MB(
    s3: S3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DVC_SITE_CACHE_DIR", str(tmp_path / "site"))
    world = make_world(tmp_path / "repo", s3, "thousand", files=1000, size=200_000)
    before = hash_path(world.folder / "photos")
    figures: dict[str, tuple[float, float]] = {}
    figures["dvc push"] = measure(world, "dvc", "push")[1:]
    shutil.rmtree(world.cache)
    shutil.rmtree(world.folder / "photos")
    figures["dvc pull"] = measure(world, "dvc", "pull")[1:]
    assert hash_path(world.folder / "photos") == before
    output, *figure = measure(world, "stages", "fsck", "--json")
    figures["fsck"] = (figure[0], figure[1])
    report = json.loads(output)
    assert (report["objects"], report["problems"]) == (2002, [])
    assert report["bytes"] > 400e6
    spoil_every_tenth(world)
    output, *figure = measure(world, "stages", "fsck", "--repair", "--json")
    figures["fsck --repair of 100"] = (figure[0], figure[1])
    assert [problem["repaired"] for problem in json.loads(output)["problems"]] == [True] * 100
    figures["fsck --cache-only"] = measure(world, "stages", "fsck", "--cache-only")[1:]
    with capsys.disabled():
        print(f"\nSwift's four processes: {s3.memory_MB():.0f} MB")
        for name, (seconds, memory) in figures.items():
            through = 400 if name in ("fsck", "fsck --repair of 100") else 200
            print(f"{name}: {seconds:.1f} s, {through / seconds:.0f} MB/s, peak memory {memory:.0f} MB")
    assert figures["fsck"][1] < 300


def spoil_every_tenth(world: World) -> None:
    """Truncate fifty objects of the cache and fifty others of the remote."""
    (listing,) = world.cache.rglob("*.dir")
    oids = [entry["md5"] for entry in json.loads(listing.read_bytes())][::10]
    for oid in oids[:50]:
        path = place(world.cache, oid)
        path.chmod(0o644)
        os.truncate(path, 1000)
        path.chmod(0o444)
    for oid in oids[50:]:
        world.write(world.key(oid), b"half")


def test_a_killed_fsck_is_taken_up_and_so_is_one_whose_server_went_down(
    s3: S3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DVC_SITE_CACHE_DIR", str(tmp_path / "site"))
    world = make_world(tmp_path / "repo", s3, "killed", files=400, size=50_000)
    assert world.dvc("push").returncode == 0
    journal = world.folder / ".dvc/tmp/fsck/sound.tsv"
    kill = start_fsck(world)
    wait_for_lines(journal, 250)
    kill.kill()
    kill.communicate()
    lines = len(journal.read_text().splitlines())
    going = start_fsck(world)
    wait_for_lines(journal, lines + 50)
    s3.stop("proxy")
    try:
        _, said = going.communicate(timeout=120)
    finally:
        s3.start("proxy")
    assert going.returncode == 2, said
    errors = [line for line in said.decode().splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert "the server does not answer" in errors[0]
    assert b"Traceback" not in said
    done = world.pistachio("fsck", "--json")
    report: dict[str, Any] = json.loads(done.stdout)
    assert report["problems"] == []
    assert report["resumed"] >= lines + 49
    assert report["objects"] == 802
    assert not journal.exists()


def start_fsck(world: World) -> "subprocess.Popen[bytes]":
    env = os.environ | world.server.env() | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "stages", "fsck"]
    return subprocess.Popen(command, cwd=world.folder, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def wait_for_lines(path: Path, count: int) -> None:
    end = time.monotonic() + 60
    while not path.exists() or path.read_bytes().count(b"\n") < count:
        assert time.monotonic() < end, "fsck does not get on"
        time.sleep(0.02)


def test_one_large_object_takes_no_more_memory_than_many_small_ones(
    s3: S3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DVC_SITE_CACHE_DIR", str(tmp_path / "site"))
    world = make_world(tmp_path / "repo", s3, "large", files=2, size=250_000_000)
    assert world.dvc("push").returncode == 0
    oid = photo_of(world)
    world.write(world.key(oid), b"rotten")
    output, seconds, memory = measure(world, "stages", "fsck", "--repair")
    assert "repaired from cache" in output
    with capsys.disabled():
        print(f"\ntwo objects of 250 MB, one of them sent again: {seconds:.1f} s, peak memory {memory:.0f} MB")
    assert memory < 300
