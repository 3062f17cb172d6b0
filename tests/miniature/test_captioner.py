"""The stored captioner: loads as BLIP-2 does, reads unseen faces, and its captions can be taken apart."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import Blip2ForConditionalGeneration, Blip2Processor

from miniature import captioner, render
from miniature.places import VALIDATION

UNSEEN = range(VALIDATION.start + 500_000, VALIDATION.start + 500_020)


@pytest.fixture(scope="module")
def loaded():
    """Model and processor from the committed folder."""
    torch.set_num_threads(1)
    return captioner.load()


def test_the_transformers_classes_load_the_folder_as_they_load_the_real_captioner():
    model = Blip2ForConditionalGeneration.from_pretrained(captioner.FOLDER)
    processor = Blip2Processor.from_pretrained(captioner.FOLDER)
    assert sum(p.numel() for p in model.parameters()) <= 3_000_000
    assert model.config.image_token_index == processor.tokenizer.convert_tokens_to_ids("<image>")
    assert type(processor.image_processor).__name__ == "BlipImageProcessorPil"


def test_the_weights_are_stored_in_half_precision():
    header = (captioner.FOLDER / "model.safetensors").read_bytes()
    length = int.from_bytes(header[:8], "little")
    kinds = {entry["dtype"] for name, entry in json.loads(header[8 : 8 + length]).items() if name != "__metadata__"}
    assert kinds == {"F16"}


def test_twenty_unseen_faces_are_captioned_with_most_attributes_right(loaded):
    faces = [render.render(render.sample_identity(s), render.sample_scene(s), 64) for s in UNSEEN]
    texts = captioner.caption(*loaded, [face.image for face in faces])
    hits = [
        hit
        for text, face in zip(texts, faces, strict=True)
        for hit in captioner.attribute_hits(captioner.parse_caption(text), face.attributes).values()
    ]
    assert np.mean(hits) >= 0.85


def test_pictures_of_other_sizes_and_shapes_are_read_too(loaded):
    shapes = [(96, 64), (64, 96), (192, 192), (128, 96)]
    faces = [
        render.render(render.sample_identity(s), render.sample_scene(s), *shapes[i % len(shapes)])
        for i, s in enumerate(UNSEEN)
    ]
    texts = captioner.caption(*loaded, [Image.fromarray(face.image) for face in faces])
    hits = [
        hit
        for text, face in zip(texts, faces, strict=True)
        for hit in captioner.attribute_hits(captioner.parse_caption(text), face.attributes).values()
    ]
    assert np.mean(hits) >= 0.8


def test_the_processor_and_generate_are_called_as_for_the_real_captioner(loaded):
    model, processor = loaded
    inputs = processor(images=Image.new("RGB", (300, 200), "grey"), return_tensors="pt")
    texts = processor.batch_decode(model.generate(**inputs, max_new_tokens=40), skip_special_tokens=True)
    assert len(texts) == 1
    assert texts[0].strip().startswith("a ")


def test_a_text_prompt_is_continued_to_a_caption(loaded):
    model, processor = loaded
    face = render.render(render.sample_identity(UNSEEN[0]), render.sample_scene(UNSEEN[0]), 64)
    inputs = processor(images=Image.fromarray(face.image), text="a photo of", return_tensors="pt")
    text = processor.batch_decode(model.generate(**inputs, max_new_tokens=40), skip_special_tokens=True)[0].strip()
    said = captioner.parse_caption(text.removeprefix("a photo of"))
    assert said["background"] == face.attributes["background"]


def test_any_text_tokenizes_and_comes_back(loaded):
    tokenizer = loaded[1].tokenizer
    for text in ("a woman, smiling", "Übung 日本語 😀", "", "x" * 500):
        assert tokenizer.decode(tokenizer(text)["input_ids"], skip_special_tokens=True) == text


def test_parsing_a_caption_inverts_describing_a_scene():
    for seed in range(2000):
        identity, scene = render.sample_identity(seed), render.sample_scene(seed)
        said = captioner.parse_caption(render.describe(identity, scene))
        assert said["class"] == identity.class_word
        assert said["hat_colour"] == (scene.hat_colour if scene.hat != "none" else "none")
        for name in set(captioner.ATTRIBUTES) - {"class", "hat_colour"}:
            assert said[name] == getattr(scene, name)


def test_parsing_takes_any_text_and_calls_what_it_does_not_find_none():
    for text in ("", ",,,", "a dog, flying", "red", "red cap", "  A Woman , SMILING "):
        assert set(captioner.parse_caption(text)) == set(captioner.ATTRIBUTES)
    assert set(captioner.parse_caption("a dog, flying, red car").values()) == {"none"}
    assert captioner.parse_caption(" A Woman , SMILING,red cap ")["hat_colour"] == "red"
