"""CLIP as a judge of prompt adherence."""

from pathlib import Path

import numpy as np
import pytest

from miniature.places import WEIGHTS
from miniature.render import Render, render, sample_identity, sample_scene
from stages.backends.text_image import open_text_image_judge
from stages.contracts.generation import TextImageJudge
from stages.contracts.settings import Judge, Machine
from stages.runtime.errors import UserError


@pytest.fixture(scope="module")
def clip(judges: None) -> TextImageJudge:
    return open_text_image_judge(Judge(path=WEIGHTS / "clip", licence="test"), Machine(threads=1))


@pytest.fixture(scope="module")
def photos() -> list[Render]:
    return [render(sample_identity(1_700_000 + i), sample_scene(400 + i), 64) for i in range(19)]


def test_a_picture_follows_its_own_caption_more_than_another_s(clip: TextImageJudge, photos: list[Render]) -> None:
    images, captions = [p.image for p in photos], [p.caption for p in photos]
    own, other = clip.adherence(images, captions), clip.adherence(images, captions[1:] + captions[:1])
    assert own.shape == (19,)
    assert own.dtype == np.float32
    assert (np.abs(own) <= 1).all()
    assert own.mean() > other.mean() + 0.2


def test_a_picture_is_judged_alike_alone_and_in_a_crowd(clip: TextImageJudge, photos: list[Render]) -> None:
    crowd = clip.adherence([p.image for p in photos], [p.caption for p in photos])
    alone = np.concatenate([clip.adherence([p.image], [p.caption]) for p in photos[:5]])
    assert np.array_equal(crowd[:5], alone)


def test_a_prompt_that_is_too_long_is_cut_and_no_pictures_are_no_figures(
    clip: TextImageJudge, photos: list[Render]
) -> None:
    assert np.isfinite(clip.adherence([photos[0].image], ["red shirt, " * 200])).all()
    assert clip.adherence([], []).shape == (0,)


def test_pictures_that_show_the_same_are_nearer_than_others(clip: TextImageJudge, photos: list[Render]) -> None:
    images = [p.image for p in photos]
    plain, mirrored = clip.embed_images(images), clip.embed_images([image[:, ::-1] for image in images])
    assert plain.dtype == np.float32
    assert np.allclose(np.linalg.norm(plain, axis=1), 1, atol=1e-5)
    cosines = plain @ mirrored.T
    assert (cosines.argmax(axis=1) == np.arange(len(photos))).all()
    assert np.diag(cosines).min() > 0.9


def test_a_picture_is_embedded_alike_alone_and_in_a_crowd(clip: TextImageJudge, photos: list[Render]) -> None:
    images = [p.image for p in photos]
    alone = np.concatenate([clip.embed_images([image]) for image in images[:5]])
    assert np.array_equal(clip.embed_images(images)[:5], alone)
    assert clip.embed_images([]).shape == (0, alone.shape[1])


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no CLIP model"):
        open_text_image_judge(Judge(path=tmp_path, licence="test"), Machine(threads=1))


def test_the_probabilities_of_labels_are_the_softmax_of_clip_s_own_logits(
    clip: TextImageJudge, photos: list[Render]
) -> None:
    import torch
    from transformers import CLIPModel

    texts = ["a red background", "a woman", "a man with a beard", "blue eyes", "sunglasses"]
    shown = clip.embed_images([p.image for p in photos[:3]])
    found = clip.choose(shown, texts)
    scale = float(CLIPModel.from_pretrained(WEIGHTS / "clip", local_files_only=True).logit_scale.detach().exp())
    expected = torch.softmax(torch.tensor(scale * shown @ clip.embed_texts(texts).T), dim=1).numpy()
    assert found.shape == (3, 5)
    np.testing.assert_allclose(found, expected, rtol=2e-3)  # the scale multiplies what float32 rounds
    np.testing.assert_allclose(found.sum(axis=1), 1, rtol=1e-5)
