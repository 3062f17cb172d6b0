"""How the base model was noised, and what it is trained to predict.

Forward process (Ho et al. 2020, arXiv:2006.11239): noised = alpha * latents + sigma * noise with
alpha = sqrt(alphas_cumprod[t]), sigma = sqrt(1 - alphas_cumprod[t]).  Betas rescaled to zero terminal SNR (Lin et al.
2024, arXiv:2305.08891) have alpha = 0 at the last timestep.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from diffusers import DDPMScheduler

from stages.backends.train.transfer import send
from stages.runtime.errors import UserError

Prediction = Literal["epsilon", "v_prediction"]
_BETAS = ("num_train_timesteps", "beta_start", "beta_end", "beta_schedule", "trained_betas", "rescale_betas_zero_snr")


@dataclass(frozen=True)
class NoiseSchedule:
    """The base's own schedule: ``alphas_cumprod`` is float32 (T,), 1 without noise, 0 for noise alone."""

    alphas_cumprod: torch.Tensor
    prediction: Prediction

    @property
    def length(self) -> int:
        """How many timesteps there are."""
        return len(self.alphas_cumprod)

    def _alpha_sigma(self, timesteps: torch.Tensor, like: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        squares = send(self.alphas_cumprod[timesteps.cpu()], like.device)[:, None, None, None]
        return squares.sqrt(), (1 - squares).sqrt()

    def add_noise(self, latents_BCHW: torch.Tensor, noise: torch.Tensor, timesteps: torch.Tensor) -> torch.Tensor:
        """alpha * latents + sigma * noise."""
        alpha, sigma = self._alpha_sigma(timesteps, latents_BCHW)
        return alpha * latents_BCHW + sigma * noise

    def target(self, latents_BCHW: torch.Tensor, noise: torch.Tensor, timesteps: torch.Tensor) -> torch.Tensor:
        """What the UNet should answer: the noise, or v = alpha * noise - sigma * latents (arXiv:2202.00512)."""
        if self.prediction == "epsilon":
            return noise
        alpha, sigma = self._alpha_sigma(timesteps, latents_BCHW)
        return alpha * noise - sigma * latents_BCHW

    def snr(self, timesteps: torch.Tensor) -> torch.Tensor:
        """alpha^2 / sigma^2 of each timestep, float32 (B,): 0 at a zero-terminal-SNR schedule's last step."""
        squares = self.alphas_cumprod[timesteps.cpu()]
        return squares / (1 - squares)


def open_schedule(config: Mapping[str, Any]) -> NoiseSchedule:
    """The schedule that a diffusers scheduler's configuration describes.

    Raises:
        UserError: when the base predicts neither noise nor velocity.
    """
    prediction = config.get("prediction_type", "epsilon")
    if prediction not in ("epsilon", "v_prediction"):
        raise UserError("train.base", f"its scheduler predicts {prediction!r}", "use a base of epsilon or v_prediction")
    betas = {key: config[key] for key in _BETAS if key in config}
    return NoiseSchedule(DDPMScheduler.from_config(betas).alphas_cumprod.float(), prediction)


def draw_timesteps(count: int, length: int, generator: torch.Generator) -> torch.Tensor:
    """int64 (count,) in [0, length): each uniform, together one from every ``count``-th part of the range.

    One uniform offset shared by the batch (Kingma et al. 2021, arXiv:2107.00630, appendix I.1) gives a small batch's
    loss less variance than independent draws; the order is shuffled so that no photo keeps to one part.
    """
    offset = torch.rand((), generator=generator, dtype=torch.float64)
    places = torch.randperm(count, generator=generator).double() / count
    return ((offset + places).remainder(1.0) * length).long().clamp_(max=length - 1)


def draw_noise(shape: tuple[int, ...], offset: float, generator: torch.Generator) -> torch.Tensor:
    """Normal noise, float32 ``shape`` (C, H, W); with ``offset`` each channel is shifted as a whole too.

    Plain noise hardly moves a picture's mean, so that a model cannot learn very dark or bright ones (offset noise,
    Guttenberg 2023, crosslabs.org/blog/diffusion-with-offset-noise).
    """
    noise = torch.randn(shape, generator=generator)
    return noise + offset * torch.randn((shape[0], 1, 1), generator=generator) if offset else noise
