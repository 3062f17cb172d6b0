"""What a photo's fields say, from judges whose answers are known: on photos that are not square, in several groups."""

from pathlib import Path

import numpy as np
import pytest

from stages.contracts.generation import Face
from stages.contracts.measure_settings import CoverageLimits, Pose
from stages.flows.photo_facts import TOGETHER, Facts, Viewers, gather_facts
from stages.runtime.pictures import write_png

FRONT = np.array([[100, 30], [120, 30], [110, 40], [103, 50], [117, 50]], np.float32)
LIGHTS = (("sunny", "a sunny photo"), ("dark", "a dark photo"), ("misty", "a misty photo"))


class Faces:
    """Finds the same face on every photo, but on the photos whose first pixel is black."""

    def __init__(
        self, box: tuple[float, ...] = (90, 10, 130, 60), landmarks: np.ndarray = FRONT, count: int = 1
    ) -> None:
        self.face = Face(np.array(box, np.float32), landmarks, 0.9, np.array([1.0, 0.0], np.float32), count)

    def faces(self, images: list[np.ndarray]) -> list[Face | None]:
        return [self.face if image[0, 0, 0] else None for image in images]


class Clip:
    """Embeds a photo as its first pixel, and chooses by it."""

    asked: list[list[str]]

    def __init__(self) -> None:
        self.asked = []

    def embed_images(self, images: list[np.ndarray]) -> np.ndarray:
        return np.stack([image[0, 0] for image in images]).astype(np.float32)

    def choose(self, embeddings_ND: np.ndarray, texts: list[str]) -> np.ndarray:
        self.asked.append(list(texts))
        return embeddings_ND[:, : len(texts)] / 100


def gathered(folder: Path, pixels: dict[str, np.ndarray], viewers: Viewers | None, **captions: str) -> list[Facts]:
    for name, picture in pixels.items():
        write_png(folder / name, picture)
    for name, text in captions.items():
        (folder / f"{name}.txt").write_text(text)
    files = {name: name.replace(".png", ".txt") for name in pixels}
    return list(gather_facts(folder, folder, files, 64, viewers, workers=2))


def wide(first: tuple[int, int, int] = (70, 20, 10)) -> np.ndarray:
    picture = np.full((100, 200, 3), 128, np.uint8)
    picture[0, 0] = first
    return picture


def viewers_with(faces: Faces, **changed: object) -> Viewers:
    return Viewers(**({"faces": faces, "text_image": Clip()} | changed))


def test_a_box_is_told_in_widths_and_heights_and_cut_at_the_photo_s_edges(tmp_path: Path) -> None:
    (inside,) = gathered(tmp_path, {"a.png": wide()}, viewers_with(Faces(count=3)))
    assert inside.fields["face_box"] == (0.45, 0.1, 0.65, 0.6)
    assert inside.fields["face_share"] == 0.1  # 40 x 50 of 200 x 100 px
    assert inside.fields["faces"] == 3
    assert (inside.fields["width"], inside.fields["height"]) == (200, 100)
    (beyond,) = gathered(tmp_path, {"a.png": wide()}, viewers_with(Faces((-20, 50, 50, 120))))
    assert beyond.fields["face_box"] == (0.0, 0.5, 0.25, 1.0)
    assert beyond.fields["face_share"] == 0.125


def test_the_framing_is_by_the_face_s_height_in_heights_of_the_photo(tmp_path: Path) -> None:
    limits = CoverageLimits(framing=(("near", 0.5), ("middle", 0.2), ("far", 0.0)))
    for box, expected in (((90, 10, 130, 60), "near"), ((90, 10, 190, 59), "middle"), ((90, 10, 130, 29), "far")):
        (found,) = gathered(tmp_path, {"a.png": wide()}, viewers_with(Faces(box), limits=limits))
        assert found.fields["aspects"] == {"framing": expected}


def test_a_yaw_is_that_of_the_landmarks_under_the_nose_depth_that_was_set(tmp_path: Path) -> None:
    """A nose that stands a quarter of the eyes' distance to the right; tan(yaw) = 0.25 / depth."""
    landmarks = FRONT + np.array([[0, 0], [0, 0], [5, 0], [0, 0], [0, 0]], np.float32)
    for depth in (0.25, 0.5):
        viewers = viewers_with(Faces(landmarks=landmarks), pose=Pose(nose_depth=depth))
        (found,) = gathered(tmp_path, {"a.png": wide()}, viewers)
        assert found.fields["yaw"] == pytest.approx(np.degrees(np.arctan(0.25 / depth)), abs=0.06)


def test_every_photo_has_its_own_caption_face_and_answer_whatever_group_it_is_read_in(tmp_path: Path) -> None:
    count = TOGETHER + 3
    firsts = [(0 if i % 3 == 1 else 70, 61 + i, 20) for i in range(count)]
    pixels = {f"{count - i:02d}.png": wide(first) for i, first in enumerate(firsts)}  # not by name: in the order given
    viewers = viewers_with(Faces(), asks={"light": LIGHTS, "place": (("indoors", ""),)})
    found = gathered(tmp_path, pixels, viewers, **{"02": "ada in misty hills"})
    assert [one.fields["filename"] for one in found] == list(pixels)
    assert [one.fields["faces"] for one in found] == [1 if first[0] else 0 for first in firsts]
    assert ["yaw" in one.fields for one in found] == [bool(first[0]) for first in firsts]
    sure = ["sunny" if first[0] >= first[1] else "dark" for first in firsts]
    expected = ["misty" if name == "02.png" else light for name, light in zip(pixels, sure, strict=True)]
    assert [one.fields["aspects"]["light"] for one in found] == expected
    assert {one.fields["aspects"]["place"] for one in found} == {"unknown"}  # without a text CLIP is not asked
    assert [tuple(one.embedding) for one in found if one.embedding is not None] == firsts
    assert viewers.text_image.asked == [["a sunny photo", "a dark photo", "a misty photo"]] * 2  # type: ignore[attr-defined]
    told = {one.fields["filename"]: (one.fields["caption_file"], one.fields["caption_text"]) for one in found}
    assert told.pop("02.png") == ("02.txt", "ada in misty hills")
    assert set(told.values()) == {("", "")}


def test_an_answer_that_is_less_than_sure_is_unknown(tmp_path: Path) -> None:
    for sure, expected in ((0.75, "sunny"), (0.76, "unknown")):
        viewers = viewers_with(Faces(), asks={"light": LIGHTS}, limits=CoverageLimits(sure=sure))
        (found,) = gathered(tmp_path, {"a.png": wide((75, 20, 10))}, viewers)
        assert found.fields["aspects"]["light"] == expected
