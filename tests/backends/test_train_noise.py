"""The base's own noise: epsilon and velocity, zero terminal SNR, timesteps."""

import pytest
import torch
from diffusers import DDPMScheduler

from stages.backends.train.noise import NoiseSchedule, draw_timesteps, open_schedule
from stages.runtime.errors import UserError

SDXL = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "prediction_type": "epsilon"}
ZERO = {**SDXL, "prediction_type": "v_prediction", "rescale_betas_zero_snr": True}


def pair(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(3, 4, 8, 8, generator=generator), torch.randn(3, 4, 8, 8, generator=generator)


def test_sdxl_s_schedule_has_its_published_ends() -> None:
    schedule = open_schedule(SDXL)
    assert schedule.length == 1000
    assert float(schedule.alphas_cumprod[0]) == pytest.approx(1 - 0.00085)
    assert float(schedule.alphas_cumprod[-1]) == pytest.approx(0.004660, abs=1e-5)


def test_zero_terminal_snr_ends_in_noise_alone() -> None:
    schedule = open_schedule(ZERO)
    latents, noise = pair()
    last = torch.full((3,), 999)
    assert float(schedule.snr(last)[0]) == 0.0
    assert torch.equal(schedule.add_noise(latents, noise, last), noise)
    assert torch.equal(schedule.target(latents, noise, last), -latents)


def test_the_velocity_is_alpha_noise_minus_sigma_latents() -> None:
    schedule = NoiseSchedule(torch.tensor([0.64, 0.36]), "v_prediction")
    latents, noise = pair()
    target = schedule.target(latents, noise, torch.tensor([0, 1, 0]))
    torch.testing.assert_close(target[0], 0.8 * noise[0] - 0.6 * latents[0])
    torch.testing.assert_close(target[1], 0.6 * noise[1] - 0.8 * latents[1])


def test_epsilon_is_the_noise() -> None:
    latents, noise = pair()
    assert torch.equal(open_schedule(SDXL).target(latents, noise, torch.tensor([0, 500, 999])), noise)


@pytest.mark.parametrize("config", [SDXL, ZERO])
def test_noise_and_velocity_agree_with_diffusers(config: dict[str, object]) -> None:
    ours, theirs = open_schedule(config), DDPMScheduler.from_config(config)
    latents, noise = pair()
    steps = torch.tensor([3, 400, 998])
    torch.testing.assert_close(ours.add_noise(latents, noise, steps), theirs.add_noise(latents, noise, steps))
    if config is ZERO:
        torch.testing.assert_close(ours.target(latents, noise, steps), theirs.get_velocity(latents, noise, steps))


def test_a_base_that_predicts_something_else_is_refused() -> None:
    with pytest.raises(UserError, match="sample"):
        open_schedule({**SDXL, "prediction_type": "sample"})


def test_timesteps_are_uniform_and_a_batch_covers_the_range() -> None:
    generator = torch.Generator().manual_seed(0)
    draws = torch.stack([draw_timesteps(4, 1000, generator) for _ in range(2000)])
    assert (draws.min(), draws.max()) == (0, 999)
    assert (draws.float().mean(dim=0) - 499.5).abs().max() < 25  # every place in the batch: standard error 6.5
    assert ((draws // 250).sort(dim=1).values == torch.arange(4)).all()


def test_one_timestep_alone_is_uniform_too() -> None:
    generator = torch.Generator().manual_seed(0)
    draws = torch.cat([draw_timesteps(1, 10, generator) for _ in range(4000)])
    assert torch.bincount(draws, minlength=10).min() > 320
