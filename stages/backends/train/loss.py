"""The loss: squared error, weighted by timestep, plus the regularization images' share."""

import torch

from stages.backends.train.noise import Prediction


def min_snr_weight(snr: torch.Tensor, gamma: float, prediction: Prediction) -> torch.Tensor:
    """Min-SNR-gamma (Hang et al. 2023, arXiv:2303.09556): the weight of each sample's squared error, float32 (B,).

    epsilon: min(snr, gamma) / snr, which is 1 at snr 0.  v: min(snr, gamma) / (snr + 1), which is 0 at snr 0: pure
    noise tells nothing about the picture, so the last step of a zero-terminal-SNR schedule stays the base's.
    gamma 0 weighs every sample 1.
    """
    if gamma == 0:
        return torch.ones_like(snr)
    if prediction == "v_prediction":
        return snr.clamp(max=gamma) / (snr + 1)
    return torch.where(snr <= gamma, 1.0, gamma / snr.clamp(min=gamma))


def sample_losses(predicted_BCHW: torch.Tensor, target_BCHW: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Weighted mean squared error of each sample, float32 (B,)."""
    squares = (predicted_BCHW.float() - target_BCHW.float()).square()
    return squares.mean(dim=(1, 2, 3)) * weight.to(squares.device)


def total_loss(own: torch.Tensor, prior: torch.Tensor | None, prior_weight: float) -> torch.Tensor:
    """mean(own) + prior_weight * mean(prior): prior preservation (Ruiz et al. 2022, arXiv:2208.12242, equation 2)."""
    return own.mean() if prior is None else own.mean() + prior_weight * prior.mean()
