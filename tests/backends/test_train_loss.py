"""Timestep weights against the papers' formulas, pseudo-Huber's two ends, and what a mask does."""

import pytest
import torch

from stages.backends.train.loss import distances, huber_c, sample_losses, snr_weight
from stages.contracts.train_settings import Loss

SNR = torch.tensor([0.0, 0.5, 5.0, 20.0])
MIN_SNR, DEBIASED = Loss(), Loss(weighting="debiased")


def test_min_snr_for_epsilon_is_the_smaller_of_snr_and_gamma_over_snr() -> None:
    torch.testing.assert_close(snr_weight(SNR, MIN_SNR, "epsilon"), torch.tensor([1.0, 1.0, 1.0, 0.25]))


def test_min_snr_for_velocity_divides_by_snr_plus_one() -> None:
    expected = torch.tensor([0.0, 0.5 / 1.5, 5.0 / 6.0, 5.0 / 21.0])
    torch.testing.assert_close(snr_weight(SNR, MIN_SNR, "v_prediction"), expected)


def test_debiased_weighs_epsilon_by_one_over_the_root_of_snr() -> None:
    torch.testing.assert_close(snr_weight(torch.tensor([0.25, 4.0]), DEBIASED, "epsilon"), torch.tensor([2.0, 0.5]))


@pytest.mark.parametrize("loss", [MIN_SNR, DEBIASED])
def test_a_weighting_says_the_same_of_the_picture_whatever_is_predicted(loss: Loss) -> None:
    """The error of the noise is snr times that of the picture, the velocity's snr + 1 times."""
    snr = torch.tensor([0.01, 0.5, 3.0, 40.0, 900.0])
    torch.testing.assert_close(
        snr_weight(snr, loss, "epsilon") * snr, snr_weight(snr, loss, "v_prediction") * (snr + 1)
    )


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
def test_no_weighting_weighs_all_alike(prediction: str) -> None:
    assert torch.equal(snr_weight(SNR, Loss(weighting="none"), prediction), torch.ones(4))  # type: ignore[arg-type]


def test_every_weight_is_finite_from_pure_noise_to_the_clean_picture() -> None:
    ends = torch.tensor([0.0, 1e-8, 1e8])
    for loss in (MIN_SNR, DEBIASED):
        assert torch.isfinite(snr_weight(ends, loss, "epsilon")).all()
        assert torch.isfinite(snr_weight(ends, loss, "v_prediction")).all()


def test_huber_is_the_square_near_zero_and_linear_far_out() -> None:
    c = torch.tensor([0.1])
    near = distances(torch.full((1, 1, 1, 1), 0.001), torch.zeros(1, 1, 1, 1), c)
    far = distances(torch.full((1, 1, 1, 1), 50.0), torch.zeros(1, 1, 1, 1), c)
    assert float(near) == pytest.approx(1e-6, rel=1e-2)
    assert float(far) == pytest.approx(2 * 0.1 * 50.0, rel=3e-3)


def test_huber_s_turn_falls_from_one_to_c_as_noise_grows() -> None:
    loss = Loss(kind="huber", huber_c=0.1)
    c = huber_c(loss, torch.tensor([0, 500, 1000]), 1000)
    torch.testing.assert_close(c, torch.tensor([1.0, 0.1**0.5, 0.1]))
    constant = huber_c(Loss(kind="huber", huber_schedule="constant"), torch.tensor([0, 999]), 1000)
    assert torch.equal(constant, torch.tensor([0.1, 0.1]))


def test_each_sample_has_its_own_weighted_mean_distance() -> None:
    distance = torch.tensor([1.0, 9.0]).reshape(2, 1, 1, 1).expand(2, 1, 2, 2)
    torch.testing.assert_close(sample_losses(distance, torch.tensor([1.0, 0.5]), None), torch.tensor([1.0, 4.5]))


def test_a_mask_says_which_places_count() -> None:
    distance = torch.tensor([[0.0, 4.0], [0.0, 4.0]])[None, None].expand(1, 3, 2, 2)
    mask = torch.tensor([[2.0, 0.0], [2.0, 0.0]])[None, None]
    assert float(sample_losses(distance, torch.ones(1), mask)) == 0.0
    assert float(sample_losses(distance, torch.ones(1), mask.flip(-1))) == 4.0
