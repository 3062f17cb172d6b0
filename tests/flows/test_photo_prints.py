"""Photos are read in parallel, once, and again only when their files changed."""

import hashlib
import json
import os
import time
from pathlib import Path

import pytest
from PIL import Image

from stages.flows import photo_prints
from stages.flows.photo_prints import Print, gather_prints
from stages.runtime.errors import UserError

Reads = list[str]


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> Reads:
    """The names of the photos that are read."""
    names: Reads = []
    really = photo_prints.read_bytes

    def read(path: Path) -> bytes:
        names.append(path.name)
        return really(path)

    monkeypatch.setattr(photo_prints, "read_bytes", read)
    monkeypatch.setattr(photo_prints, "RESTED_NS", 0)
    return names


@pytest.fixture
def photos(tmp_path: Path) -> list[Path]:
    paths = [tmp_path / "photos" / f"{number}.png" for number in range(6)]
    paths[0].parent.mkdir()
    for number, path in enumerate(paths):
        Image.effect_noise((40 + number, 50), 60).convert("RGB").save(path)
    time.sleep(0.02)  # older than the reading, whatever the file system's clock
    return paths


def test_a_print_is_the_files_own(photos: list[Path], tmp_path: Path) -> None:
    found = gather_prints(photos, 2, tmp_path / "state")
    for number, (path, one) in enumerate(zip(photos, found, strict=True)):
        assert isinstance(one, Print)
        assert one.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
        assert (one.width, one.height, one.size_bytes) == (40 + number, 50, path.stat().st_size)


def test_what_has_not_changed_is_not_read_again(photos: list[Path], tmp_path: Path, reads: Reads) -> None:
    first = gather_prints(photos, 2, tmp_path / "state")
    assert sorted(reads) == [path.name for path in photos]
    reads.clear()
    assert gather_prints(photos, 2, tmp_path / "state") == first
    assert reads == []


def test_what_changed_is_read_again_even_when_its_size_and_date_are_put_back(
    photos: list[Path], tmp_path: Path, reads: Reads
) -> None:
    first = gather_prints(photos, 2, tmp_path / "state")
    status, data = photos[2].stat(), bytearray(photos[2].read_bytes())
    time.sleep(0.02)
    data[-6] ^= 0  # the same bytes, written in place
    photos[2].write_bytes(bytes(data))
    os.utime(photos[2], ns=(status.st_atime_ns, status.st_mtime_ns))
    reads.clear()
    assert gather_prints(photos, 2, tmp_path / "state") == first
    assert reads == ["2.png"]
    Image.new("RGB", (9, 9), "red").save(photos[4])
    found = gather_prints(photos, 2, tmp_path / "state")[4]
    assert isinstance(found, Print)
    assert found.width == 9


def test_a_file_that_has_just_been_written_is_not_trusted(
    photos: list[Path], tmp_path: Path, reads: Reads, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(photo_prints, "RESTED_NS", 60_000_000_000)
    for _ in range(2):
        gather_prints(photos, 2, tmp_path / "state")
    assert len(reads) == 2 * len(photos)


def test_what_cannot_be_read_is_told_every_time(photos: list[Path], tmp_path: Path, reads: Reads) -> None:
    photos[1].write_bytes(b"my notes")
    photos[3].unlink()
    for _ in range(2):
        found = gather_prints(photos, 2, tmp_path / "state")
        assert [n for n, one in enumerate(found) if isinstance(one, UserError)] == [1, 3]


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"a": 1}', '{"a": [1, [2]]}'])
def test_a_damaged_book_is_none(photos: list[Path], tmp_path: Path, reads: Reads, damage: str) -> None:
    first = gather_prints(photos, 2, tmp_path / "state")
    (book,) = (tmp_path / "state" / "prints").glob("*.json")
    book.write_text(damage)
    assert gather_prints(photos, 2, tmp_path / "state") == first


def test_a_photo_that_is_gone_leaves_the_book_and_a_state_folder_that_is_a_file_stops_nothing(
    photos: list[Path], tmp_path: Path, reads: Reads
) -> None:
    gather_prints(photos, 2, tmp_path / "state")
    gather_prints(photos[:2], 2, tmp_path / "state")
    (book,) = (tmp_path / "state" / "prints").glob("*.json")
    assert len(json.loads(book.read_text())) == 2
    (tmp_path / "file").write_text("")
    assert len(gather_prints(photos, 2, tmp_path / "file")) == len(photos)
