"""What unfinished work belongs to: every input that a result depends on makes other work, and nothing else does."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from stages import regularize
from stages.contracts.manifest import Manifest, Photo, Summary
from stages.contracts.regularization import ClassImage
from stages.contracts.scorecard import Settings
from stages.contracts.settings import Caption, Dataset, Eval, Machine, Regularize
from stages.contracts.train_settings import Train
from stages.contracts.training import Example, Examples
from stages.flows import captioning, scoring, training
from stages.flows.training import Target, gather_examples, training_fingerprint
from stages.runtime.errors import UserError
from stages.runtime.provenance import hash_file

DATASET = Dataset(name="x", photos=Path("photos"), trigger="ohwx", class_word="woman")
MACHINE = Machine(threads=1, state_dir=Path("state"))
FILES = ("base/unet/weights", "base/model_index.json", "other/weights", "a.safetensors", "b.safetensors",
         "manifest.json", "photos/a.png", "photos/a.png.mask.png", "class/1.png", "class/2.png")  # fmt: skip


@pytest.fixture(autouse=True)
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in FILES:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_text(name)


class Worker:
    """Whoever draws, trains or says."""


def changed(machine: dict[str, Any]) -> Machine:
    return MACHINE.model_copy(update=machine)


ANOTHER_MACHINE = [{"device": "cuda"}, {"threads": 2}]
SAME_MACHINE = [{"workers": 9}, {"save_seconds": 1.0}, {"state_dir": Path("elsewhere")}]

# ---- drawing: sweep and eval

EVAL = Eval(prompts=("{trigger}", "a {class_word}"), seeds=(1, 2), resolution=64, steps=4)
CELL = Settings(
    base="base", mode="lora", checkpoint=1, lora="a.safetensors", guidance=2.0, sampler="ddim", strength=0.8
)


def drawing(
    cell: dict[str, Any] | None = None, settings: dict[str, Any] | None = None, machine: dict[str, Any] | None = None,
    dataset: dict[str, Any] | None = None, worker: type = Worker, identity: str = "",
) -> str:  # fmt: skip
    draw = EVAL.model_copy(update=settings or {})
    who = DATASET.model_copy(update=dataset or {})
    shots = scoring.plan(CELL.model_copy(update=cell or {}), draw, who, Path("out"))
    return scoring._fingerprint(worker, identity, draw, changed(machine or {}), shots)


@pytest.mark.parametrize(
    "change",
    [
        *({"cell": cell} for cell in (
            {"base": "other"}, {"lora": "b.safetensors"}, {"lora": ""}, {"guidance": 3.0}, {"sampler": "euler"},
            {"strength": 0.9}, {"mode": "lora+instantid"},
            {"reference": "photos/a.png"},
        )),
        *({"settings": settings} for settings in (
            {"seeds": (1, 3)}, {"prompts": ("{trigger}",)}, {"resolution": 128}, {"steps": 5}, {"micro_batch": 2},
            {"negative_prompt": "blur"},
            {"backend": "mine:Own"}, {"vae_tile": 64},
        )),
        *({"machine": machine} for machine in (*ANOTHER_MACHINE, {"compile": True})),
        {"dataset": {"trigger": "sks"}}, {"dataset": {"class_word": "man"}}, {"worker": Fraction},
        {"identity": "ComfyUI 0.3.64"},
    ],
)  # fmt: skip
def test_another_picture_or_another_way_to_draw_it_is_other_work(change: dict[str, Any]) -> None:
    assert drawing(**change) != drawing()


@pytest.mark.parametrize(
    "change",
    [*({"machine": machine} for machine in SAME_MACHINE), {"settings": {"notes": "n", "bootstrap": 9, "seed": 4}},
     {"cell": {"checkpoint": 7}}, {"dataset": {"photos": Path("q"), "seed": 3}}],
)  # fmt: skip
def test_what_no_picture_depends_on_continues_what_was_drawn(change: dict[str, Any]) -> None:
    assert drawing(**change) == drawing()


@pytest.mark.parametrize(("file", "matters"), [("base/unet/weights", True), ("a.safetensors", True),
                                               ("b.safetensors", False), ("other/weights", False)])  # fmt: skip
def test_other_bytes_of_a_model_that_draws_are_other_work(file: str, matters: bool) -> None:
    before = drawing()
    Path(file).write_text("changed")
    assert (drawing() != before) == matters


# ---- training

TRAIN = Train.model_validate({"version": "t", "base": "base", "rank": 4, "steps": 8, "checkpoint_every": 4})
EXAMPLES = Examples(
    (Example(Path("photos/a.png"), "ohwx, a", Path("photos/a.png.mask.png")), Example(Path("photos/a.png"), "ohwx, b")),
    (Example(Path("photos/a.png"), "ohwx, c"),),
    (Example(Path("class/1.png"), "a woman"), Example(Path("class/2.png"), "a woman, sad")),
)


def fingerprint_of_training(
    train: dict[str, Any] | None = None, machine: dict[str, Any] | None = None, dataset: dict[str, Any] | None = None,
    prior: tuple[Example, ...] = EXAMPLES.prior, worker: type = Worker,
) -> str:  # fmt: skip
    who = DATASET.model_copy(update=dataset or {})
    target = Target(who, Path("manifest.json"), Path("lora"), Path("loss.csv"), Path("samples.png"))
    return training_fingerprint(
        TRAIN.model_copy(update=train or {}), changed(machine or {}), worker(), replace(EXAMPLES, prior=prior), target
    )


@pytest.mark.parametrize(
    "change",
    [
        *({"train": train} for train in (
            {"rank": 8}, {"seed": 1}, {"steps": 9}, {"version": "u"}, {"batch": 9}, {"checkpoint_every": 2},
            {"samples": TRAIN.samples.model_copy(update={"probe_seeds": (77,)})},
        )),
        *({"machine": machine} for machine in (*ANOTHER_MACHINE, {"processes": 2}, {"compile": True})),
        *({"dataset": dataset} for dataset in ({"trigger": "sks"}, {"class_word": "man"}, {"name": "y"})),
        {"prior": EXAMPLES.prior[:1]}, {"prior": EXAMPLES.prior[::-1]},
        {"prior": (replace(EXAMPLES.prior[0], caption="a man"), EXAMPLES.prior[1])}, {"worker": Fraction},
    ],
)  # fmt: skip
def test_another_recipe_another_person_or_other_class_images_are_another_training(change: dict[str, Any]) -> None:
    assert fingerprint_of_training(**change) != fingerprint_of_training()


@pytest.mark.parametrize(
    "change", [*({"machine": machine} for machine in SAME_MACHINE), {"dataset": {"photos": Path("moved")}}]
)
def test_a_training_goes_on_wherever_its_photos_lie(change: dict[str, Any]) -> None:
    assert fingerprint_of_training(**change) == fingerprint_of_training()


@pytest.mark.parametrize(
    ("file", "matters"),
    [("base/model_index.json", True), ("manifest.json", True), ("class/2.png", True), ("photos/a.png.mask.png", True),
     ("other/weights", False), ("photos/a.png", False)],  # photos are told by the manifest
)  # fmt: skip
def test_other_bytes_of_what_is_learnt_from_are_another_training(file: str, matters: bool) -> None:
    before = fingerprint_of_training()
    Path(file).write_text("changed")
    assert (fingerprint_of_training() != before) == matters


def test_a_mask_that_has_moved_to_another_photo_is_another_training() -> None:
    mask = Path("photos/a.png.mask.png")
    target = Target(DATASET, Path("manifest.json"), Path("lora"), Path("loss.csv"), Path("samples.png"))

    def fingerprint(*masks: Path | None) -> str:
        train = tuple(Example(Path("photos/a.png"), "ohwx", one) for one in masks)
        return training_fingerprint(TRAIN, MACHINE, Worker(), replace(EXAMPLES, train=train), target)  # type: ignore[arg-type]

    assert (
        len({fingerprint(mask, None), fingerprint(None, mask), fingerprint(mask, mask), fingerprint(None, None)}) == 4
    )


# ---- captions


def fingerprint_of_captions(
    caption: dict[str, Any] | None = None, machine: dict[str, Any] | None = None, dataset: dict[str, Any] | None = None,
    worker: type = Worker,
) -> str:  # fmt: skip
    settings = Caption(backend="blip2", model=Path("other")).model_copy(update=caption or {})
    who = DATASET.model_copy(update=dataset or {})
    return captioning.fingerprint(worker(), settings, who, changed(machine or {}))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "change",
    [
        *({"caption": caption} for caption in (
            {"prompt": "a photo of"}, {"task": "<CAPTION>"}, {"beams": 3}, {"max_new_tokens": 9}, {"micro_batch": 1},
            {"model": Path("base")}, {"backend": "florence2"}, {"template": "x"},
        )),
        *({"machine": machine} for machine in ANOTHER_MACHINE), {"dataset": {"trigger": "sks"}}, {"worker": Fraction},
    ],
)  # fmt: skip
def test_another_question_is_other_work(change: dict[str, Any]) -> None:
    assert fingerprint_of_captions(**change) != fingerprint_of_captions()


@pytest.mark.parametrize(
    "change", [{"caption": {"drop": ("the image shows",)}}, *({"machine": machine} for machine in SAME_MACHINE)]
)
def test_what_is_done_with_an_answer_afterwards_asks_nobody_again(change: dict[str, Any]) -> None:
    assert fingerprint_of_captions(**change) == fingerprint_of_captions()


def test_a_template_knows_no_weights() -> None:
    before = fingerprint_of_captions({"backend": "template"}), fingerprint_of_captions()
    Path("other/weights").write_text("changed")
    after = fingerprint_of_captions({"backend": "template"}), fingerprint_of_captions()
    assert before[0] == after[0]
    assert before[1] != after[1]


# ---- class images

DRAWN = Regularize(source="base", base=Path("base"), prompts=("a {class_word}",), count=2)


def fingerprint_of_class_images(
    regularized: dict[str, Any] | None = None, machine: dict[str, Any] | None = None,
    dataset: dict[str, Any] | None = None,
) -> str:  # fmt: skip
    who, settings = DATASET.model_copy(update=dataset or {}), DRAWN.model_copy(update=regularized or {})
    return regularize.fingerprint(regularize.Params(dataset=who, regularize=settings), changed(machine or {}))


@pytest.mark.parametrize(
    "change",
    [
        *({"regularized": changes} for changes in (
            {"count": 3}, {"prompts": ("x",)}, {"seed": 1}, {"steps": 3}, {"guidance": 2.0}, {"sampler": "ddim"},
            {"resolution": 64}, {"micro_batch": 1}, {"base": Path("other")}, {"source": "none"},
        )),
        *({"machine": machine} for machine in ANOTHER_MACHINE), {"dataset": {"class_word": "man"}},
    ],
)  # fmt: skip
def test_other_class_images_are_other_work(change: dict[str, Any]) -> None:
    assert fingerprint_of_class_images(**change) != fingerprint_of_class_images()


@pytest.mark.parametrize("change", [*({"machine": machine} for machine in SAME_MACHINE), {"dataset": {"name": "y"}}])
def test_class_images_go_on_for_whomever(change: dict[str, Any]) -> None:
    assert fingerprint_of_class_images(**change) == fingerprint_of_class_images()


def test_other_bytes_of_the_base_are_other_class_images() -> None:
    before = fingerprint_of_class_images()
    Path("base/unet/weights").write_text("changed")
    assert fingerprint_of_class_images() != before


# ---- what is hashed is what is learnt from


def make_photo(name: str, split: str, **changes: Any) -> Photo:
    path = Path("photos") / name
    shutil.copy("photos/a.png", path) if name != "a.png" else None
    values = {"filename": name, "sha256": hash_file(path), "size_bytes": 1, "width": 1, "height": 1,
              "caption_file": "c", "caption_text": f"ohwx, {name}", "caption_sha256": "", "phash": "0" * 16, "group": 0,
              "split": split}  # fmt: skip
    return Photo.model_validate(values | changes)


def test_examples_have_their_own_caption_face_and_mask() -> None:
    images = [make_photo("b.png", "holdout"), make_photo("a.png", "train", face_box=(0.1, 0.2, 0.3, 0.4))]
    summary = Summary(
        total_images=2, total_captions=2, unique_captions=2, caption_distribution={}, mean_image_size_bytes=1,
        resolution_set=[], train_images=1, holdout_images=1, duplicates=[], warnings=[],
    )  # fmt: skip
    manifest = Manifest(
        name="x", trigger="ohwx", class_word="woman", photos="", captions="", images=images, summary=summary
    )
    listed = [
        ClassImage(file="1.png", caption="a woman", sha256=""),
        ClassImage(file="2.png", caption="sad", sha256=""),
    ]
    found = gather_examples(Path("photos"), manifest, listed, Path("class"))
    mask = Path("photos/a.png.mask.png")
    assert found.train == (Example(Path("photos/a.png"), "ohwx, a.png", mask, (0.1, 0.2, 0.3, 0.4)),)
    assert found.holdout == (Example(Path("photos/b.png"), "ohwx, b.png"),)
    assert found.prior == (Example(Path("class/1.png"), "a woman"), Example(Path("class/2.png"), "sad"))


def refused(do: Callable[[], object]) -> str:
    with pytest.raises(UserError) as caught:
        do()
    return caught.value.line


def test_a_record_that_lacks_a_step_is_refused_and_not_continued(tmp_path: Path) -> None:
    record = training.Record(tmp_path)
    for number in (0, 2):
        record.add(training.Step(number, 0.1, None, None, 1.0, None))
    assert "does not tell every step" in refused(lambda: record.restart(1))
    assert "does not tell every step" in refused(lambda: record.restart(5))
