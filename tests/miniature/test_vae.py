"""The autoencoder: shapes, scaling, and its quality where the weights are present."""

import numpy as np
import pytest
import torch

from miniature import vae
from miniature.places import WEIGHTS

STORED = WEIGHTS / "base" / "vae"


@pytest.fixture(scope="module")
def pictures() -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (3, 32, 48, 3), dtype=np.uint8)


def test_pictures_survive_the_conversion(pictures):
    assert np.array_equal(vae.to_images(vae.to_tensor(pictures)), pictures)


def test_latents_are_a_quarter_of_the_picture(pictures):
    autoencoder = vae.new_autoencoder()
    latents = vae.encode(autoencoder, pictures)
    assert latents.shape == (3, 8, 8, 12)
    assert vae.decode(autoencoder, latents).shape == pictures.shape


def test_stored_latents_have_unit_spread(pictures, tmp_path):
    vae.store(vae.new_autoencoder(), pictures, tmp_path / "vae")
    assert float(vae.encode(vae.load(tmp_path / "vae"), pictures).std()) == pytest.approx(1, abs=0.01)


def test_psnr_of_a_known_error():
    black = np.zeros((2, 8, 8, 3), np.uint8)
    assert vae.psnr(black, black + 1) == pytest.approx(20 * np.log10(255))


def test_gradient_loss_ignores_a_constant_shift():
    picture = torch.rand(1, 3, 8, 8)
    assert float(vae.gradient_loss(picture, picture + 0.25)) == pytest.approx(0, abs=1e-6)


@pytest.mark.skipif(not STORED.exists(), reason="the miniature's weights are not there")
def test_unseen_faces_are_reconstructed(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert vae.measure()["vae_psnr_db"] > 28
