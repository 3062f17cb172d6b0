"""The committed face pack and the independent judge, on people that nothing was trained on."""

import itertools
import math

import numpy as np
import pytest

from miniature import embedder, judge
from miniature.detector import PACK, box_iou, open_pack
from miniature.places import VALIDATION
from miniature.render import render, render_faceless, sample_identity, sample_scene

PEOPLE = range(VALIDATION.start + 5_000, VALIDATION.start + 5_004)
PLAIN = {"eyewear": "none", "hat": "none", "framing": "close-up", "yaw": 0.0, "light": "daylight"}


@pytest.fixture(scope="module")
def pack():
    return open_pack()


@pytest.fixture(scope="module")
def photos():
    """Two plain photos of each person: {(person, number): Render}."""
    return {(p, n): render(sample_identity(p), sample_scene(10 * p + n, **PLAIN)) for p in PEOPLE for n in range(2)}


@pytest.fixture(scope="module")
def faces(pack, photos):
    return dict(zip(photos, embedder.faces_of(pack, [photo.image for photo in photos.values()]), strict=True))


@pytest.fixture(scope="module")
def judged(photos):
    renders = list(photos.values())
    rows = judge.embed(judge.open_judge(), [r.image for r in renders], [r.bbox for r in renders])
    return dict(zip(photos, rows, strict=True))


def _same_and_different(embeddings: dict) -> tuple[list[float], list[float]]:
    """Cosines of every person's two photos, and of the first photos of every two people."""
    same = [float(embeddings[p, 0] @ embeddings[p, 1]) for p in PEOPLE]
    different = [float(embeddings[p, 0] @ embeddings[q, 0]) for p, q in itertools.combinations(PEOPLE, 2)]
    return same, different


@pytest.mark.parametrize(("size", "framing"), itertools.product((64, 96, 128), ("close-up", "portrait", "medium")))
def test_exactly_one_face_is_found_where_it_was_drawn(pack, size, framing):
    truth = render(sample_identity(PEOPLE.start), sample_scene(3, framing=framing), size)
    assert truth.bbox is not None
    assert truth.landmarks is not None
    boxes, landmarks = pack.det_model.detect(truth.image[..., ::-1], input_size=(size, size))
    assert len(boxes) == 1
    side = math.sqrt((truth.bbox[2] - truth.bbox[0]) * (truth.bbox[3] - truth.bbox[1]))
    assert box_iou(boxes[0, :4], truth.bbox) > 0.7
    assert np.linalg.norm(landmarks[0] - truth.landmarks, axis=1).max() < 0.2 * side


def test_a_wide_picture_is_letterboxed_and_its_face_found(pack):
    truth = render(sample_identity(PEOPLE.start), sample_scene(4), 96, 64)
    assert truth.bbox is not None
    boxes, _ = pack.det_model.detect(truth.image[..., ::-1], input_size=(96, 96))
    assert len(boxes) == 1
    assert box_iou(boxes[0, :4], truth.bbox) > 0.7


def test_faceless_pictures_hold_no_face(pack):
    found = [len(pack.get(render_faceless(VALIDATION.start + n).image[..., ::-1])) for n in range(100)]
    assert sum(found) <= 2


def test_an_upside_down_face_is_not_a_face(pack, photos):
    assert not any(pack.get(np.ascontiguousarray(photo.image[::-1, :, ::-1])) for photo in photos.values())


def test_the_pack_tells_the_same_person_from_another(faces):
    same, different = _same_and_different({key: face.normed_embedding for key, face in faces.items()})
    assert min(same) > embedder.THRESHOLD > max(different)


def test_embedding_a_batch_equals_embedding_one_by_one(pack, photos):
    crops = [embedder.aligned(photo.image[..., ::-1], photo.landmarks) for photo in photos.values()]
    recognition = pack.models["recognition"]
    together = recognition.get_feat(crops)
    apart = np.concatenate([recognition.get_feat(crop) for crop in crops])
    assert np.abs(together - apart).max() <= 1e-5
    assert np.allclose(np.linalg.norm(together, axis=1), 1, atol=1e-5)


def test_our_alignment_is_insightfaces(photos):
    from insightface.utils.face_align import norm_crop

    photo = next(iter(photos.values()))
    with pytest.warns(FutureWarning):
        theirs = norm_crop(photo.image, photo.landmarks)
    assert np.abs(theirs.astype(int) - embedder.aligned(photo.image, photo.landmarks)).max() <= 1


def test_the_judge_tells_the_same_person_from_another(judged):
    same, different = _same_and_different(judged)
    assert min(same) > judge.THRESHOLD > max(different)


def test_judging_a_batch_equals_judging_one_by_one(photos, judged):
    session = judge.open_judge()
    apart = [judge.embed(session, [photo.image], [photo.bbox])[0] for photo in photos.values()]
    assert np.abs(np.stack(apart) - np.stack(list(judged.values()))).max() <= 1e-5


def test_a_crop_at_the_picture_edge_repeats_its_pixels():
    image = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
    assert (judge.crop(image, np.array([-40, -40, -20, -20])) == image[0, 0]).all()


def test_the_weights_take_less_than_five_megabytes():
    files = [PACK / "det.onnx", PACK / "rec.onnx", judge.FILE]
    assert sum(file.stat().st_size for file in files) < 5_000_000
