"""The miniature's captioner: a small BLIP-2 (Li et al., arXiv:2301.12597), trained end to end on pre-rendered faces.

``python -m miniature.captioner`` trains it (resumable), stores it in half precision and measures it.  It is loaded and
called as Salesforce/blip2-opt-2.7b is.
"""

import json
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from tokenizers import pre_tokenizers, trainers
from torch import nn
from transformers import Blip2Config, Blip2ForConditionalGeneration, Blip2Processor, GPT2Tokenizer, OPTConfig
from transformers.models.blip.image_processing_pil_blip import BlipImageProcessorPil

from miniature import render, training
from miniature.aids import OPTIONS, Aids, attribute_codes
from miniature.augment import MEAN, SIZE, STD, augmented_batch, share_at
from miniature.places import TRAINING, VALIDATION, WEIGHTS
from miniature.shards import Shard, open_shard

FOLDER = WEIGHTS / "captioner"
RECIPE = training.Recipe(
    part="captioner", steps=2600, batch=40, learning_rate=1.2e-3, seed=7, warmup=150, decay_from=0.25,
    weight_decay=0.05, ema=0.99, betas=(0.9, 0.98),
)  # fmt: skip
TRAINING_SEEDS = range(TRAINING.start, TRAINING.start + 20_000)  # the shard that the base model learns from
TRAINING_SCENES = 2
VISION_WIDTH, QUERY_WIDTH = 160, 128
QUERIES = len(OPTIONS)  # Q-Former tokens that the language model sees: one may care for each attribute
CAPTION_WEIGHT = 2.0  # a caption has more than twice as many tokens as attributes
MAX_NEW_TOKENS = 40  # the longest caption has 26
ATTRIBUTES = tuple(OPTIONS)


# --- texts -----------------------------------------------------------------------------------------------------------


def _coloured(piece: str, things: tuple[str, ...]) -> tuple[str, str] | None:
    """("cap", "red") of "red cap" when "cap" is among ``things``."""
    for thing in things:
        if piece.endswith(f" {thing}"):
            return thing, piece.removesuffix(f" {thing}")
    return None


def parse_caption(text: str) -> dict[str, str]:
    """Attributes that a caption names, "none" where it does not: the inverse of ``render.describe``.

    Takes any text: fragments it does not know are ignored, the first mention counts.
    """
    found: dict[str, str] = {}
    for piece in (part.strip() for part in text.strip().lower().split(",")):
        if piece in ("a woman", "a man"):
            found.setdefault("class", piece.removeprefix("a "))
        elif piece.endswith(" background"):
            found.setdefault("background", piece.removesuffix(" background"))
        elif piece.endswith(" light"):
            found.setdefault("light", piece.removesuffix(" light"))
        for name, options in (
            ("expression", render.EXPRESSIONS), ("eyewear", render.EYEWEAR), ("framing", render.FRAMINGS),
        ):  # fmt: skip
            if piece in options:
                found.setdefault(name, piece)
        for name, things in (("hat", render.HATS[1:]), ("garment", render.GARMENTS)):
            if name not in found and (match := _coloured(piece, things)):
                found[name], found[f"{name}_colour"] = match
    return {name: found.get(name, "none") for name in ATTRIBUTES}


def attribute_hits(said: dict[str, str], true: dict[str, str]) -> dict[str, bool]:
    """Which attributes are right; the hat's colour counts only where there is a hat."""
    return {
        name: said[name] == true[name] for name in ATTRIBUTES if name != "hat_colour" or true["hat"] != "none"
    }  # fmt: skip


def _vocabulary_texts() -> Iterable[str]:
    """Every word of a caption, with the blank before it, as it stands inside one."""
    for group in (render.EXPRESSIONS, render.EYEWEAR, render.HATS, render.GARMENTS, render.COLOURS, render.BACKGROUNDS,
                  render.FRAMINGS, render.LIGHTS):  # fmt: skip
        yield from (f" {word}" for word in group)
    yield "a woman, a man, background light a photo of a woman"


def build_tokenizer() -> GPT2Tokenizer:
    """OPT's format: byte-level BPE with <s>, <pad>, </s>, <unk> as 0 to 3, </s> in front; world words are one token."""
    specials = ["<s>", "<pad>", "</s>", "<unk>"]
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    learner = GPT2Tokenizer().backend_tokenizer
    learner.train_from_iterator(
        _vocabulary_texts(), trainers.BpeTrainer(vocab_size=4000, min_frequency=1, initial_alphabet=alphabet,
                                                 show_progress=False),
    )  # fmt: skip
    merges: Any = [tuple(pair) for pair in json.loads(learner.to_str())["model"]["merges"]]
    pieces = [*specials, *alphabet, *("".join(pair) for pair in merges), "<image>"]
    vocab = {piece: number for number, piece in enumerate(dict.fromkeys(pieces))}
    return GPT2Tokenizer(
        vocab=vocab, merges=merges, unk_token="<unk>", bos_token="</s>", eos_token="</s>", pad_token="<pad>",
        add_bos_token=True, padding_side="left", model_max_length=128,
    )  # fmt: skip


def build_processor() -> Blip2Processor:
    """Pictures of any size are squashed to 64 x 64 px with PIL; texts become prompts after the picture's tokens."""
    images = BlipImageProcessorPil(
        size={"height": SIZE, "width": SIZE}, image_mean=MEAN.tolist(), image_std=STD.tolist()
    )
    return Blip2Processor(images, build_tokenizer(), num_query_tokens=QUERIES)


# --- model -----------------------------------------------------------------------------------------------------------


def build_model(tokenizer: GPT2Tokenizer) -> Blip2ForConditionalGeneration:
    """About 2 million parameters: ViT with 8 px patches, Q-Former, OPT."""
    vision = {
        "hidden_size": VISION_WIDTH, "intermediate_size": 320, "num_hidden_layers": 4, "num_attention_heads": 5,
        "image_size": SIZE, "patch_size": 8, "initializer_range": 0.02,
    }  # fmt: skip
    queries = {
        "vocab_size": 4, "hidden_size": QUERY_WIDTH, "intermediate_size": 256, "num_hidden_layers": 2,
        "num_attention_heads": 4, "max_position_embeddings": 8, "cross_attention_frequency": 1,
        "hidden_dropout_prob": 0.0,
        "attention_probs_dropout_prob": 0.0,
    }  # fmt: skip
    text = OPTConfig(
        vocab_size=len(tokenizer), hidden_size=128, ffn_dim=256, num_hidden_layers=2, num_attention_heads=4,
        max_position_embeddings=256, dropout=0.0, bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id,
    )  # fmt: skip
    config = Blip2Config(
        vision_config=vision, qformer_config=queries, text_config=text, num_query_tokens=QUERIES,
        image_token_index=tokenizer.get_vocab()["<image>"],
    )  # fmt: skip
    # On a CPU, eager attention trains these short sequences twice as fast as torch's fused kernel; same maths.
    model = Blip2ForConditionalGeneration._from_config(config, attn_implementation="eager")
    # transformers starts the queries at zero: they would all be the same, and the layer norm's gradient explodes.
    nn.init.normal_(model.query_tokens)
    return model


def _tokens(tokenizer: GPT2Tokenizer, captions: list[str], rng: np.random.Generator) -> dict[str, torch.Tensor]:
    """Teacher-forcing batch [<image> x QUERIES, </s>, caption, </s>, padding]; a tenth start with "a photo of".

    The loss sees the caption and its end, not the prompt.
    """
    image = tokenizer.get_vocab()["<image>"]
    rows = []
    for caption in captions:
        prompt = "a photo of" if rng.random() < 0.1 else ""
        start = [image] * QUERIES + tokenizer(prompt)["input_ids"]
        target = tokenizer(f" {caption}" if prompt else caption, add_special_tokens=False)["input_ids"]
        rows.append((start, [*target, tokenizer.eos_token_id]))
    length = max(len(start) + len(target) for start, target in rows)
    ids = torch.full((len(rows), length), tokenizer.pad_token_id)
    labels = torch.full_like(ids, -100)
    for i, (start, target) in enumerate(rows):
        end = len(start) + len(target)
        ids[i, :end] = torch.tensor(start + target)
        labels[i, len(start) : end] = torch.tensor(target)
    return {"input_ids": ids, "attention_mask": (ids != tokenizer.pad_token_id).long(), "labels": labels}


class AidedCaptioner(nn.Module):
    """The captioner with the heads that only training needs."""

    def __init__(self, captioner: Blip2ForConditionalGeneration) -> None:
        super().__init__()
        self.captioner = captioner
        self.aids = Aids(VISION_WIDTH, QUERY_WIDTH)


class CaptionerTask:
    """Next-token loss of the caption given the augmented picture, with the aids' losses; every parameter learns."""

    def __init__(self) -> None:
        self.tokenizer = build_tokenizer()
        self.model = AidedCaptioner(build_model(self.tokenizer))

    @cached_property
    def shard(self) -> Shard:
        """Training pictures, rendered on first use."""
        return open_shard(TRAINING_SEEDS, TRAINING_SCENES, SIZE)

    @cached_property
    def codes(self) -> torch.Tensor:
        """Attributes of the training pictures as numbers."""
        return attribute_codes(self.shard.attributes)

    def loss(self, batch: int, rng: np.random.Generator, noise: torch.Generator, step: int) -> torch.Tensor:
        """Mean over ``batch`` pictures of the losses of caption (per token), attributes and landmarks."""
        rows = rng.integers(len(self.shard), size=batch)
        pixels, landmarks = augmented_batch(self.shard, rows, share_at(step / RECIPE.steps), rng)
        texts = _tokens(self.tokenizer, [self.shard.captions[row] for row in rows], rng)
        with torch.autocast("cpu", torch.bfloat16):
            out = self.model.captioner(pixel_values=pixels, **texts)
            patches = out.vision_outputs.last_hidden_state[:, 1:]
            places = self.model.aids.landmark_loss(patches, landmarks)
            attributes = self.model.aids.attribute_loss(out.qformer_outputs.last_hidden_state, self.codes[rows])
        return CAPTION_WEIGHT * out.loss + attributes + places


def build() -> CaptionerTask:
    """The untrained task (module-level, for ``training.train``)."""
    return CaptionerTask()


# --- commands --------------------------------------------------------------------------------------------------------


def save(task: CaptionerTask, folder: Path = FOLDER) -> Path:
    """Store model (float16) and processor so that the Blip2 classes load them."""
    build_processor().save_pretrained(folder)
    task.model.captioner.half().save_pretrained(folder)
    return folder


def train() -> float:
    """Train to the end, or continue; wall-clock seconds spent so far."""
    return training.train(RECIPE, build)[1]


def export() -> Path:
    """Store the newest checkpoint's averaged weights."""
    return save(training.restore(RECIPE.part, build)[0])


def load(folder: Path = FOLDER) -> tuple[Blip2ForConditionalGeneration, Blip2Processor]:
    """The stored model in float32 and its processor."""
    model = Blip2ForConditionalGeneration.from_pretrained(folder, dtype=torch.float32).eval()
    return model, Blip2Processor.from_pretrained(folder, backend="pil")


def caption(
    model: Blip2ForConditionalGeneration, processor: Blip2Processor, images: list[np.ndarray | Image.Image]
) -> list[str]:
    """Greedy captions of pictures (PIL, or uint8 HWC RGB) of any size."""
    pictures = [image if isinstance(image, Image.Image) else Image.fromarray(image) for image in images]
    inputs = processor(images=pictures, return_tensors="pt")
    ids = model.generate(**inputs, max_new_tokens=MAX_NEW_TOKENS, do_sample=False)
    return [text.strip() for text in processor.batch_decode(ids, skip_special_tokens=True)]


def accuracies(model, processor, faces: list[render.Render], batch: int = 100) -> dict[str, float]:
    """Share of right attributes, by attribute, in greedy captions of ``faces``."""
    hits: dict[str, list[bool]] = {name: [] for name in ATTRIBUTES}
    for start in range(0, len(faces), batch):
        group = faces[start : start + batch]
        for text, face in zip(caption(model, processor, [f.image for f in group]), group, strict=True):
            for name, hit in attribute_hits(parse_caption(text), face.attributes).items():
                hits[name].append(hit)
    return {name: float(np.mean(values)) for name, values in hits.items()}


def _faces(seeds: Iterable[int], width: int, height: int) -> list[render.Render]:
    return [render.render(render.sample_identity(s), render.sample_scene(s), width, height) for s in seeds]


def measure(count: int = 500) -> dict[str, float]:
    """Mean and single attribute accuracies on unseen identities, and the mean on larger and non-square pictures."""
    model, processor = load()
    single = accuracies(model, processor, _faces(VALIDATION[:count], SIZE, SIZE))
    figures = {"attributes": float(np.mean(list(single.values())))}
    figures |= {f"attribute_{name}": value for name, value in single.items()}
    for width, height in ((128, 128), (64, 96), (96, 64)):
        other = accuracies(model, processor, _faces(VALIDATION[count : count + count // 5], width, height))
        figures[f"attributes_{width}x{height}"] = float(np.mean(list(other.values())))
    figures["parameters"] = float(sum(p.numel() for p in model.parameters()))
    return figures


if __name__ == "__main__":
    print(f"{train():.0f} s")
    export()
    print(measure())
