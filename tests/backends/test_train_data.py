"""Pictures are cropped as faces need it, and what a step sees depends on the seed and its number alone."""

from pathlib import Path

import numpy as np
import pytest
import torch

from stages.backends.sdxl import open_pipeline
from stages.backends.train.batches import draw_batch, draw_rows, holdout_batches, join
from stages.backends.train.data import Pictures, Prompts, check_size, crop_square, encode_pictures
from stages.contracts.training import Examples
from stages.runtime.errors import UserError


@pytest.fixture(scope="module")
def pictures() -> Pictures:
    latents = torch.arange(5.0).reshape(5, 1, 1, 1, 1).expand(5, 2, 1, 2, 2).clone()
    latents[:, 1] += 100  # the mirror images
    return Pictures(latents, torch.arange(30.0).reshape(5, 6), tuple("abcde"))


def striped(height: int, width: int) -> np.ndarray:
    """Red tells the row, green the column."""
    rows, columns = np.mgrid[:height, :width]
    return np.stack([rows, columns, np.zeros_like(rows)], axis=-1).astype(np.uint8)


def test_a_square_picture_is_only_resized() -> None:
    square, ids = crop_square(striped(128, 128), 64)
    assert square.shape == (64, 64, 3)
    assert ids == (128, 128, 0, 0, 64, 64)


def test_a_wide_picture_loses_its_sides_equally() -> None:
    square, ids = crop_square(striped(64, 104), 64)
    assert (square[0, 0, 1], square[0, -1, 1]) == (20, 83)
    assert ids == (64, 104, 0, 20, 64, 64)


def test_a_tall_picture_keeps_its_upper_part() -> None:
    square, ids = crop_square(striped(104, 64), 64)
    assert (square[0, 0, 0], square[-1, 0, 0]) == (10, 73)
    assert ids == (104, 64, 10, 0, 64, 64)


def test_the_crop_is_told_in_pixels_of_the_resized_picture() -> None:
    assert crop_square(striped(192, 128), 64)[1] == (192, 128, 8, 0, 64, 64)


def test_a_latent_is_the_scaled_mean_and_the_second_one_its_mirror_image(tiny_base: Path, examples: Examples) -> None:
    vae = open_pipeline(tiny_base, torch.float32).vae
    two = encode_pictures(vae, examples.train[:2], 64, "test", flip=True)
    one = encode_pictures(vae, examples.train[1:2], 64, "test")
    assert two.latents.shape == (2, 2, 8, 16, 16)
    assert torch.equal(two.latents[1, 0], one.latents[0, 0])
    assert not torch.equal(two.latents[0, 0], two.latents[0, 1])


def test_a_remembered_caption_is_the_pipeline_s_own_embedding(tiny_base: Path) -> None:
    pipeline = open_pipeline(tiny_base, torch.float32)
    prompts = Prompts(pipeline, torch.device("cpu"))
    prompts.remember(["a woman", "a man, smiling"])
    expected = pipeline.encode_prompt("a woman", do_classifier_free_guidance=False)
    pipeline.text_encoder = pipeline.text_encoder_2 = None
    context, pooled = prompts.encode(["a man, smiling", "a woman"])
    assert torch.equal(context[1], expected[0][0])
    assert torch.equal(pooled[1], expected[2][0])


def test_a_resolution_that_the_unet_cannot_halve_is_refused(tiny_base: Path) -> None:
    pipeline = open_pipeline(tiny_base, torch.float32)
    check_size(64, pipeline)
    with pytest.raises(UserError, match="multiple of 16; try 64"):
        check_size(72, pipeline)


def test_every_epoch_shows_every_picture_once() -> None:
    rows = [row for step in range(1, 11) for row in draw_rows(3, 5, step, 0, "own")]
    epochs = [rows[start : start + 5] for start in range(0, 30, 5)]
    assert all(sorted(epoch) == [0, 1, 2, 3, 4] for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) > 1


def test_a_step_is_the_same_whatever_was_drawn_before(pictures: Pictures) -> None:
    first = draw_batch(pictures, 4, 7, 0, "own", 1000)
    draw_batch(pictures, 4, 8, 0, "own", 1000)
    again = draw_batch(pictures, 4, 7, 0, "own", 1000)
    assert torch.equal(first.noise, again.noise)
    assert torch.equal(first.timesteps, again.timesteps)
    assert torch.equal(first.latents, again.latents)
    other = draw_batch(pictures, 4, 7, 1, "own", 1000)
    assert not torch.equal(first.noise, other.noise)


def test_captions_and_time_ids_stay_with_their_pictures_and_mirrors_occur(pictures: Pictures) -> None:
    batch = draw_batch(pictures, 40, 1, 0, "own", 1000)
    rows = [int(value) % 100 for value in batch.latents[:, 0, 0, 0]]
    assert [pictures.captions[row] for row in rows] == list(batch.captions)
    assert torch.equal(pictures.time_ids[rows], batch.time_ids)
    assert 8 < int((batch.latents[:, 0, 0, 0] >= 100).sum()) < 32


def test_a_joined_batch_is_the_first_followed_by_the_second(pictures: Pictures) -> None:
    own, prior = draw_batch(pictures, 3, 1, 0, "own", 1000), draw_batch(pictures, 2, 1, 0, "prior", 1000)
    both = join(own, prior)
    assert len(both) == 5
    assert torch.equal(both.noise[:3], own.noise)
    assert both.captions[3:] == prior.captions


def test_holdout_covers_every_photo_at_every_level_with_the_same_noise_each_time(pictures: Pictures) -> None:
    batches, again = (holdout_batches(pictures, 8, 0, 1000) for _ in range(2))
    assert [len(batch) for batch in batches] == [8, 8, 4]
    assert sorted({int(t) for batch in batches for t in batch.timesteps}) == [125, 375, 625, 875]
    assert all(torch.equal(a.noise, b.noise) for a, b in zip(batches, again, strict=True))
    assert all((batch.latents < 100).all() for batch in batches)  # never mirrored
