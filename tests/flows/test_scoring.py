"""Generate-and-score: prompts, references, and what a score means."""

from pathlib import Path

import numpy as np
import pytest
from drawing import PERSONA, Drawing, draw
from workspaces import PARAMS

from miniature.render import render, sample_identity, sample_scene
from stages.contracts.manifest import read_manifest
from stages.contracts.scorecard import Settings
from stages.contracts.settings import Dataset, Eval, Judges, Machine
from stages.flows import scoring
from stages.flows.drawing import draws_elsewhere, place_of
from stages.runtime.errors import UserError
from stages.runtime.pictures import read_picture, write_png
from stages.runtime.provenance import hash_file

DATASET = Dataset(**PARAMS["dataset"])
SETTINGS = Settings(
    base="base", mode="lora", checkpoint=200, lora="models/lora/persona.safetensors", guidance=3.0, sampler="ddim",
    strength=0.8,
)  # fmt: skip


def people(count: int, first: int = 0, who: int = PERSONA) -> list[np.ndarray]:
    scenes = range(first, first + count)
    return [render(sample_identity(who), sample_scene(s, eyewear="none", hat="none"), 64).image for s in scenes]


@pytest.mark.parametrize(
    ("prompt", "drawn", "read"),
    [
        ("{trigger}, a {class_word}, smiling", "amira, a woman, smiling", "a woman, smiling"),
        ("a photo of {trigger} {class_word} outdoors", "a photo of amira woman outdoors", "a photo of woman outdoors"),
        ("portrait, {trigger}, {class_word}", "portrait, amira, woman", "portrait, woman"),
        ("a {class_word}", "a woman", "a woman"),
        ("{trigger}", "amira", ""),
    ],
)
def test_the_text_judge_reads_the_prompt_without_the_trigger(prompt: str, drawn: str, read: str) -> None:
    assert scoring.fill(prompt, DATASET) == drawn
    assert scoring.without_trigger(prompt, DATASET) == read


def test_a_plan_lists_every_prompt_with_every_seed_under_one_cell_s_settings() -> None:
    settings = Eval(**PARAMS["eval"])
    shots = scoring.plan(SETTINGS, settings, DATASET, Path("out"))
    assert [shot.path.as_posix() for shot in shots][:3] == ["out/p00_s11.png", "out/p00_s12.png", "out/p01_s11.png"]
    assert [shot.prompt_index for shot in shots] == [0, 0, 1, 1, 2, 2]
    request = shots[3].request
    assert (request.seed, request.strength, request.guidance, request.sampler) == (12, 0.8, 3.0, "ddim")
    assert (request.width, request.steps, request.lora) == (64, 2, Path("models/lora/persona.safetensors"))


def test_without_a_lora_the_base_model_draws_alone() -> None:
    alone = SETTINGS.model_copy(update={"lora": ""})
    assert scoring.plan(alone, Eval(**PARAMS["eval"]), DATASET, Path())[0].request.lora is None


def test_photos_are_shrunk_to_what_is_drawn_and_never_enlarged(workspace: Path) -> None:
    photos = read_manifest().side("train")
    assert next(scoring.read_photos(Path("data/photos"), photos, 64)).shape == (64, 64, 3)
    assert next(scoring.read_photos(Path("data/photos"), photos, 512)).shape == (96, 96, 3)


@pytest.mark.parametrize(("height", "width", "shape"), [(96, 48, (64, 32, 3)), (48, 96, (32, 64, 3))])
def test_the_longer_side_of_a_photo_is_shrunk_to_what_is_drawn(
    workspace: Path, height: int, width: int, shape: tuple[int, int, int]
) -> None:
    path = Path("data/photos/oblong.png")
    write_png(path, np.zeros((height, width, 3), np.uint8))
    photo = read_manifest().images[0].model_copy(update={"filename": path.name, "sha256": hash_file(path)})
    assert next(scoring.read_photos(path.parent, [photo], 64)).shape == shape


@pytest.fixture(scope="module")
def instruments(judges: None, tmp_path_factory: pytest.TempPathFactory) -> scoring.Instruments:
    from miniature.places import WEIGHTS

    paths = {"faces": "faces/models/miniature", "second": "judge", "text_image": "clip"}
    values = {name: PARAMS["judges"][name] | {"path": WEIGHTS / path} for name, path in paths.items()}
    return scoring.open_instruments(Judges(**values), Machine(threads=1))


@pytest.fixture(scope="module")
def references(instruments: scoring.Instruments) -> scoring.References:
    return scoring.make_references(people(12), instruments)


def test_pictures_of_the_person_score_above_pictures_of_a_stranger(
    instruments: scoring.Instruments, references: scoring.References
) -> None:
    images = people(6, first=500) + people(6, first=500, who=1_900_777)
    scores = list(scoring.score(images, ["a woman"] * 12, references, instruments))
    own, other = scores[:6], scores[6:]
    for judge in ("similarity", "second_similarity"):
        assert np.mean([getattr(s, judge) for s in own]) > np.mean([getattr(s, judge) for s in other]) + 0.3
    assert np.mean([s.skin.realism for s in own]) > 0.4


def test_a_faceless_picture_scores_zero_and_never_passes(
    instruments: scoring.Instruments, references: scoring.References
) -> None:
    grey = np.full((64, 64, 3), 128, np.uint8)
    (score,) = scoring.score([grey], ["a woman"], references, instruments)
    assert not score.face_found
    assert (score.similarity, score.second_similarity, score.skin.realism) == (0.0, 0.0, 0.0)
    assert not score.passes(-1.0)
    assert np.isfinite(score.adherence)


def test_a_score_does_not_depend_on_the_pictures_around_it(
    instruments: scoring.Instruments, references: scoring.References
) -> None:
    images = people(scoring.TOGETHER + 3, first=300)
    together = list(scoring.score(images, ["a woman"] * len(images), references, instruments))
    for i in (0, scoring.TOGETHER - 1, scoring.TOGETHER + 2):
        assert list(scoring.score([images[i]], ["a woman"], references, instruments)) == [together[i]]


def test_references_without_a_face_are_left_out_and_counted(instruments: scoring.Instruments) -> None:
    found = scoring.make_references([*people(4), np.zeros((64, 64, 3), np.uint8)], instruments)
    assert (len(found.first), len(found.second), found.faceless) == (4, 4, 1)
    assert found.skin.few


def test_references_that_all_lack_a_face_are_refused(instruments: scoring.Instruments) -> None:
    blank = [np.zeros((64, 64, 3), np.uint8), np.full((64, 64, 3), 255, np.uint8)]
    with pytest.raises(UserError, match="no usable face in any of the 2"):
        scoring.make_references(blank, instruments)


def test_a_prompt_that_is_listed_twice_does_not_shift_the_pictures_after_it(workspace: Path, tmp_path: Path) -> None:
    settings = Eval(**(PARAMS["eval"] | {"prompts": ["one", "one", "two", "three"]}))
    shots = scoring.plan(SETTINGS, settings, DATASET, tmp_path / "out")
    images = list(scoring.draw(Drawing(), shots, tmp_path / "kept"))
    assert Drawing.drawn == 6
    assert all(np.array_equal(image, draw(s.request)) for s, image in zip(shots, images, strict=True))


def test_pictures_are_written_as_they_come_and_not_drawn_twice(workspace: Path, tmp_path: Path) -> None:
    shots = scoring.plan(SETTINGS, Eval(**PARAMS["eval"]), DATASET, tmp_path / "out")
    coming = scoring.draw(Drawing(), shots, tmp_path / "kept")
    first = next(coming)
    coming.close()  # waits for the thread that writes
    assert np.array_equal(read_picture(shots[0].path), first)
    assert not shots[1].path.exists()
    images = list(scoring.draw(Drawing(), shots, tmp_path / "kept"))
    assert Drawing.drawn == len(shots)
    assert np.array_equal(images[0], first)
    assert all(np.array_equal(read_picture(s.path), image) for s, image in zip(shots, images, strict=True))


def test_a_picture_that_somebody_else_writes_meanwhile_does_not_shift_the_pictures_after_it(
    workspace: Path, tmp_path: Path
) -> None:
    shots = scoring.plan(SETTINGS, Eval(**PARAMS["eval"]), DATASET, tmp_path / "out")
    coming = scoring.draw(Drawing(), shots, tmp_path / "kept")
    images = [next(coming)]
    write_png(place_of(shots[1].request, tmp_path / "kept"), draw(shots[1].request))
    images += coming
    assert all(np.array_equal(image, draw(s.request)) for s, image in zip(shots, images, strict=True))


def test_drawing_beside_the_judging_changes_no_score_and_no_file(
    workspace: Path, tmp_path: Path, instruments: scoring.Instruments, references: scoring.References
) -> None:
    found = []
    for beside in (False, True):
        folder = tmp_path / str(beside)
        shots = scoring.plan(SETTINGS, Eval(**PARAMS["eval"]), DATASET, folder / "out")
        studio = scoring.Studio(Drawing(), instruments, references, folder / "kept", beside)
        scores = list(studio.score(shots))
        found.append((scores, [hash_file(shot.path) for shot in shots]))
    assert found[0] == found[1]


@pytest.mark.parametrize(
    ("backend", "machine", "beside"),
    [
        ("diffusers", {"device": "cuda"}, True),
        ("diffusers", {"device": "cpu"}, False),
        ("diffusers", {"device": "cuda", "ray_address": "local"}, False),
        ("comfyui", {"device": "cuda"}, False),
    ],
)
def test_only_a_gpu_of_this_process_draws_beside_the_judges(
    backend: str, machine: dict[str, str], beside: bool
) -> None:
    assert draws_elsewhere(backend, Machine(**machine)) is beside
