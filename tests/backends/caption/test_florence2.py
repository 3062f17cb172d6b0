"""Florence-2's real classes, small enough to learn five colours here, saved and opened as the published folders are."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tokenizers import pre_tokenizers, trainers
from transformers import (
    BartConfig,
    BartTokenizer,
    Florence2Config,
    Florence2ForConditionalGeneration,
    Florence2Processor,
)
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from stages.backends.caption import open_captioner
from stages.contracts.settings import Caption, Dataset, Machine
from stages.runtime.errors import UserError

COLOURS = {"red": (220, 30, 30), "green": (30, 200, 30), "blue": (30, 30, 220), "white": (250, 250, 250),
           "black": (5, 5, 5)}  # fmt: skip
SAID = {
    "<CAPTION>": "a {} wall",
    "<DETAILED_CAPTION>": "The image shows a wall that is {}.",
    "<MORE_DETAILED_CAPTION>": "The image shows a wall.\nIt is {}, and nobody is there.",
}
QUESTIONS = "What does the image describe? Describe in detail with a paragraph what is shown in the image."
SIDE = 64
DATASET = Dataset(name="x", photos=Path("data/photos"), trigger="amiranoor", class_word="woman")


def wall(colour: str, height: int, width: int, seed: int = 0) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(0, 8, (height, width, 3))
    return np.clip(np.array(COLOURS[colour]) + noise, 0, 255).astype(np.uint8)


def build_processor() -> Florence2Processor:
    """BART's byte-level tokenizer with an image token, and CLIP's picture reader that says how many tokens one is."""
    learner = BartTokenizer().backend_tokenizer
    texts = [QUESTIONS, *SAID.values(), *(f" {colour}" for colour in COLOURS)]
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    learner.train_from_iterator(
        texts, trainers.BpeTrainer(vocab_size=600, initial_alphabet=alphabet, show_progress=False)
    )
    merges: Any = [tuple(pair) for pair in json.loads(learner.to_str())["model"]["merges"]]
    pieces = ["<s>", "<pad>", "</s>", "<unk>", "<mask>", *alphabet, *("".join(pair) for pair in merges), "<image>"]
    vocab = {piece: number for number, piece in enumerate(dict.fromkeys(pieces))}
    tokenizer = BartTokenizer(vocab=vocab, merges=merges, extra_special_tokens={"image_token": "<image>"})
    pictures = CLIPImageProcessorPil(size={"height": SIDE, "width": SIDE}, do_center_crop=False)
    pictures.image_seq_length = (SIDE // 8) ** 2 + 1
    return Florence2Processor(pictures, tokenizer, post_processor_config={"pure_text": {}})


def build_model(processor: Florence2Processor) -> Florence2ForConditionalGeneration:
    tokenizer = processor.tokenizer
    vision = {
        "depths": (1, 1), "patch_size": (7, 3), "patch_stride": (4, 2), "patch_padding": (3, 1),
        "patch_prenorm": (False, True), "embed_dim": (16, 32), "num_heads": (2, 2), "num_groups": (2, 2),
        "window_size": 4, "projection_dim": 32, "drop_path_rate": 0.0, "initializer_range": 0.1,
    }  # fmt: skip
    text = BartConfig(
        vocab_size=len(tokenizer), d_model=32, encoder_layers=1, decoder_layers=1, encoder_attention_heads=2,
        decoder_attention_heads=2, encoder_ffn_dim=64, decoder_ffn_dim=64, max_position_embeddings=256, dropout=0.0,
        bos_token_id=0, pad_token_id=1, eos_token_id=2, decoder_start_token_id=2, forced_eos_token_id=None,
        init_std=0.1,
    )  # fmt: skip
    config = Florence2Config(
        vision_config=vision, text_config=text.to_dict(), image_token_id=tokenizer.convert_tokens_to_ids("<image>")
    )
    return Florence2ForConditionalGeneration(config)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in the published layout whose model has learnt to name the colour of a wall in three lengths."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    processor = build_processor()
    model = build_model(processor).train()
    optimizer = torch.optim.AdamW(model.parameters(), 3e-3)
    lessons = []
    for number, (task, said) in enumerate(SAID.items()):
        inputs = processor(
            images=[wall(colour, 50, 40, number) for colour in COLOURS], text=[task] * len(COLOURS), return_tensors="pt"
        )
        spoken = processor.tokenizer([said.format(c) for c in COLOURS], return_tensors="pt", padding=True)
        lessons.append((inputs, spoken["input_ids"].masked_fill(spoken["attention_mask"] == 0, -100)))
    for step in range(300):
        inputs, labels = lessons[step % len(lessons)]
        model(**inputs, labels=labels).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    path = tmp_path_factory.mktemp("models") / "florence 2"
    model.eval().save_pretrained(path)
    processor.save_pretrained(path)
    return path


def captions(model: Path | None, images: list[np.ndarray], **caption: Any) -> list[str]:
    settings = Caption(backend="florence2", model=model, **caption)
    return list(open_captioner(settings, DATASET, Machine(threads=1)).captions(images))


def copy_of(folder: Path, path: Path) -> Path:
    return Path(shutil.copytree(folder, path / "broken"))


@pytest.mark.parametrize("beams", [1, 3])
@pytest.mark.parametrize("task", SAID)
def test_florence2_says_what_is_in_the_picture_as_long_as_the_task_asks(folder: Path, task: str, beams: int) -> None:
    walls = [wall(colour, 70, 60, seed=9) for colour in COLOURS]
    expected = [" ".join(SAID[task].format(colour).split()) for colour in COLOURS]
    assert captions(folder, walls, task=task, beams=beams) == expected


@pytest.mark.parametrize("beams", [1, 3])
def test_a_florence2_caption_depends_on_its_picture_alone(folder: Path, beams: int) -> None:
    noise = np.random.default_rng(3)
    pictures = [noise.integers(0, 256, (40 + 9 * i, 70 - 5 * i, 3), dtype=np.uint8) for i in range(3)]
    pictures += [wall(colour, 33, 80, seed=4) for colour in COLOURS]
    by_four = captions(folder, pictures, beams=beams)
    assert len(set(by_four)) >= 5
    assert captions(folder, pictures, beams=beams, micro_batch=1) == by_four
    assert captions(folder, pictures[::-1], beams=beams, micro_batch=16) == by_four[::-1]
    assert captions(folder, pictures[5:], beams=beams) == by_four[5:]
    assert captions(folder, []) == []


def test_a_caption_ends_after_the_tokens_it_may_have(folder: Path) -> None:
    (short,) = captions(folder, [wall("red", 50, 50)], max_new_tokens=4)
    assert short
    assert len(short) < len(SAID["<DETAILED_CAPTION>"])


def test_a_folder_that_is_missing_or_not_set_is_refused(tmp_path: Path) -> None:
    for model in (None, tmp_path / "nowhere", Path("florence-community/Florence-2-large")):
        with pytest.raises(UserError, match=r"not set|no model folder") as caught:
            captions(model, [])
        assert "caption.model" in caught.value.line
        assert "transformers' layout" in caught.value.line


def test_a_model_of_another_family_is_refused_by_its_name(folder: Path) -> None:
    blip2 = Path(__file__).parents[3] / "miniature" / "weights" / "captioner"
    with pytest.raises(UserError, match=r"not a Florence-2 model \(config.json says 'blip-2'\)"):
        captions(blip2, [])
    settings = Caption(backend="blip2", model=folder)
    with pytest.raises(UserError, match=r"not a BLIP-2 model \(config.json says 'florence2'\)"):
        open_captioner(settings, DATASET, Machine(threads=1))


def test_microsoft_s_own_layout_is_refused_on_one_short_line(folder: Path, tmp_path: Path) -> None:
    theirs = copy_of(folder, tmp_path)
    config = {"model_type": "florence2", "text_config": {"model_type": "florence2_language", "d_model": 32},
              "vision_config": {"model_type": "davit", "dim_embed": [16, 32]}}  # fmt: skip
    (theirs / "config.json").write_text(json.dumps(config))
    with pytest.raises(UserError, match="not a Florence-2 model that can be loaded") as caught:
        captions(theirs, [])
    assert len(caught.value.line) < 600
    assert "florence-community" in caught.value.line


@pytest.mark.parametrize("text", ["{ no json", "[]", '{"text_config": {}}'])
def test_a_config_that_says_nothing_is_refused(folder: Path, tmp_path: Path, text: str) -> None:
    broken = copy_of(folder, tmp_path)
    (broken / "config.json").write_text(text)
    with pytest.raises(UserError, match="config.json names no model_type"):
        captions(broken, [])


@pytest.mark.parametrize("file", ["model.safetensors", "tokenizer.json", "processor_config.json"])
def test_a_folder_that_lacks_a_file_is_refused(folder: Path, tmp_path: Path, file: str) -> None:
    broken = copy_of(folder, tmp_path)
    (broken / file).unlink()
    with pytest.raises(UserError, match=r"not a Florence-2 model that can be loaded|the tokenizer is not the model's"):
        captions(broken, [])


def test_a_torn_weights_file_is_refused(folder: Path, tmp_path: Path) -> None:
    broken = copy_of(folder, tmp_path)
    weights = broken / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(UserError, match="not a Florence-2 model that can be loaded"):
        captions(broken, [])


def test_weights_of_another_shape_are_refused(folder: Path, tmp_path: Path) -> None:
    broken = copy_of(folder, tmp_path)
    config = json.loads((broken / "config.json").read_text())
    config["text_config"]["d_model"] = 64
    (broken / "config.json").write_text(json.dumps(config))
    with pytest.raises(UserError, match="not a Florence-2 model that can be loaded"):
        captions(broken, [])


def test_weights_that_are_not_all_there_are_refused_instead_of_being_filled_with_noise(
    folder: Path, tmp_path: Path
) -> None:
    from safetensors.torch import load_file, save_file

    broken = copy_of(folder, tmp_path)
    tensors = load_file(broken / "model.safetensors")
    kept = {name: tensor for name, tensor in tensors.items() if "image_projection" not in name}
    assert 0 < len(kept) < len(tensors)
    save_file(kept, broken / "model.safetensors", {"format": "pt"})
    with pytest.raises(UserError, match=r"not a Florence-2 model: \d+ weights are missing"):
        captions(broken, [])


def test_a_gpu_that_is_not_there_is_refused(folder: Path) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is one")
    with pytest.raises(UserError, match="no GPU that torch can use"):
        open_captioner(Caption(backend="florence2", model=folder), DATASET, Machine(device="cuda"))
