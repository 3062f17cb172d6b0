"""What a score says of each picture: two judges of different minds whose answers are known, and many prompts."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from workspaces import PARAMS

from stages.contracts.generation import Face
from stages.contracts.scorecard import Settings
from stages.contracts.settings import Dataset, Eval
from stages.flows.scoring import TOGETHER, References, Score, make_references, plan, score
from stages.flows.sights import Instruments
from stages.measures.skin import NO_FACE, skin_features, skin_references, skin_score

LANDMARKS = np.array([[22, 26], [42, 26], [32, 36], [25, 46], [39, 46]], np.float32)


def turned(degrees: float) -> np.ndarray:
    return np.array([np.cos(np.radians(degrees)), np.sin(np.radians(degrees))], np.float32)


class Faces:
    """A face wherever the first pixel is not black; its red is the angle of the embedding."""

    def faces(self, images: Sequence[np.ndarray]) -> list[Face | None]:
        box = np.array([12, 12, 52, 56], np.float32)
        angles = [float(image[0, 0, 0]) if image[0, 0].any() else None for image in images]
        return [None if angle is None else Face(box, LANDMARKS, 0.9, turned(angle)) for angle in angles]


class Second:
    """Embeds by the first pixel's green, in three dimensions."""

    def embed(self, images: Sequence[np.ndarray], faces: Sequence[Face | None]) -> list[np.ndarray | None]:
        return [
            np.append(turned(float(image[0, 0, 1])), 0).astype(np.float32) if face else None
            for image, face in zip(images, faces, strict=True)
        ]


class Clip:
    """Embeds pictures by the first pixel's blue, and texts by the number that they are."""

    def embed_images(self, images: Sequence[np.ndarray]) -> np.ndarray:
        return np.stack([turned(float(image[0, 0, 2])) for image in images])

    def embed_texts(self, texts: Sequence[str]) -> np.ndarray:
        return np.stack([turned(float(text)) for text in texts])


INSTRUMENTS = Instruments(Faces(), Second(), Clip())  # type: ignore[arg-type]


def picture(first: int, second: int, shows: int, noise: int = 0) -> np.ndarray:
    pixels = np.random.default_rng(noise).integers(120, 170, (64, 64, 3)).astype(np.uint8)
    pixels[0, 0] = (first, second, shows)
    return pixels


@pytest.fixture(scope="module")
def references() -> References:
    return make_references(
        [picture(10, 90, 5, 1), picture(0, 0, 0), picture(50, 70, 5, 2), picture(30, 80, 5, 3)], INSTRUMENTS
    )


def cosine(angle: float, others: Sequence[float]) -> float:
    return float(np.mean(np.cos(np.radians(angle - np.array(others)))))


def test_references_are_the_photos_with_a_face_and_all_sights_are_kept(references: References) -> None:
    np.testing.assert_allclose(references.first, [turned(10), turned(50), turned(30)], atol=1e-6)
    np.testing.assert_allclose(references.second[:, :2], [turned(90), turned(70), turned(80)], atol=1e-6)
    assert references.faceless == 1
    assert [sight.face is not None for sight in references.sights] == [True, False, True, True]


def test_every_picture_is_judged_by_both_judges_and_against_its_own_prompt(references: References) -> None:
    count = 2 * TOGETHER + 3
    images = [picture(0, 0, 0) if i % 7 == 3 else picture(20 + 3 * i, 200 - 2 * i, 4 * i, i) for i in range(count)]
    prompts = [str(150 - 3 * i) for i in range(count)]
    scores = list(score(iter(images), iter(prompts), references, INSTRUMENTS))
    assert [found.face_found for found in scores] == [i % 7 != 3 for i in range(count)]
    for i, found in enumerate(scores):
        shows = 0 if i % 7 == 3 else 4 * i
        assert found.adherence == pytest.approx(np.cos(np.radians(shows - (150 - 3 * i))), abs=1e-5)
        if i % 7 == 3:
            assert (found.similarity, found.second_similarity, found.skin) == (0, 0, NO_FACE)
        else:
            assert found.similarity == pytest.approx(cosine(20 + 3 * i, (10, 50, 30)), abs=1e-5)
            assert found.second_similarity == pytest.approx(cosine(200 - 2 * i, (90, 70, 80)), abs=1e-5)


def test_the_skin_is_that_of_the_picture_s_own_face_against_the_references_skin(references: References) -> None:
    images = [picture(20, 20, 20, noise) for noise in (4, 5)]
    seen = [skin_features(picture(10, 10, 10, noise), LANDMARKS) for noise in (1, 2, 3)]
    own = [skin_features(image, LANDMARKS) for image in images]
    assert own[0] is not None
    assert own[0] != own[1]
    expected = [skin_score(features, skin_references([skin for skin in seen if skin])) for features in own]
    assert [found.skin for found in score(images, ["0", "0"], references, INSTRUMENTS)] == expected


def test_a_picture_passes_from_the_threshold_on() -> None:
    found = Score(True, 0.6, 0.1, NO_FACE, 0.0, None)  # type: ignore[arg-type]
    assert found.passes(0.6)
    assert not found.passes(0.6001)


def test_every_setting_of_a_cell_and_of_the_drawing_reaches_the_request() -> None:
    cell = Settings(
        base="models/other", mode="merged", checkpoint=7, lora="l.safetensors", guidance=2.5, sampler="euler",
        strength=0.7, reference="photos/me.png",
    )  # fmt: skip
    values = PARAMS["eval"] | {"prompts": ["{trigger}, a {class_word} at sea", "x"], "seeds": [9, 3], "steps": 13,
                               "resolution": 48, "negative_prompt": "blurred", "vae_tile": 64}  # fmt: skip
    dataset = Dataset(**PARAMS["dataset"])
    shots = plan(cell, Eval(**values), dataset, Path("o"))
    assert [(s.path.name, s.prompt_index, s.request.seed) for s in shots] == [
        ("p00_s9.png", 0, 9), ("p00_s3.png", 0, 3), ("p01_s9.png", 1, 9), ("p01_s3.png", 1, 3),
    ]  # fmt: skip
    assert vars(shots[1].request) == {
        "prompt": f"{dataset.trigger}, a {dataset.class_word} at sea", "seed": 3, "base": Path("models/other"),
        "lora": Path("l.safetensors"), "strength": 0.7, "mode": "merged", "guidance": 2.5, "sampler": "euler",
        "steps": 13, "width": 48, "height": 48, "negative_prompt": "blurred", "reference": Path("photos/me.png"),
        "vae_tile": 64, "image": None, "mask": None, "denoise": 1.0,
    }  # fmt: skip
    assert (shots[1].shows, shots[2].shows) == (f"a {dataset.class_word} at sea", "x")
