"""Pictures are cropped as faces need it, masks follow them, and captions are encoded once."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from stages.backends.sdxl import open_pipeline
from stages.backends.train.data import Encoder, Prompts, check_sizes, draw_face_mask, weigh_places
from stages.contracts.train_settings import Train
from stages.contracts.training import Example, Examples
from stages.runtime.errors import UserError
from stages.runtime.pictures import mask_path, write_png


def recipe(base: Path, **changes: object) -> Train:
    return Train.model_validate({"version": "t", "base": base, "resolution": 64, **changes})


def encoder(base: Path, **changes: object) -> Encoder:
    return Encoder(open_pipeline(base, torch.float32).vae, recipe(base, **changes))


def test_a_latent_is_the_scaled_mean_and_the_second_one_its_mirror_image(tiny_base: Path, examples: Examples) -> None:
    encode = encoder(tiny_base).encode
    two = encode(examples.train[:2], "test", flip=True)
    one = encode(examples.train[1:2], "test")
    assert two[1].latents.shape == (2, 8, 16, 16)
    assert torch.equal(two[1].latents[0], one[0].latents[0])
    assert not torch.equal(two[0].latents[0], two[0].latents[1])


def test_with_buckets_a_photo_keeps_its_shape(tiny_base: Path, tmp_path: Path) -> None:
    wide = tmp_path / "wide.png"
    write_png(wide, np.zeros((60, 100, 3), np.uint8))
    buckets = {"enabled": True, "step": 16}
    (bucketed,) = encoder(tiny_base, buckets=buckets).encode([Example(wide, "x")], "test")
    (square,) = encoder(tiny_base).encode([Example(wide, "x")], "test")
    assert bucketed.shape == (8, 12, 20)  # 48 x 80 px, a quarter of each
    assert bucketed.time_ids.tolist() == [60, 100, 0, 0, 48, 80]
    assert square.shape == (8, 16, 16)


def test_a_face_mask_covers_the_box_and_its_margin_and_nothing_else() -> None:
    mask = draw_face_mask(100, 200, (0.4, 0.3, 0.6, 0.7), margin=0.5)
    assert mask[50, 100] == mask[31, 100] == mask[12, 100] == 255  # middle, box, margin
    assert mask[8, 100] == mask[50, 50] == mask[99, 199] == 0


def test_weights_of_places_have_mean_one_and_the_outside_its_share() -> None:
    mask = np.zeros((64, 64), np.uint8)
    mask[:, 32:] = 255
    weights = weigh_places(mask, 0.1, 16, 16)
    assert weights.shape == (1, 16, 16)
    assert float(weights.mean()) == pytest.approx(1.0)
    assert float(weights[0, 0, 0] / weights[0, 0, -1]) == pytest.approx(0.1)


def test_a_mask_is_cropped_and_mirrored_with_its_photo(tiny_base: Path, tmp_path: Path) -> None:
    photo = tmp_path / "photo.png"
    write_png(photo, np.zeros((64, 128, 3), np.uint8))
    mask = np.zeros((64, 128, 3), np.uint8)
    mask[:, 32:64] = 255  # the left half of the middle square
    write_png(mask_path(photo), mask)
    example = Example(photo, "x", mask=mask_path(photo))
    (picture,) = encoder(tiny_base, masks={"source": "files", "outside": 0.0}).encode([example], "test", flip=True)
    assert picture.mask is not None
    assert picture.mask[0, 0, 0].tolist() == [2.0] * 8 + [0.0] * 8
    assert torch.equal(picture.mask[1], picture.mask[0].flip(-1))


def test_a_mask_of_another_size_than_its_photo_is_refused(tiny_base: Path, tmp_path: Path, examples: Examples) -> None:
    mask = tmp_path / "mask.png"
    Image.new("L", (10, 10)).save(mask)
    spoilt = replace(examples.train[0], mask=mask)
    with pytest.raises(UserError, match="10x10, but the photo is"):
        encoder(tiny_base, masks={"source": "files"}).encode([spoilt], "test")


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
    check_sizes(recipe(tiny_base), pipeline)
    with pytest.raises(UserError, match="multiple of 16; try 64"):
        check_sizes(recipe(tiny_base, resolution=72), pipeline)
    with pytest.raises(UserError, match="24 is not a multiple of 16; try 16"):
        check_sizes(recipe(tiny_base, buckets={"enabled": True, "step": 24}), pipeline)
