"""Two versions side by side: matched by prompt and seed, on sides that a stored seed decided, and alike in all else."""

import io
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from batches import make_batch
from PIL import Image

from miniature.render import render, sample_identity, sample_scene
from publish.review.gallery import show_picture
from publish.review.pairs import find_place, find_version, match_pairs, read_shots
from stages.contracts.paths import VERSIONS
from stages.runtime.errors import UserError
from stages.runtime.pictures import write_png

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def versions(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("versions")
    make_batch(folder / "v3", 32, 48, version="v3", seed=1)
    make_batch(folder / "v2", 24, 48, version="v2", shift=-0.2, seed=1)
    return folder / "v3", folder / "v2"


def match(versions: tuple[Path, Path], place: Path, seed: int | None = None):  # type: ignore[no-untyped-def]
    first, second = map(read_shots, versions)
    return match_pairs(first, second, place, seed)


def test_pairs_share_prompt_and_seed_and_hold_one_of_each_version(versions: tuple[Path, Path], tmp_path: Path) -> None:
    items, assignment = match(versions, tmp_path, 3)
    assert len(items) == len(assignment.pairs) == 24
    for item in items:
        records = [picture.record for picture in item.pictures]
        assert records[0] is not None
        assert records[1] is not None
        origins = [record.origin for record in records if record]
        assert origins[0].prompt == origins[1].prompt
        assert origins[0].seed == origins[1].seed
        assert [origin.version for origin in origins] == (["v3", "v2"] if item.left_is_first else ["v2", "v3"])


def test_sides_and_order_are_random_and_stored(versions: tuple[Path, Path], tmp_path: Path) -> None:
    items, assignment = match(versions, tmp_path / "a", 3)
    assert 5 <= sum(item.left_is_first for item in items) <= 19
    again, same = match(versions, tmp_path / "a")
    assert ([item.id for item in again], same) == ([item.id for item in items], assignment)
    assert [item.left_is_first for item in again] == [item.left_is_first for item in items]
    other, _ = match(versions, tmp_path / "b", 4)
    assert [item.id for item in other] != [item.id for item in items]
    sides = {item.id: item.left_is_first for item in items}
    assert [sides[item.id] for item in other] != [item.left_is_first for item in other]
    stored = json.loads((tmp_path / "a/assignment.json").read_text())
    assert {pair["item"]: pair["left"] == "first" for pair in stored["pairs"]} == sides


def test_pictures_that_are_drawn_later_join_without_moving_the_others(
    versions: tuple[Path, Path], tmp_path: Path
) -> None:
    for name, folder in zip(("v3", "v2"), versions, strict=True):
        shutil.copytree(folder, tmp_path / name)
    late = sorted((tmp_path / "v2").glob("*/*.png"))[:6]
    for path in late:
        path.rename(tmp_path / path.name)
    before, _ = match((tmp_path / "v3", tmp_path / "v2"), tmp_path)
    for path in late:
        (tmp_path / path.name).rename(path)
    after, _ = match((tmp_path / "v3", tmp_path / "v2"), tmp_path)
    assert (len(before), len(after)) == (18, 24)
    order = [item.id for item in after]
    assert sorted((item.id for item in before), key=order.index) == [item.id for item in before]
    sides = {item.id: item.left_is_first for item in after}
    assert all(sides[item.id] == item.left_is_first for item in before)


def test_a_stored_assignment_is_not_thrown_over(versions: tuple[Path, Path], tmp_path: Path) -> None:
    match(versions, tmp_path, 3)
    before = (tmp_path / "assignment.json").read_bytes()
    with pytest.raises(UserError, match="was made with seed 3"):
        match(versions, tmp_path, 4)
    (tmp_path / "assignment.json").write_bytes(before[:50])
    with pytest.raises(UserError, match="without it the votes say nothing"):
        match(versions, tmp_path)


def test_promoted_versions_are_compared_by_the_pictures_they_keep(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    items, assignment = match((find_version("v3"), find_version("v2")), tmp_path)
    assert (assignment.first, assignment.second) == ("v3", "v2")
    assert len(items) == len(list((VERSIONS / "v3/pictures").iterdir()))
    assert all("amiranoor" in item.prompt for item in items)


def test_fresh_pictures_stand_beside_a_version_s_small_copies_and_look_like_them(tmp_path: Path) -> None:
    """data/eval/lora of a workspace, three times as large as the copies and no JPEG."""
    run, kept = tmp_path / "run/data/eval/lora", ROOT / VERSIONS / "v3"
    for source in sorted((kept / "pictures").iterdir())[:4]:
        number = int(source.stem)
        write_png(run / f"p{number:02d}_s1001.png", render(sample_identity(1_920_007), sample_scene(number), 192).image)
    (tmp_path / "run/metrics").mkdir()
    shutil.copy(kept / "per_image.csv", tmp_path / "run/metrics")
    items, _ = match((run, kept), tmp_path / "votes")
    assert len(items) == 4
    for item in items:
        sides = [Image.open(io.BytesIO(show_picture(picture)[0])) for picture in item.pictures]
        assert sides[0].size == sides[1].size
        assert {picture.path.suffix for picture in item.pictures} == {".png", ".jpg"}
        one, other = item.pictures
        fresh = one if one.path.suffix == ".png" else other
        even = sides[item.pictures.index(fresh)]
        plain = Image.open(io.BytesIO(show_picture(replace(fresh, alike=None))[0]))
        kept_copy = (other if fresh is one else one).path
        assert lost_by_jpeg(even, kept_copy) < 0.5 * lost_by_jpeg(plain, kept_copy)


def lost_by_jpeg(image: Image.Image, like: Path) -> float:
    """Mean change of its pixels as a JPEG as coarse as ``like``: little where it was one already."""
    stream = io.BytesIO()
    image.save(stream, format="JPEG", qtables=Image.open(like).quantization)  # type: ignore[attr-defined]
    again = np.asarray(Image.open(stream), dtype=float)
    return float(np.abs(again - np.asarray(image, dtype=float)).mean())


def test_what_has_nothing_in_common_is_refused(versions: tuple[Path, Path], tmp_path: Path) -> None:
    write_png(tmp_path / "plain/a.png", np.zeros((48, 48, 3), np.uint8))
    with pytest.raises(UserError, match=r"neither records .* nor a per_image\.csv"):
        read_shots(tmp_path / "plain")
    with pytest.raises(UserError, match="shares no prompt and seed with v2"):
        match_pairs(read_shots(ROOT / VERSIONS / "v3"), read_shots(versions[1]), tmp_path, 1)
    with pytest.raises(UserError, match="neither a folder nor a promoted version"):
        find_version("v99")


def test_votes_lie_with_the_pictures_unless_that_would_not_last(versions: tuple[Path, Path], tmp_path: Path) -> None:
    assert find_place(versions[0], None) == versions[0]
    assert find_place(tmp_path / "data/evaluation", None) == tmp_path / "data/evaluation"
    assert find_place(tmp_path / "data/eval/lora", None) == tmp_path / "metrics/votes"
    assert find_place(tmp_path / "data/sweep/c001", None) == tmp_path / "metrics/votes"
    assert find_place(ROOT / VERSIONS / "v3", None) == ROOT / "metrics/votes"
    assert find_place(ROOT / VERSIONS / "v3", tmp_path) == tmp_path
    with pytest.raises(UserError, match="--votes metrics/votes"):
        find_place(versions[0], tmp_path / "data/eval")
