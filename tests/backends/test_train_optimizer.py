"""The optimizers find a minimum, Prodigy finds its rate, and the rate follows its schedule."""

import pytest
import torch

from stages.backends.train.optimizer import (
    effective_rate,
    open_optimizer,
    open_rate_schedule,
    rate_factor,
)
from stages.contracts.settings import Optimizer

CPU = torch.device("cpu")


def minimise(settings: Optimizer, steps: int) -> tuple[torch.Tensor, torch.optim.Optimizer]:
    """Distance to the minimum of a quadratic after ``steps`` steps."""
    weights, goal = torch.nn.Parameter(torch.zeros(8)), torch.linspace(-1, 1, 8)
    optimizer = open_optimizer(settings, [weights], [], CPU)
    for _ in range(steps):
        optimizer.zero_grad()
        (weights - goal).square().sum().backward()
        optimizer.step()
    return (weights - goal).abs().max().detach(), optimizer


def test_prodigy_raises_d_by_itself_and_reaches_the_minimum() -> None:
    _, started = minimise(Optimizer(weight_decay=0.0), 1)
    distance, ended = minimise(Optimizer(weight_decay=0.0), 200)
    (first, d_first), (last, d_last) = effective_rate(started), effective_rate(ended)
    assert d_first is not None
    assert d_last is not None
    assert d_last > 1000 * d_first
    assert last == pytest.approx(d_last)  # learning_rate 1.0 times d
    assert first < last
    assert distance < 0.1


def test_adamw_uses_the_rate_that_was_set_and_has_no_d() -> None:
    distance, optimizer = minimise(Optimizer(name="adamw", learning_rate=0.05, weight_decay=0.0), 200)
    assert effective_rate(optimizer) == (0.05, None)
    assert distance < 0.05


def test_8_bit_adamw_without_cuda_is_plain_adamw_and_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    _, optimizer = minimise(Optimizer(name="adamw8bit", learning_rate=0.05), 1)
    assert type(optimizer) is torch.optim.AdamW
    assert "needs CUDA" in capsys.readouterr().err


def test_the_text_encoders_have_a_rate_of_their_own() -> None:
    settings = Optimizer(name="adamw", learning_rate=1e-3, text_encoder_rate=1e-4)
    unet, text = torch.nn.Parameter(torch.zeros(1)), torch.nn.Parameter(torch.zeros(1))
    groups = open_optimizer(settings, [unet], [text], CPU).param_groups
    assert [group["lr"] for group in groups] == [1e-3, 1e-4]


def test_the_cosine_starts_full_passes_half_and_ends_near_zero() -> None:
    factors = [rate_factor(step, "cosine", 0, 100) for step in range(100)]
    assert factors[0] == 1.0
    assert factors[50] == pytest.approx(0.5)
    assert 0 < factors[-1] < 0.001
    assert factors == sorted(factors, reverse=True)


def test_warm_up_rises_in_equal_steps_and_never_stands_at_zero() -> None:
    assert [rate_factor(step, "constant", 3, 10) for step in range(5)] == [0.25, 0.5, 0.75, 1.0, 1.0]


def test_the_schedule_multiplies_the_rate() -> None:
    optimizer = open_optimizer(
        Optimizer(name="adamw", learning_rate=0.1), [torch.nn.Parameter(torch.zeros(1))], [], CPU
    )
    rates = open_rate_schedule(optimizer, "cosine", 0, 4)
    optimizer.step()
    rates.step()
    assert effective_rate(optimizer)[0] == pytest.approx(0.1 * (1 + 2**-0.5) / 2)


@pytest.mark.parametrize("name", ["prodigy", "adamw"])
def test_an_optimizer_is_opened_with_all_that_was_set(name: str) -> None:
    settings = Optimizer(
        name=name, learning_rate=0.05, betas=(0.8, 0.95), weight_decay=0.02, d_coef=3.0, safeguard_warmup=False,
        use_bias_correction=False,
    )  # fmt: skip
    (group,) = open_optimizer(settings, [torch.nn.Parameter(torch.zeros(1))], [], CPU).param_groups
    assert (group["lr"], group["betas"], group["weight_decay"]) == (0.05, (0.8, 0.95), 0.02)
    if name == "prodigy":
        assert (group["d_coef"], group["safeguard_warmup"], group["use_bias_correction"]) == (3.0, False, False)
        assert group["decouple"]


def test_the_cosine_begins_after_the_warm_up() -> None:
    factors = [rate_factor(step, "cosine", 4, 14) for step in range(16)]
    assert factors[:5] == [0.2, 0.4, 0.6, 0.8, 1.0]
    assert factors[9] == pytest.approx(0.5)
    assert factors[14:] == pytest.approx([0.0, 0.0])


def test_without_a_rate_of_their_own_the_text_encoders_have_the_unet_s() -> None:
    settings = Optimizer(name="adamw", learning_rate=1e-3)
    unet, text = torch.nn.Parameter(torch.zeros(1)), torch.nn.Parameter(torch.zeros(1))
    assert [group["lr"] for group in open_optimizer(settings, [unet], [text], CPU).param_groups] == [1e-3, 1e-3]
