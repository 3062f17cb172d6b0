"""The benchmarks of photos and faces, at toy size: both sides compute the same, and what differs is noticed."""

import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bench import faces, manifest, photos
from bench.harness import run_benchmark
from bench.photos import write_photos
from stages.runtime.errors import UserError


def test_the_photos_are_the_same_bytes_again_and_no_two_alike(tmp_path: Path) -> None:
    first, again = (write_photos(tmp_path / name, 5) for name in "ab")
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in again]
    assert len({path.read_bytes() for path in first}) == 5
    assert [path.suffix for path in first] == [".png", ".jpg", ".jpg", ".jpg", ".jpg"]


def test_ours_and_imagehash_agree_on_every_photo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(manifest, "PHOTOS", 9)
    monkeypatch.setattr(photos, "SCENES", 2)
    cases = manifest.prepare(tmp_path)
    lines = run_benchmark("manifest", cases, 1, tmp_path / "results")
    assert [line.split(":")[0] for line in lines] == [
        "manifest, first time", "manifest, jpeg alone", "manifest, png alone", "manifest, unchanged since",
    ]  # fmt: skip
    mine, theirs = cases[0].ours(), cases[0].peer()
    sha256, phash, width, height = mine[3]
    for changed in (
        ("0" * 64, phash, width, height),
        (sha256, phash, height + 1, width),
        (sha256, f"{int(phash, 16) ^ 7:016x}", width, height),
    ):
        assert cases[0].same([*mine[:3], changed, *mine[4:]], theirs).startswith("photo 3: ")
    broken = tmp_path / "photos-9" / "00001.jpg"
    broken.write_bytes(broken.read_bytes()[:5000])
    with pytest.raises(UserError, match=r"00001\.jpg"):
        cases[0].ours()


def test_ours_and_insightface_find_the_same_faces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(faces, "PICTURES", 6)
    monkeypatch.setattr(faces, "SIDES", (96,))
    logging.disable()
    (case,) = faces.prepare(tmp_path)
    run_benchmark("faces", replace(case, aim=None), 1, tmp_path / "results")
    mine, theirs = case.ours(), case.peer()
    assert sum(one is not None for one in mine) >= 5
    number = next(n for n, one in enumerate(mine) if one is not None)
    box, embedding = mine[number]
    for changed in (None, (box + 1, embedding), (box, np.roll(embedding, 1))):
        assert case.same([*mine[:number], changed, *mine[number + 1 :]], theirs).startswith(f"picture {number}: ")
