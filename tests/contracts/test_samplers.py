"""What the table of samplers says of diffusers and ComfyUI is true: noise levels as ComfyUI 0.3.64 computed them."""

import json
from pathlib import Path
from typing import get_args

import numpy as np
import pytest

from stages.backends.generate.samplers import open_sampler
from stages.contracts.samplers import SAMPLINGS, comfyui_sampler, find_counterpart
from stages.contracts.section import Sampler
from stages.runtime.errors import UserError

SIGMAS = json.loads((Path(__file__).parents[1] / "data" / "comfyui_sigmas.json").read_text())
SDXL = {
    "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "num_train_timesteps": 1000,
    "prediction_type": "epsilon", "steps_offset": 1, "set_alpha_to_one": False,
}  # fmt: skip
PAIRS = [(name, spacing) for name, sampling in SAMPLINGS.items() for spacing in sampling.counterparts]


def noise_levels(name: str, spacing: str, steps: int) -> np.ndarray:
    """Standard deviations of the noise at which diffusers asks the model, and what it stops at: (steps + 1,)."""
    sampler = open_sampler(name, SDXL | {"timestep_spacing": spacing})
    sampler.set_timesteps(steps)
    if name != "ddim":
        return np.asarray(sampler.sigmas)
    kept = np.append(sampler.alphas_cumprod[sampler.timesteps], sampler.final_alpha_cumprod)
    return np.sqrt((1 - kept) / kept)


def apart(name: str, spacing: str, steps: int) -> float:
    """The largest relative difference of the noise levels at which the model is asked; infinite at other counts."""
    ours, theirs = noise_levels(name, spacing, steps), SIGMAS[find_counterpart(name, spacing).scheduler][str(steps)]
    if len(ours) != len(theirs):
        return np.inf
    return float(np.max(np.abs(ours[:-1] / theirs[:-1] - 1)))


def test_every_sampler_of_the_settings_is_in_the_table() -> None:
    assert set(SAMPLINGS) == set(get_args(Sampler))


@pytest.mark.parametrize(("name", "spacing"), PAIRS)
@pytest.mark.parametrize("steps", [10, 12, 20, 30])
def test_noise_levels_are_comfyui_s_unless_the_table_says_otherwise(name: str, spacing: str, steps: int) -> None:
    difference = find_counterpart(name, spacing).difference(steps)
    if "one more" in difference:
        assert len(noise_levels(name, spacing, steps)) + 1 == len(SIGMAS["ddim_uniform"][str(steps)])
    else:
        limit = 0.02 if "noise levels" in difference or "third order" in difference else 1e-4
        assert apart(name, spacing, steps) < limit


def test_the_comparison_can_fail() -> None:
    assert noise_levels("dpmpp_2m", "leading", 20)[-2] / SIGMAS["ddim_uniform"]["20"][-2] > 2
    assert apart("euler", "leading", 30) == np.inf
    assert apart("euler", "trailing", 30) > 0.01


@pytest.mark.parametrize(
    ("name", "spacing", "steps", "unlike"),
    [
        ("dpmpp_2m_karras", "leading", 30, ""),
        ("dpmpp_2m_karras", "trailing", 7, ""),
        ("dpmpp_2m", "trailing", 20, ""),
        ("dpmpp_2m", "trailing", 30, "2% apart"),
        ("euler", "leading", 20, "first noise"),
        ("euler", "leading", 30, "one more"),
        ("euler_a", "linspace", 20, "otherwise"),
    ],
)
def test_the_table_says_which_pictures_are_the_same(name: str, spacing: str, steps: int, unlike: str) -> None:
    difference = find_counterpart(name, spacing).difference(steps)
    assert unlike in difference
    assert bool(difference) == bool(unlike)


def test_karras_levels_are_asked_of_dpmpp_2m() -> None:
    assert comfyui_sampler("dpmpp_2m_karras", "leading") == ("dpmpp_2m", "karras")
    assert comfyui_sampler("euler", "trailing") == ("euler", "simple")


@pytest.mark.parametrize(
    ("name", "spacing", "why"),
    [("dpmpp_2m", "leading", "cannot mean the same"), ("heun", "leading", "no sampler"), ("euler", "odd", "odd")],
)
def test_what_comfyui_cannot_draw_alike_is_refused(name: str, spacing: str, why: str) -> None:
    with pytest.raises(UserError, match=why):
        comfyui_sampler(name, spacing)
