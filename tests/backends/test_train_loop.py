"""Training lowers the loss, gives the same bytes twice, and weighs the class images as it should."""

import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from stages.backends.train import open_trainer
from stages.backends.train.state import load_state
from stages.contracts.settings import Machine
from stages.contracts.train_settings import Optimizer, Train
from stages.contracts.training import Checkpoint, Examples, Resumed, Step
from stages.runtime.errors import UserError

ADAMW = {"name": "adamw", "learning_rate": 0.01, "betas": (0.9, 0.99), "weight_decay": 0.0}


def recipe(base: Path, **changes: object) -> Train:
    values = {
        "version": "t", "base": base, "resolution": 64, "rank": 4, "layers": "attention", "steps": 4, "batch": 2,
        "prior_batch": 2, "checkpoint_every": 2, "holdout_every": 2, "precision": "float32", "optimizer": ADAMW,
        "schedule": "constant",
        **changes,
    }  # fmt: skip
    return Train.model_validate(values)


@pytest.fixture(autouse=True)
def _in_a_workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def run(train: Train, examples: Examples, work: Path | None = None) -> tuple[list[Step], list[Checkpoint]]:
    """``work`` is a fresh folder unless it is given."""
    with tempfile.TemporaryDirectory() as fresh:
        events = list(open_trainer(train, Machine(threads=1)).train(examples, work or Path(fresh)))
    return [e for e in events if isinstance(e, Step)], [e for e in events if isinstance(e, Checkpoint)]


def same(first: Checkpoint, second: Checkpoint) -> bool:
    return first.tensors.keys() == second.tensors.keys() and all(
        np.array_equal(first.tensors[name], second.tensors[name]) for name in first.tensors
    )


@pytest.fixture(scope="module")
def plain(
    tiny_base: Path, examples: Examples, tmp_path_factory: pytest.TempPathFactory
) -> tuple[list[Step], list[Checkpoint]]:
    """What most tests compare with."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("plain"))
        return run(recipe(tiny_base), examples)


def test_training_lowers_the_loss_on_a_fixed_batch(tiny_base: Path, examples: Examples) -> None:
    """The holdout measurement has fixed noise; on the training photos themselves it is the loss of a fixed batch."""
    seen = replace(examples, holdout=examples.train[:2])
    optimizer = {**ADAMW, "learning_rate": 0.03}
    train = recipe(tiny_base, steps=15, holdout_every=15, checkpoint_every=15, prior_batch=0, optimizer=optimizer)
    steps, _ = run(train, seen)
    first, last = steps[0].holdout_loss, steps[-1].holdout_loss
    assert first is not None
    assert last is not None
    assert last < 0.96 * first


def test_every_step_is_told_and_checkpoints_come_when_asked_for(tiny_base: Path, examples: Examples) -> None:
    steps, checkpoints = run(recipe(tiny_base, steps=5), examples)
    assert [step.step for step in steps] == [0, 1, 2, 3, 4, 5]
    assert [checkpoint.step for checkpoint in checkpoints] == [2, 4, 5]
    assert [step.step for step in steps if step.holdout_loss is not None] == [0, 2, 4, 5]
    assert steps[0].loss is None
    assert all(step.loss is not None and step.prior_loss is not None for step in steps[1:])


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_two_runs_give_the_same_bytes(tiny_base: Path, examples: Examples, precision: str) -> None:
    train = recipe(tiny_base, precision=precision, flip=True)
    (steps, first), (steps_again, again) = run(train, examples), run(train, examples)
    assert steps == steps_again
    assert all(same(a, b) for a, b in zip(first, again, strict=True))


def test_another_seed_gives_another_lora(
    tiny_base: Path, examples: Examples, plain: tuple[list[Step], list[Checkpoint]]
) -> None:
    _, other = run(recipe(tiny_base, seed=1, steps=2), examples)
    assert not same(plain[1][0], other[0])


def test_prior_weight_zero_is_training_without_class_images(
    tiny_base: Path, examples: Examples, plain: tuple[list[Step], list[Checkpoint]]
) -> None:
    steps, weightless = run(recipe(tiny_base, prior_weight=0.0), examples)
    _, without = run(recipe(tiny_base, prior_batch=0), replace(examples, prior=()))
    assert same(weightless[-1], without[-1])
    assert not same(plain[1][-1], without[-1])
    # The photos and the noise of a step are the same with and without class images.
    assert plain[0][1].loss == pytest.approx(steps[1].loss, rel=1e-5)
    assert steps[1].prior_loss is None


def test_prodigy_raises_its_rate_while_it_trains(tiny_base: Path, examples: Examples) -> None:
    steps, _ = run(recipe(tiny_base, steps=9, optimizer={"d_coef": 20.0}, prior_batch=0), examples)
    estimates = [step.d for step in steps]
    assert estimates[0] == pytest.approx(1e-6)
    assert estimates == sorted(estimates)
    assert estimates[-1] > 2e-6
    assert steps[-1].learning_rate == pytest.approx(estimates[-1])


def test_text_encoders_are_trained_and_exported_under_te1_and_te2(tiny_base: Path, examples: Examples) -> None:
    _, checkpoints = run(recipe(tiny_base, text_encoders=True, cache_text=False), examples)
    ups = {name: array for name, array in checkpoints[-1].tensors.items() if name.endswith("lora_up.weight")}
    moved = {name.split("_text_")[0] for name, array in ups.items() if "_text_" in name and np.abs(array).max() > 0}
    assert moved == {"lora_te1", "lora_te2"}


@pytest.mark.parametrize(
    "changes",
    [
        {"dora": True}, {"rslora": True}, {"ema": 0.5}, {"accumulate": 2}, {"flip": True},
        {"loss": {"kind": "huber", "weighting": "debiased", "noise_offset": 0.1}},
        {"captions": {"dropout": 0.5, "shuffle": True}, "cache_text": False},
        {"text_encoders": True, "cache_text": False}, {"optimizer": {"d_coef": 20.0}},
        {"buckets": {"enabled": True, "step": 16}}, {"masks": {"source": "faces"}},
        {"schedule": "cosine", "warmup_steps": 2},
    ],
    ids=lambda changes: "+".join(changes),
)  # fmt: skip
def test_a_training_that_is_cut_off_goes_on_to_the_same_bytes(
    tiny_base: Path, examples: Examples, changes: dict[str, object], tmp_path: Path
) -> None:
    train = recipe(tiny_base, **changes)
    boxed = replace(examples, train=tuple(replace(e, face=(0.3, 0.2, 0.7, 0.8)) for e in examples.train))
    steps, whole = run(train, boxed, tmp_path / "undisturbed")
    work = tmp_path / "cut"
    for wanted in (1, 3):  # cut off after the first, then after the third step
        events = open_trainer(train, Machine(threads=1, save_seconds=0)).train(boxed, work)
        while not (isinstance(event := next(events), Step) and event.step == wanted + 1):
            pass
        events.close()
    *_, resumed, last = open_trainer(train, Machine(threads=1)).train(boxed, work)
    assert resumed == steps[-1]
    assert isinstance(last, Checkpoint)
    assert same(last, whole[-1])


def test_a_resumed_training_says_so_first(tiny_base: Path, examples: Examples, tmp_path: Path) -> None:
    run(recipe(tiny_base), examples, tmp_path)
    assert list(open_trainer(recipe(tiny_base), Machine(threads=1)).train(examples, tmp_path)) == [Resumed(4)]


def test_a_damaged_state_is_one_line(tiny_base: Path, examples: Examples, tmp_path: Path) -> None:
    (tmp_path / "state.pt").write_bytes(b"not a state")
    with pytest.raises(UserError, match="damaged state"):
        run(recipe(tiny_base), examples, tmp_path)


def test_an_accumulated_gradient_is_as_large_as_a_batch_s(tiny_base: Path, examples: Examples, tmp_path: Path) -> None:
    """Other noise is drawn, so they are not equal; AdamW's first moment is a tenth of the gradient."""
    sizes = []
    for name, parts in {"whole": {"batch": 16}, "parts": {"batch": 2, "accumulate": 8}}.items():
        changes = {"prior_batch": 0, "optimizer": {**ADAMW, "max_grad_norm": 0.0}, **parts}
        run(recipe(tiny_base, steps=1, checkpoint_every=1, **changes), examples, tmp_path / name)
        state = torch.load(tmp_path / name / "state.pt")["optimizer"]["state"]
        sizes.append(float(torch.cat([moments["exp_avg"].flatten() for moments in state.values()]).norm()))
    assert sizes[0] / 2 < sizes[1] < sizes[0] * 2


def test_the_moving_average_stays_nearer_to_the_start(
    tiny_base: Path, examples: Examples, plain: tuple[list[Step], list[Checkpoint]]
) -> None:
    steps, averaged = run(recipe(tiny_base, ema=0.9, steps=4), examples)
    far = [sum(float(np.abs(v).sum()) for n, v in c.tensors.items() if "lora_up" in n) for c in
           (plain[1][-1], averaged[-1])]  # fmt: skip
    assert 0.5 * far[0] < far[1] < 0.95 * far[0]
    assert [step.loss for step in steps] == [step.loss for step in plain[0]]  # training itself is untouched
    assert steps[-1].holdout_loss != plain[0][-1].holdout_loss  # what is measured is what is saved


def test_a_mask_changes_what_is_learnt(
    tiny_base: Path, examples: Examples, plain: tuple[list[Step], list[Checkpoint]]
) -> None:
    boxed = replace(examples, train=tuple(replace(e, face=(0.3, 0.2, 0.7, 0.8)) for e in examples.train))
    _, masked = run(recipe(tiny_base, masks={"source": "faces"}), boxed)
    assert not same(masked[-1], plain[1][-1])


def test_gradient_checkpointing_trains_the_same(
    tiny_base: Path, examples: Examples, plain: tuple[list[Step], list[Checkpoint]]
) -> None:
    _, saving = run(recipe(tiny_base, gradient_checkpointing=True, steps=2), examples)
    assert same(plain[1][0], saving[0])


def test_a_base_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no model_index.json"):
        open_trainer(recipe(tmp_path / "nowhere"), Machine())


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"prior_batch": 1}, "no regularization images"),
        ({"precision": "float16"}, "needs CUDA"),
        ({"resolution": 72}, "multiple"),
    ],
)
def test_what_cannot_be_trained_is_refused_before_the_first_step(
    tiny_base: Path, examples: Examples, changes: dict[str, object], match: str
) -> None:
    trainer = open_trainer(recipe(tiny_base, **{"prior_batch": 0, **changes}), Machine(threads=1))
    with pytest.raises(UserError, match=match):
        next(iter(trainer.train(replace(examples, prior=()), Path())))


def test_a_loss_that_is_no_number_stops_the_run(tiny_base: Path, examples: Examples) -> None:
    endless = Optimizer.model_construct(
        **{**Optimizer().model_dump(), **ADAMW, "learning_rate": 1e30, "max_grad_norm": 0}
    )
    train = recipe(tiny_base, steps=30, checkpoint_every=1, holdout_every=30).model_copy(update={"optimizer": endless})
    told = []
    with pytest.raises(UserError, match="the loss is (nan|inf)"):
        for event in open_trainer(train, Machine(threads=1)).train(examples, Path("work")):
            told.append(event)  # noqa: PERF402  # what came before the error is wanted
    last = told[-1]
    assert isinstance(last, Checkpoint)  # of the last step whose loss was a number: nothing of the next one
    assert {event.step for event in told} == set(range(last.step + 1))
    state = load_state(Path("work"))
    assert state is not None
    assert state["step"] == last.step
