"""The stored CLIP: loads as CLIP does, tells captions apart, and takes any text."""

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import CLIPModel, CLIPProcessor

from miniature import clip, render
from miniature.places import VALIDATION

UNSEEN = range(VALIDATION.start + 500_000, VALIDATION.start + 500_064)


@pytest.fixture(scope="module")
def loaded():
    """Model and processor from the committed folder."""
    torch.set_num_threads(1)
    return clip.load()


@pytest.fixture(scope="module")
def faces():
    """Faces that no part was trained on."""
    return [render.render(render.sample_identity(s), render.sample_scene(s), 64) for s in UNSEEN]


def test_the_transformers_classes_load_the_folder_as_they_load_the_real_clip():
    model = CLIPModel.from_pretrained(clip.FOLDER)
    processor = CLIPProcessor.from_pretrained(clip.FOLDER)
    assert sum(p.numel() for p in model.parameters()) <= 2_000_000
    assert type(processor.image_processor).__name__ == "CLIPImageProcessorPil"
    inputs = processor(text=["a woman"], images=Image.new("RGB", (90, 120)), padding=True, return_tensors="pt")
    assert model(**inputs).logits_per_image.shape == (1, 1)


def test_the_loaded_tokenizer_gives_the_ids_that_the_model_was_trained_with(loaded):
    built, stored = clip.build_processor().tokenizer, loaded[1].tokenizer
    for text in ("a woman, smiling, red cap, close-up", "photo of amiranoor woman", "Übung 日本語 😀", ""):
        assert built(text)["input_ids"] == stored(text)["input_ids"]


def test_the_right_caption_of_eight_is_preferred(loaded, faces):
    right = 0
    for start in range(0, len(faces), 8):
        group = faces[start : start + 8]
        cosines = clip.similarity(*loaded, [f.image for f in group], [f.caption for f in group])
        right += int((cosines.argmax(1) == np.arange(8)).sum())
    assert right / len(faces) >= 0.9


def test_a_short_prompt_is_enough_to_tell_backgrounds_apart(loaded, faces):
    prompts = [f"{background} background" for background in render.BACKGROUNDS]
    best = clip.similarity(*loaded, [f.image for f in faces], prompts).argmax(1)
    said = [render.BACKGROUNDS[i] for i in best]
    assert np.mean([a == f.attributes["background"] for a, f in zip(said, faces, strict=True)]) >= 0.85


def test_a_name_in_the_prompt_hardly_changes_the_similarity(loaded, faces):
    plain = [f"a photo of a {f.caption.removeprefix('a ')}" for f in faces]
    named = [text.replace("photo of a ", "photo of amiranoor ") for text in plain]
    images = [f.image for f in faces]
    a, b = (np.diag(clip.similarity(*loaded, images, texts)) for texts in (plain, named))
    assert np.abs(a - b).mean() < 0.06


def test_long_and_foreign_prompts_do_not_crash(loaded):
    texts = ["", "a woman, " * 200, "日本語のプロンプト 😀", "Ünïcödé\n\t\x00", "<|endoftext|> a man"]
    cosines = clip.similarity(*loaded, [np.zeros((80, 50, 3), np.uint8)], texts)
    assert cosines.shape == (1, 5)
    assert np.isfinite(cosines).all()
