"""Scoring a folder, with a judge whose every answer is known: a picture's embedding is drawn in its first pixel."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from stages.contracts.generation import Face
from stages.flows.folder_scores import TOGETHER, score_folder
from stages.runtime.errors import UserError
from stages.runtime.pictures import write_png


class Compass:
    """Sees a face that points where the first pixel says, in degrees; none at 255."""

    def faces(self, images: Sequence[np.ndarray]) -> list[Face | None]:
        angles = [None if image[0, 0, 0] == 255 else np.radians(float(image[0, 0, 0])) for image in images]
        return [
            None if a is None else Face(np.zeros(4), np.zeros((5, 2)), 1.0, np.array([np.cos(a), np.sin(a)]))
            for a in angles
        ]


def draw(folder: Path, **degrees: int) -> Path:
    for name, angle in degrees.items():
        write_png(folder / f"{name.replace('__', '/')}.png", np.full((8, 8, 3), angle, np.uint8))
    return folder


def test_every_picture_is_scored_in_order_and_means_count_lost_faces_as_failures(tmp_path: Path) -> None:
    references = draw(tmp_path / "references", a=0, b=90, lost=255, sub__lost=255)
    pictures = draw(tmp_path / "pictures", z=90, b=45, c=255, sub__d=0)
    found = score_folder(pictures, references, Compass(), threshold=0.6, licence="mine")
    assert [(p.file, p.face_found, round(p.similarity, 4), p.passed) for p in found.pictures] == [
        ("b.png", True, 0.7071, True), ("c.png", False, 0.0, False), ("sub/d.png", True, 0.5, False),
        ("z.png", True, 0.5, False),
    ]  # fmt: skip
    assert (found.references, found.references_without_face) == (2, ["lost.png", "sub/lost.png"])
    assert found.similarity_mean == pytest.approx((np.sqrt(0.5) + 0.5 + 0.5) / 4)
    assert (found.pass_rate, found.detection_rate) == (0.25, 0.75)
    assert (found.threshold, found.licence) == (0.6, "mine")


def test_a_picture_passes_at_the_threshold_and_never_without_a_face(tmp_path: Path) -> None:
    references, pictures = draw(tmp_path / "r", a=0), draw(tmp_path / "p", a=0, b=255)
    found = score_folder(pictures, references, Compass(), threshold=1.0, licence="")
    assert [p.passed for p in found.pictures] == [True, False]
    found = score_folder(pictures, references, Compass(), threshold=-1.0, licence="")
    assert [p.passed for p in found.pictures] == [True, False]
    assert found.pass_rate == 0.5


def test_many_pictures_are_all_scored(tmp_path: Path) -> None:
    names = {f"n{number:02d}": number for number in range(TOGETHER + 3)}
    found = score_folder(draw(tmp_path / "p", **names), draw(tmp_path / "r", a=0), Compass(), threshold=0, licence="")
    assert [p.similarity for p in found.pictures] == pytest.approx([np.cos(np.radians(n)) for n in names.values()])


def test_references_without_any_face_are_refused_with_their_number(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no face found in any of its 2 pictures"):
        score_folder(draw(tmp_path / "p", a=0), draw(tmp_path / "r", a=255, b=255), Compass(), threshold=0, licence="")
