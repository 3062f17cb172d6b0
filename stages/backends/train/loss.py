"""The loss: the distance between prediction and target, weighted by timestep, mask and kind of picture."""

import math

import torch

from stages.backends.train.noise import Prediction
from stages.backends.train.transfer import send
from stages.contracts.train_settings import Loss

SNR_RANGE = 1e-3, 1e3  # debiased weights outside would be endless


def snr_weight(snr: torch.Tensor, loss: Loss, prediction: Prediction) -> torch.Tensor:
    """The weight of each sample's distance by its signal-to-noise ratio, float32 (B,).

    Every weighting is one of the error in the picture itself (x0); as a weight of the predicted noise's error that is
    divided by snr, of the velocity's by snr + 1.

    min_snr: min(snr, gamma) (Hang et al. 2023, arXiv:2303.09556).  At snr 0 it is 1 for epsilon and 0 for velocity:
    pure noise tells nothing about the picture, so the last step of a zero-terminal-SNR schedule stays the base's.
    debiased: sqrt(snr) (Yu et al. 2023, arXiv:2310.08442), with snr kept within 0.001 and 1000.
    none: the plain error, 1.
    """
    velocity = prediction == "v_prediction"
    match loss.weighting:
        case "none":
            return torch.ones_like(snr)
        case "min_snr":
            if velocity:
                return snr.clamp(max=loss.min_snr_gamma) / (snr + 1)
            return torch.where(snr <= loss.min_snr_gamma, 1.0, loss.min_snr_gamma / snr.clamp(min=loss.min_snr_gamma))
        case _:
            kept = snr.clamp(*SNR_RANGE)
            return kept.sqrt() / (kept + 1) if velocity else kept.rsqrt()


def huber_c(loss: Loss, timesteps: torch.Tensor, length: int) -> torch.Tensor:
    """Where the pseudo-Huber loss of each sample turns linear, float32 (B,): constant, or c ** (t / length)."""
    c = torch.full(timesteps.shape, loss.huber_c)
    if loss.huber_schedule == "constant":
        return c
    return torch.exp(math.log(loss.huber_c) * timesteps.cpu().float() / length)


def distances(predicted: torch.Tensor, target: torch.Tensor, c: torch.Tensor | None) -> torch.Tensor:
    """Elementwise (B, C, H, W), float32: the square, or with ``c`` the pseudo-Huber loss 2 c (sqrt(d^2 + c^2) - c).

    Pseudo-Huber (Khrapov et al. 2024, arXiv:2403.16728, section 3) is the square for d << c and 2 c |d| far out.
    """
    squares = (predicted.float() - target.float()).square()
    if c is None:
        return squares
    c = send(c, squares.device)[:, None, None, None]
    return 2 * c * ((squares + c.square()).sqrt() - c)


def sample_losses(distance_BCHW: torch.Tensor, weight: torch.Tensor, mask_B1HW: torch.Tensor | None) -> torch.Tensor:
    """Weighted mean distance of each sample, float32 (B,); a mask says how much each place of the picture counts."""
    if mask_B1HW is not None:
        distance_BCHW = distance_BCHW * send(mask_B1HW, distance_BCHW.device)
    return distance_BCHW.mean(dim=(1, 2, 3)) * send(weight, distance_BCHW.device)
