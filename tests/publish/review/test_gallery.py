"""What is shown of a folder, in which order, and what is not."""

import io
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from batches import make_batch
from PIL import Image

from publish.review.gallery import Item, read_gallery, show_picture, show_thumbnail
from stages.contracts.production import read_record, write_record
from stages.runtime.errors import UserError
from stages.runtime.pictures import write_png


def noise(seed: int, height: int = 48, width: int = 64) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def one(item: Item) -> str:
    return item.pictures[0].file


@pytest.fixture(scope="module")
def batch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made") / "batch"
    make_batch(folder, 40, 48)
    write_png(folder / "montage.png", noise(0))
    return folder


def test_a_batch_shows_each_approved_and_rejected_picture_once(batch: Path) -> None:
    items, notices = read_gallery(batch)
    assert notices == []
    assert sorted(map(one, items)) == sorted(path.name for path in batch.glob("*/*.png"))
    assert all(item.pictures[0].record is not None for item in items)


def test_neither_order_nor_names_give_the_gate_s_verdict_away(batch: Path) -> None:
    items, _ = read_gallery(batch)
    verdicts = [item.pictures[0].record.approved for item in items if item.pictures[0].record]
    turns = sum(a != b for a, b in pairwise(verdicts))
    assert turns > 8  # sorted by verdict there would be one
    assert all(len(item.id) == 16 and "approved" not in item.id for item in items)
    assert [item.id for item in read_gallery(batch)[0]] == [item.id for item in items]


def test_a_picture_keeps_its_name_when_the_gate_thinks_again(tmp_path: Path) -> None:
    make_batch(tmp_path, 8, 48)
    before = {item.id for item in read_gallery(tmp_path)[0]}
    moved = next((tmp_path / "rejected").glob("*.png"))
    for path in (moved, moved.with_suffix(".json")):
        path.rename(tmp_path / "approved" / path.name)
    assert {item.id for item in read_gallery(tmp_path)[0]} == before


def test_any_folder_of_pictures_will_do(tmp_path: Path) -> None:
    write_png(tmp_path / "deep/b.png", noise(1))
    Image.fromarray(noise(2)).save(tmp_path / "a.jpg")
    Image.fromarray(noise(3)).save(tmp_path / "c.tif")
    items, notices = read_gallery(tmp_path)
    assert notices == []
    shown = {one(item): show_picture(item.pictures[0]) for item in items}
    assert {file: kind for file, (_, kind) in shown.items()} == {
        "a.jpg": "image/jpeg", "deep/b.png": "image/png", "c.tif": "image/png"
    }  # fmt: skip
    assert shown["a.jpg"][0] == (tmp_path / "a.jpg").read_bytes()
    assert (np.asarray(Image.open(io.BytesIO(shown["c.tif"][0]))) == noise(3)).all()


def test_other_pixels_are_another_picture(tmp_path: Path) -> None:
    write_png(tmp_path / "a.png", noise(1))
    before = read_gallery(tmp_path)[0][0].id
    write_png(tmp_path / "a.png", noise(2))
    assert read_gallery(tmp_path)[0][0].id != before


def test_what_cannot_be_shown_is_left_out_and_said(tmp_path: Path) -> None:
    make_batch(tmp_path, 6, 48)
    broken, strange = sorted(tmp_path.glob("*/*.png"))[:2]
    broken.with_suffix(".json").unlink()
    broken.write_bytes(broken.read_bytes()[:200])
    write_record(strange, read_record(strange).model_copy(update={"file": "other.png"}))
    (tmp_path / "approved/phone.heic").write_bytes(b"x")
    items, notices = read_gallery(tmp_path)
    assert len(items) == 4
    assert len(notices) == 3
    assert "phone.heic" in notices[0]
    assert broken.name in " ".join(notices)
    assert "the record of other.png" in " ".join(notices)


@pytest.mark.parametrize("kind", ["picture", "folder", "approved"])
def test_a_link_that_leads_out_is_refused(tmp_path: Path, kind: str) -> None:
    inside, outside = tmp_path / "in", tmp_path / "out"
    write_png(inside / "a.png", noise(1))
    write_png(outside / "secret.png", noise(2))
    place = {"picture": "b.png", "folder": "deeper", "approved": "approved"}[kind]
    (inside / place).symlink_to(outside / "secret.png" if kind == "picture" else outside)
    with pytest.raises(UserError, match="link"):
        read_gallery(inside)


def test_a_picture_that_becomes_a_link_later_is_not_read(tmp_path: Path) -> None:
    inside, outside = tmp_path / "in", tmp_path / "secret.png"
    write_png(inside / "a.png", noise(1))
    write_png(outside, noise(2))
    item = read_gallery(inside)[0][0]
    (inside / "a.png").unlink()
    with pytest.raises(UserError, match="gone"):
        show_picture(item.pictures[0])
    (inside / "a.png").symlink_to(outside)
    for show in (lambda: show_picture(item.pictures[0]), lambda: show_thumbnail(item)):
        with pytest.raises(UserError, match="leads out"):
            show()


def test_an_empty_folder_and_none_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds no pictures"):
        read_gallery(tmp_path)
    with pytest.raises(UserError, match="no such folder"):
        read_gallery(tmp_path / "nothing")


def test_a_thumbnail_is_small_and_a_pair_s_shows_both(batch: Path) -> None:
    items, _ = read_gallery(batch)
    single = Image.open(io.BytesIO(show_thumbnail(items[0])))
    double = Image.open(io.BytesIO(show_thumbnail(Item("x", "", (items[0].pictures[0], items[1].pictures[0])))))
    assert max(single.size) <= 160
    assert double.size == (320, 160)
