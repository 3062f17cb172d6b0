"""Class images are dealt, drawn again only where they are missing, copied, and listed."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from stages.contracts.generation import ImageRequest
from stages.contracts.regularization import read_regularization
from stages.contracts.settings import Regularize
from stages.flows.regularization import (
    ClassPicture,
    copy_class_pictures,
    deal_requests,
    draw_class_pictures,
    refuse_trigger,
    write_class_images,
)
from stages.runtime.errors import UserError
from stages.runtime.provenance import hash_file
from stages.runtime.seeds import derive_seed

PROMPTS = ("a photo of a {class_word}", "a {class_word}, smiling", "a portrait of a {class_word}")


def settings(**changed) -> Regularize:
    values = {"source": "base", "base": Path("models/base"), "prompts": PROMPTS, "count": 7, "resolution": 64,
              "steps": 4, "sampler": "ddim", "guidance": 3.0, "seed": 5}  # fmt: skip
    return Regularize(**(values | changed))


class Noise:
    """Draws noise that depends on the request alone, and stops as a killed process does after ``patience`` pictures."""

    modes = frozenset({"lora"})
    samplers = frozenset({"ddim", "euler"})

    def __init__(self, patience: int = 1000) -> None:
        self.patience, self.drawn = patience, 0

    def generate(self, requests: Sequence[ImageRequest]) -> Iterator[np.ndarray]:
        for request in requests:
            if self.drawn == self.patience:
                raise KeyboardInterrupt
            self.drawn += 1
            rng = np.random.default_rng(request.seed)
            yield rng.integers(0, 256, (request.height, request.width, 3), dtype=np.uint8)


def test_pictures_are_dealt_over_the_prompts_in_turn_with_seeds_of_their_own() -> None:
    requests = deal_requests(settings(), "woman")
    assert [request.prompt for request in requests] == [
        "a photo of a woman", "a woman, smiling", "a portrait of a woman",
        "a photo of a woman", "a woman, smiling", "a portrait of a woman", "a photo of a woman",
    ]  # fmt: skip
    assert len({request.seed for request in requests}) == 7
    first = requests[0]
    assert (first.base, first.lora, first.width, first.height) == (Path("models/base"), None, 64, 64)
    assert (first.steps, first.sampler, first.guidance) == (4, "ddim", 3.0)


def test_one_prompt_more_leaves_the_pictures_of_the_others_as_they_were() -> None:
    before = {(r.prompt, r.seed) for r in deal_requests(settings(count=6), "woman")}
    after = {
        (r.prompt, r.seed) for r in deal_requests(settings(count=8, prompts=(*PROMPTS, "a {class_word}")), "woman")
    }
    assert before < after


def test_a_prompt_that_is_given_twice_is_not_drawn_twice_alike() -> None:
    requests = deal_requests(settings(prompts=("a {class_word}", "a {class_word}"), count=4), "woman")
    assert len({request.seed for request in requests}) == 4


def test_another_seed_draws_other_pictures() -> None:
    assert deal_requests(settings(), "woman") != deal_requests(settings(seed=6), "woman")


@pytest.mark.parametrize(
    ("changed", "what"),
    [
        ({"base": None}, r"regularize\.base: not set"),
        ({"prompts": ()}, r"regularize\.prompts: empty"),
        ({"prompts": ("{trigger}, a {class_word}",)}, "cannot be filled in"),
        ({"prompts": ("a {class_word",)}, "cannot be filled in"),
    ],
)  # fmt: skip
def test_settings_that_cannot_be_drawn_are_refused(changed: dict, what: str) -> None:
    with pytest.raises(UserError, match=what):
        deal_requests(settings(**changed), "woman")
    assert deal_requests(settings(**changed, count=0), "woman") == []


def test_an_interrupted_drawing_goes_on_to_the_same_pictures(tmp_path: Path) -> None:
    requests = deal_requests(settings(), "woman")
    whole = draw_class_pictures(requests, Noise(), tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        draw_class_pictures(requests, Noise(patience=3), tmp_path / "parts")
    rest = Noise()
    parts = draw_class_pictures(requests, rest, tmp_path / "parts")
    assert rest.drawn == 4
    assert [p.path.read_bytes() for p in parts] == [p.path.read_bytes() for p in whole]
    assert [(p.file, p.caption) for p in parts][:2] == [
        ("00000.png", "a photo of a woman"),
        ("00001.png", "a woman, smiling"),
    ]


def test_a_sampler_that_the_generator_does_not_have_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"regularize\.sampler: 'unipc'"):
        draw_class_pictures(deal_requests(settings(sampler="unipc"), "woman"), Noise(), tmp_path)


def test_a_folder_is_taken_with_its_captions_and_the_class_word_where_there_is_none(tmp_path: Path, faces) -> None:
    (tmp_path / "mine" / "größe 2").mkdir(parents=True)
    for name, face in zip(["a.jpg", "b.png", "größe 2/c d.png"], faces, strict=False):
        Image.fromarray(face).save(tmp_path / "mine" / name)
    (tmp_path / "mine" / "a.txt").write_text("a woman in a red coat\n", encoding="utf-8")
    pictures = copy_class_pictures(tmp_path / "mine", "woman")
    write_class_images(tmp_path / "out", pictures)
    images = read_regularization(tmp_path / "out")
    assert [(i.file, i.caption) for i in images] == [
        ("a.jpg", "a woman in a red coat"), ("b.png", "woman"), ("größe 2/c d.png", "woman")
    ]  # fmt: skip
    for image in images:
        assert (tmp_path / "out" / image.file).read_bytes() == (tmp_path / "mine" / image.file).read_bytes()
        assert hash_file(tmp_path / "out" / image.file) == image.sha256
    assert (tmp_path / "out" / "größe 2" / "c d.txt").read_text(encoding="utf-8") == "woman"


def test_a_broken_picture_in_the_folder_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"\x89PNG no")
    with pytest.raises(UserError, match=r"a\.png: not a readable picture"):
        copy_class_pictures(tmp_path, "woman")


def test_the_index_is_sorted_by_file_whatever_the_order_of_the_pictures(tmp_path: Path, faces) -> None:
    for name, face in zip("cab", faces, strict=False):
        Image.fromarray(face).save(tmp_path / f"{name}.png")
    pictures = [ClassPicture(tmp_path / f"{name}.png", f"{name}.png", f"caption {name}") for name in "cab"]
    write_class_images(tmp_path / "out", pictures)
    images = read_regularization(tmp_path / "out")
    assert [(image.file, image.caption) for image in images] == [(f"{name}.png", f"caption {name}") for name in "abc"]
    assert [image.sha256 for image in images] == [hash_file(tmp_path / f"{name}.png") for name in "abc"]
    assert [(tmp_path / f"out/{name}.txt").read_text().strip() for name in "abc"] == [f"caption {n}" for n in "abc"]


def test_seeds_count_up_under_each_prompt_by_itself() -> None:
    requests = deal_requests(settings(count=7), "woman")
    prompts = [prompt.format(class_word="woman") for prompt in PROMPTS]
    assert [r.seed for r in requests] == [derive_seed(5, "regularize", prompts[i % 3], i // 3) for i in range(7)]


def test_no_pictures_make_an_empty_index(tmp_path: Path) -> None:
    write_class_images(tmp_path / "out", [])
    assert read_regularization(tmp_path / "out") == []
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["index.json"]


def test_captions_that_name_the_trigger_are_refused() -> None:
    refuse_trigger(["a woman", "amiranoora, smiling"], "amiranoor")
    with pytest.raises(UserError, match="names the trigger 'amiranoor'"):
        refuse_trigger(["a woman", "Amiranoor, a woman"], "amiranoor")


def test_an_index_that_is_missing_wrong_or_lists_what_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="not found; run `dvc repro regularize`"):
        read_regularization(tmp_path)
    (tmp_path / "index.json").write_text('[{"file": "a.png", "caption": "woman"}]')
    with pytest.raises(UserError, match=r"0\.sha256: Field required"):
        read_regularization(tmp_path)
    (tmp_path / "index.json").write_text('[{"file": "a.png", "caption": "woman", "sha256": "0"}]')
    with pytest.raises(UserError, match=r"a\.png: listed in the index, but not there"):
        read_regularization(tmp_path)
