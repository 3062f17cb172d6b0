"""The face pack through InsightFace's own loader."""

from pathlib import Path

import numpy as np
import pytest

from miniature.places import WEIGHTS
from miniature.render import render, render_faceless, sample_identity, sample_scene
from stages.backends.faces import open_face_judge
from stages.contracts.generation import FaceJudge
from stages.contracts.settings import FacePack, Machine
from stages.runtime.errors import UserError

PACK = WEIGHTS / "faces" / "models" / "miniature"
MACHINE = Machine(threads=1)


@pytest.fixture(scope="module")
def judge(judges: None) -> FaceJudge:
    return open_face_judge(FacePack(path=PACK, licence="test", detection_size=128), MACHINE)


@pytest.fixture(scope="module")
def people() -> list[list[np.ndarray]]:
    """Four photos of each of five people."""
    return [
        [
            render(sample_identity(1_700_000 + who), sample_scene(who * 10 + i, eyewear="none"), 64).image
            for i in range(4)
        ]
        for who in range(5)
    ]


def test_photos_of_one_person_are_more_alike_than_photos_of_two(
    judge: FaceJudge, people: list[list[np.ndarray]]
) -> None:
    faces = judge.faces([image for photos in people for image in photos])
    assert all(face is not None for face in faces)
    embeddings = np.stack([face.embedding for face in faces if face])
    np.testing.assert_allclose(np.linalg.norm(embeddings, axis=1), 1, atol=1e-5)
    cosines, owner = embeddings @ embeddings.T, np.arange(20) // 4
    pair = np.triu(np.ones((20, 20), bool), 1)
    same, other = cosines[pair & (owner[:, None] == owner)], cosines[pair & (owner[:, None] != owner)]
    assert same.mean() > other.mean() + 0.3
    assert all(face.box[2] > face.box[0] and 0.5 <= face.score <= 1 for face in faces if face)


def test_landmarks_lie_where_the_renderer_put_them(judge: FaceJudge) -> None:
    drawn = render(sample_identity(1_700_000), sample_scene(3, framing="close-up"), 128)
    (face,) = judge.faces([drawn.image])
    assert face is not None
    assert drawn.bbox is not None
    width = drawn.bbox[2] - drawn.bbox[0]
    assert np.abs(face.landmarks - drawn.landmarks).max() < 0.15 * width


def test_a_picture_is_judged_alike_alone_in_a_crowd_and_in_another_order(
    judge: FaceJudge, people: list[list[np.ndarray]]
) -> None:
    images = [image for photos in people for image in photos][:11]
    crowd, turned = judge.faces(images), judge.faces(images[::-1])[::-1]
    for image, a, b in zip(images, crowd, turned, strict=True):
        (alone,) = judge.faces([image])
        assert a is not None
        assert b is not None
        assert alone is not None
        assert np.array_equal(a.embedding, b.embedding)
        assert np.array_equal(a.embedding, alone.embedding)


def test_the_number_of_threads_changes_no_byte(judge: FaceJudge, people: list[list[np.ndarray]]) -> None:
    images = [image for photos in people for image in photos][:10]
    images.insert(4, render_faceless(7).image)
    spread = open_face_judge(FacePack(path=PACK, licence="test", detection_size=128), Machine(threads=3)).faces(images)
    for one, other in zip(judge.faces(images), spread, strict=True):
        assert (one is None) == (other is None)
        assert one is None or other is None or np.array_equal(one.embedding, other.embedding)
    assert spread[4] is None


def test_the_largest_face_wins(judge: FaceJudge) -> None:
    large = render(sample_identity(1_700_001), sample_scene(1, framing="close-up", eyewear="none", hat="none"), 96)
    small = render(sample_identity(1_700_002), sample_scene(2, framing="medium", eyewear="none", hat="none"), 96)
    for order in ([small, large], [large, small]):
        (face,) = judge.faces([np.concatenate([r.image for r in order], axis=1)])
        assert face is not None
        centre = (face.box[0] + face.box[2]) / 2
        assert (centre > 96) == (order[1] is large)
        assert face.count == 2
    (alone,) = judge.faces([large.image])
    assert alone is not None
    assert alone.count == 1


@pytest.mark.parametrize("scene", [3, 6, 7])
def test_the_largest_face_wins_over_one_that_the_detector_is_surer_of(judge: FaceJudge, scene: int) -> None:
    person, passer_by = (
        render(sample_identity(1_700_000 + who), sample_scene(number, framing=framing, eyewear="none", hat="none"), 96)
        for who, number, framing in ((1, scene, "close-up"), (2, scene + 50, "medium"))
    )
    large, small, both = judge.faces(
        [person.image, passer_by.image, np.concatenate([person.image, passer_by.image], axis=1)]
    )
    assert large is not None
    assert small is not None
    assert both is not None
    assert small.score > large.score
    assert both.count == 2
    assert both.box[0] < 96


def test_where_there_is_no_face_none_is_found_in_most_pictures(judge: FaceJudge) -> None:
    faces = judge.faces([render_faceless(seed, 64).image for seed in range(20)])
    assert sum(face is None for face in faces) >= 15


def test_no_pictures_are_no_faces(judge: FaceJudge) -> None:
    assert judge.faces([]) == []


@pytest.mark.parametrize("made", [False, True])
def test_a_missing_or_empty_pack_is_refused_and_not_downloaded(tmp_path: Path, made: bool) -> None:
    folder = tmp_path / "buffalo_l"
    if made:
        folder.mkdir()
    with pytest.raises(UserError, match="no .onnx files"):
        open_face_judge(FacePack(path=folder, licence="test"), MACHINE)


@pytest.mark.parametrize("part", ["det.onnx", "rec.onnx"])
def test_half_a_pack_is_refused(judges: None, tmp_path: Path, part: str) -> None:
    (tmp_path / part).symlink_to(PACK / part)
    with pytest.raises(UserError, match="detector|recogniser"):
        open_face_judge(FacePack(path=tmp_path, licence="test", detection_size=128), MACHINE)
