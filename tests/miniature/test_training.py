"""The training loop: schedules, resuming, and what may change in the middle of a run."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from miniature import training
from miniature.training import Recipe, same_so_far

RECIPE = Recipe(part="toy", steps=8, batch=4, learning_rate=0.1, seed=5, warmup=2, ema=0.5, checkpoint_every=4)


class Interrupted(Exception):
    """Stands for a run that somebody stopped."""


class ToyTask:
    """Fit a line; stops itself at ``stop_at`` the way an interrupted run does."""

    def __init__(self, stop_at: int | None = None) -> None:
        self.model = nn.Linear(3, 1)
        self.stop_at = stop_at

    def loss(self, batch: int, rng: np.random.Generator, noise: torch.Generator, step: int) -> torch.Tensor:
        if step == self.stop_at:
            raise Interrupted
        inputs = torch.from_numpy(rng.standard_normal((batch, 3), dtype=np.float32))
        target = inputs.sum(dim=1, keepdim=True) + 0.1 * torch.randn(batch, 1, generator=noise)
        return (self.model(inputs) - target).square().mean()


def build_until_six() -> ToyTask:
    return ToyTask(stop_at=6)


@pytest.fixture
def fresh_cache(tmp_path, monkeypatch):
    def switch(name: str) -> None:
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / name))

    return switch


@pytest.fixture(autouse=True)
def same_threads():
    """The loop sets torch's thread count, which the rest of the tests should not inherit."""
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


def weights(task: ToyTask) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in task.model.parameters()])


def test_an_interrupted_run_reaches_the_same_weights(fresh_cache):
    fresh_cache("undisturbed")
    undisturbed, _ = training.train(RECIPE, ToyTask)
    fresh_cache("interrupted")
    with pytest.raises(Interrupted):
        training.train(RECIPE, build_until_six)
    resumed, _ = training.train(RECIPE, ToyTask)
    assert torch.equal(weights(undisturbed), weights(resumed))


def test_another_recipe_does_not_resume(fresh_cache):
    fresh_cache("cache")
    training.train(RECIPE, ToyTask)
    with pytest.raises(SystemExit, match="another recipe"):
        training.train(replace(RECIPE, learning_rate=0.2), ToyTask)


def test_a_run_lengthened_while_flat_equals_a_long_run(fresh_cache):
    long = replace(RECIPE, steps=20, decay_from=0.6)
    fresh_cache("long")
    undisturbed, _ = training.train(long, ToyTask)
    fresh_cache("lengthened")
    with pytest.raises(Interrupted):
        training.train(replace(RECIPE, decay_from=0.75), build_until_six)
    lengthened, _ = training.train(long, ToyTask)
    assert torch.equal(weights(undisturbed), weights(lengthened))


@pytest.mark.parametrize(
    ("change", "step", "allowed"),
    [
        ({"steps": 16}, 4, True),  # flat until 4 in the old recipe, until 8 in the new
        ({"steps": 16}, 6, False),  # the old rate has fallen already
        ({"decay_from": 0.25}, 4, False),  # the new rate would have fallen already
        ({"steps": 3}, 4, False),
        ({"batch": 8}, 1, False),
        ({"seed": 6}, 1, False),
        ({"ema": None}, 1, False),
    ],
)
def test_only_the_length_may_change_and_only_while_flat(change, step, allowed):
    assert same_so_far(RECIPE, replace(RECIPE, **change), step) is allowed


def test_the_rate_warms_up_stays_flat_and_falls_to_zero():
    recipe = replace(RECIPE, steps=100, warmup=10, decay_from=0.5)
    rates = [recipe.rate_at(step) for step in range(101)]
    assert rates[0] == pytest.approx(0.01)
    assert rates[10:51] == [0.1] * 41
    assert rates[75] == pytest.approx(0.05)
    assert rates[100] == pytest.approx(0.0, abs=1e-12)
