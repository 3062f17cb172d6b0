"""Min-SNR weights against the paper's formulas, and the regularization images' share."""

import pytest
import torch

from stages.backends.train.loss import min_snr_weight, sample_losses, total_loss

SNR = torch.tensor([0.0, 0.5, 5.0, 20.0])


def test_min_snr_for_epsilon_is_the_smaller_of_snr_and_gamma_over_snr() -> None:
    torch.testing.assert_close(min_snr_weight(SNR, 5.0, "epsilon"), torch.tensor([1.0, 1.0, 1.0, 0.25]))


def test_min_snr_for_velocity_divides_by_snr_plus_one() -> None:
    expected = torch.tensor([0.0, 0.5 / 1.5, 5.0 / 6.0, 5.0 / 21.0])
    torch.testing.assert_close(min_snr_weight(SNR, 5.0, "v_prediction"), expected)


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
def test_gamma_zero_weighs_all_alike(prediction: str) -> None:
    assert torch.equal(min_snr_weight(SNR, 0.0, prediction), torch.ones(4))  # type: ignore[arg-type]


def test_each_sample_has_its_own_weighted_mean_square() -> None:
    predicted, target = torch.zeros(2, 1, 2, 2), torch.tensor([1.0, 3.0]).reshape(2, 1, 1, 1).expand(2, 1, 2, 2)
    torch.testing.assert_close(sample_losses(predicted, target, torch.tensor([1.0, 0.5])), torch.tensor([1.0, 4.5]))


def test_the_prior_counts_by_its_weight_whatever_the_batch_sizes() -> None:
    own, prior = torch.tensor([1.0, 3.0]), torch.tensor([10.0])
    assert float(total_loss(own, prior, 0.5)) == 7.0
    assert float(total_loss(own, None, 0.5)) == 2.0
