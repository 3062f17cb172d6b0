"""The second judge: its rules, its crop, and that it tells people apart."""

import json
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest

from miniature import judge as trained
from miniature.places import WEIGHTS
from miniature.render import Render, render, sample_identity, sample_scene
from stages.backends.faces import open_face_judge, open_second_judge
from stages.backends.faces.second import crop, read_rules
from stages.contracts.generation import Face, SecondJudge
from stages.contracts.settings import FacePack, Judge, Machine
from stages.runtime.errors import UserError

FOLDER = trained.FILE.parent
PACK = WEIGHTS / "faces/models/miniature"
MACHINE = Machine(threads=1)


@pytest.fixture(scope="module")
def second(judges: None) -> SecondJudge:
    return open_second_judge(Judge(path=FOLDER, licence="test"), MACHINE)


def photo(person: int, scene: int) -> Render:
    return render(sample_identity(1_700_000 + person), sample_scene(scene, eyewear="none"), 64)


def face_of(drawn: Render) -> Face:
    assert drawn.bbox is not None
    assert drawn.landmarks is not None
    return Face(drawn.bbox, drawn.landmarks, 1.0, np.zeros(1, np.float32))


def test_it_sees_what_the_network_was_trained_on() -> None:
    image = np.random.default_rng(0).integers(0, 256, (50, 70, 3), dtype=np.uint8)
    for box in ([10, 5, 30, 40], [-4, -6, 20, 22], [40, 20, 90, 60], [3.4, 7.6, 4.1, 8.2]):
        ours = crop(image, np.array(box, np.float32), trained.MARGIN, trained.SIDE)
        assert np.array_equal(ours, trained.crop(image, np.array(box, np.float32)))


def test_its_rules_are_those_of_its_training(judges: None) -> None:
    rules = read_rules(FOLDER / "judge.json")
    assert (rules.margin, rules.input_size) == (trained.MARGIN, trained.SIDE)


def test_photos_of_one_person_are_more_alike_than_photos_of_two(second: SecondJudge) -> None:
    drawn = [photo(person, 10 * person + i) for person in range(5) for i in range(4)]
    found = second.embed([d.image for d in drawn], [face_of(d) for d in drawn])
    embeddings = np.stack([e for e in found if e is not None])
    np.testing.assert_allclose(np.linalg.norm(embeddings, axis=1), 1, atol=1e-5)
    cosines, owner = embeddings @ embeddings.T, np.arange(20) // 4
    pair = np.triu(np.ones((20, 20), bool), 1)
    same, other = cosines[pair & (owner[:, None] == owner)], cosines[pair & (owner[:, None] != owner)]
    assert same.mean() > other.mean() + 0.3


def test_a_judge_that_wants_landmarks_sees_what_the_face_pack_s_own_recogniser_sees(
    judges: None, tmp_path: Path
) -> None:
    shutil.copyfile(PACK / "rec.onnx", tmp_path / "judge.onnx")
    rules = {"name": "rec", "alignment": "landmarks", "input_size": 112, "mean": 127.5, "std": 127.5}
    (tmp_path / "judge.json").write_text(json.dumps(rules))
    pack = open_face_judge(FacePack(path=PACK, licence="test", detection_size=128), MACHINE)
    images = [photo(person, person).image for person in range(3)]
    faces = pack.faces(images)
    found = open_second_judge(Judge(path=tmp_path, licence="test"), MACHINE).embed(images, faces)
    for embedding, face in zip(found, faces, strict=True):
        assert embedding is not None
        assert face is not None
        np.testing.assert_allclose(embedding, face.embedding, atol=1e-5)


def test_a_network_with_one_place_in_its_batch_is_fed_one_by_one(
    judges: None, tmp_path: Path, second: SecondJudge
) -> None:
    network = onnx.load(FOLDER / "judge.onnx")
    network.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1
    onnx.save(network, tmp_path / "judge.onnx")
    shutil.copyfile(FOLDER / "judge.json", tmp_path / "judge.json")
    drawn = [photo(person, person) for person in range(3)]
    images, faces = [d.image for d in drawn], [face_of(d) for d in drawn]
    one_by_one = open_second_judge(Judge(path=tmp_path, licence="test"), MACHINE).embed(images, faces)
    for alone, together in zip(one_by_one, second.embed(images, faces), strict=True):
        assert alone is not None
        assert together is not None
        np.testing.assert_allclose(alone, together, atol=1e-5)


def test_no_face_is_no_embedding_and_others_keep_their_places(second: SecondJudge) -> None:
    a, b = photo(0, 1), photo(1, 2)
    found = second.embed([a.image, b.image, b.image], [face_of(a), None, face_of(b)])
    assert found[1] is None
    alone = second.embed([b.image], [face_of(b)])[0]
    assert alone is not None
    assert found[2] is not None
    assert np.array_equal(found[2], alone)
    assert second.embed([a.image], [None]) == [None]


def test_a_folder_without_a_judge_is_refused_and_says_what_it_holds(tmp_path: Path) -> None:
    (tmp_path / "weights.pt").touch()
    with pytest.raises(UserError, match=r"weights\.pt.*judge\.json"):
        open_second_judge(Judge(path=tmp_path, licence="test"), MACHINE)
    with pytest.raises(UserError, match="no such folder"):
        open_second_judge(Judge(path=tmp_path / "nowhere", licence="test"), MACHINE)


def test_wrong_rules_are_named(tmp_path: Path) -> None:
    path = tmp_path / "judge.json"
    path.write_text(json.dumps({"name": "x", "input_size": 64, "margin": -1, "mean": 0, "std": 1, "threshold": 0.5}))
    with pytest.raises(UserError, match="margin"):
        read_rules(path)
