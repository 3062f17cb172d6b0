"""Our Prodigy is prodigyopt's bit for bit, and reads the device once in a step."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from prodigyopt import Prodigy
from torch.utils._python_dispatch import TorchDispatchMode

from stages.backends.train import prodigy
from stages.backends.train.prodigy import QuickProdigy
from stages.backends.train.run import Run
from stages.contracts.settings import Machine
from stages.contracts.train_settings import Train
from stages.contracts.training import Examples


class Reads(TorchDispatchMode):
    """Counts numbers that are read off a device one by one."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += func is torch.ops.aten._local_scalar_dense.default
        return func(*args, **(kwargs or {}))


def open_parameters() -> list[torch.nn.Parameter]:
    """A LoRA's: every second one begins at 0; the last never has a gradient."""
    draw = torch.Generator().manual_seed(0)
    shapes = [(4, 64), (64, 4), (4, 3, 3, 3), (20, 4, 1, 1), (7,), (5, 5)]
    return [torch.nn.Parameter(torch.randn(s, generator=draw) * (i % 2 == 0)) for i, s in enumerate(shapes)]


def learn(kind: type[Prodigy], steps: int, **settings: Any) -> tuple[Sequence[torch.Tensor], Any]:
    """The parameters after ``steps`` steps with gradients of a noisy way down, rates falling, and the state."""
    parameters, draw = open_parameters(), torch.Generator().manual_seed(1)
    groups = [{"params": parameters[:3]}, {"params": parameters[3:]}]
    optimizer = kind(groups, **{"betas": (0.9, 0.99), "decouple": True, **settings})
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = 1.0 - 0.05 * step
        for parameter in parameters[:-1]:
            parameter.grad = parameter.detach() - 1 + 0.1 * torch.randn(parameter.shape, generator=draw)
        optimizer.step()
    return parameters, optimizer.state_dict()


def is_same(one: Any, other: Any) -> bool:
    """Whether two states hold the same types, keys and bits."""
    if isinstance(one, torch.Tensor):
        return one.shape == other.shape and one.dtype == other.dtype and torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(is_same(value, other[key]) for key, value in one.items())
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(is_same(*pair) for pair in zip(one, other, strict=True))
    return bool(one == other)


@pytest.mark.parametrize("safeguard_warmup", [False, True])
@pytest.mark.parametrize("more", [{}, {"weight_decay": 0.01, "use_bias_correction": True, "d_coef": 2.0}])
def test_a_step_and_its_state_are_prodigyopt_s_bit_for_bit(more: dict[str, Any], safeguard_warmup: bool) -> None:  # noqa: FBT001
    mine, state = learn(QuickProdigy, 12, safeguard_warmup=safeguard_warmup, **more)
    theirs, expected = learn(Prodigy, 12, safeguard_warmup=safeguard_warmup, **more)
    assert is_same(state, expected)
    assert is_same(list(mine), list(theirs))
    assert state["param_groups"][0]["d"] > 3e-6  # it rose from 1e-6, so its estimate was at work


def test_a_step_without_any_gradient_leaves_everything_as_prodigyopt_does() -> None:
    results = []
    for kind in (QuickProdigy, Prodigy):
        parameters = open_parameters()
        optimizer = kind(parameters, decouple=True)
        for parameter in parameters:
            parameter.grad = torch.zeros_like(parameter)
        optimizer.step()
        results.append([parameters, optimizer.state_dict()])
    assert is_same(*results)


def test_rates_that_differ_are_refused_as_prodigyopt_refuses_them() -> None:
    parameter = torch.nn.Parameter(torch.ones(2))
    optimizer = QuickProdigy([{"params": [parameter], "lr": 1.0}, {"params": [torch.nn.Parameter(torch.ones(2))],
                                                                   "lr": 0.5}])  # fmt: skip
    with pytest.raises(AssertionError, match="one rate"):
        optimizer.step()


def recipe(base: Path, **changes: object) -> Train:
    values = {
        "version": "t", "base": base, "resolution": 64, "rank": 2, "steps": 4, "batch": 2, "prior_batch": 1,
        "checkpoint_every": 4, "holdout_every": 4, "warmup_steps": 1, **changes,
    }  # fmt: skip
    return Train.model_validate(values)


def test_a_training_with_it_ends_with_the_lora_that_prodigyopt_s_would(
    tiny_base: Path, examples: Examples, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = []
    for kind in (QuickProdigy, Prodigy):
        monkeypatch.setattr(prodigy, "QuickProdigy", kind)
        run = Run(recipe(tiny_base), Machine(threads=1), replace(examples, holdout=()))
        told = [run.advance(step) for step in range(1, 5)]
        assert type(run.optimizer.optimizer) is kind
        ended.append([[p.detach() for p in run.trained], [(step.loss, step.learning_rate, step.d) for step in told]])
    assert is_same(*ended)


def test_nothing_is_read_off_the_device_from_the_first_noise_of_a_step_to_the_last_parameter(
    tiny_base: Path, examples: Examples
) -> None:
    """Prodigy's sums apart, which are read together; prodigyopt's own step reads two numbers for each parameter."""
    run = Run(recipe(tiny_base, loss={"kind": "huber"}), Machine(threads=1), replace(examples, holdout=()))
    run.advance(1)
    assert run.ahead.keys() == {2}  # drawn before the first step was waited for
    with Reads() as reads:
        run._learn(2)
        run.accelerator.clip_grad_norm_(run.trained, 1.0)
        run.optimizer.step()
    assert reads.count == 0
    run._learn(3)
    with Reads() as reads:
        Prodigy.step(run.optimizer.optimizer)
    assert reads.count == 2 * len(run.trained)
