"""The miniature's CLIP (Radford et al., arXiv:2103.00020): a small CLIPModel that tells which caption fits a picture.

``python -m miniature.clip`` trains it (resumable) on pre-rendered faces, stores it in half precision and measures it.
"""

import string
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import nn
from torch.nn import functional
from transformers import CLIPConfig, CLIPModel, CLIPProcessor, CLIPTokenizer
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from miniature import render, training
from miniature.aids import NO_TARGET, OPTIONS, Aids, attribute_codes, attribute_heads, attribute_loss
from miniature.augment import MEAN, SIZE, STD, augmented_batch, share_at
from miniature.places import TRAINING, VALIDATION, WEIGHTS
from miniature.shards import Shard, open_shard
from miniature.tokenizer import LENGTH, TRIGGER, build_tokenizer

FOLDER = WEIGHTS / "clip"
RECIPE = training.Recipe(
    part="clip", steps=2000, batch=64, learning_rate=1.2e-3, seed=5, warmup=150, decay_from=0.25, weight_decay=0.05,
    ema=0.99, betas=(0.9, 0.98),
)  # fmt: skip
# Colours and backgrounds are enough to tell random captions apart: eyewear, hats and expressions only enter the
# embedding once a text that is wrong in nothing else has to be told from the right one.
TUNING = training.Recipe(
    part="clip-tuning", steps=900, batch=64, learning_rate=6e-4, seed=6, warmup=50, decay_from=0.3, weight_decay=0.05,
    ema=0.99, betas=(0.9, 0.98),
)  # fmt: skip
TRAINING_SEEDS = range(TRAINING.start, TRAINING.start + 20_000)  # the shard that the base model learns from
TRAINING_SCENES = 2
VISION_WIDTH, EMBEDDING = 160, 128
PROXY_SCALE = 10.0  # unit embeddings are too short for a sharp softmax
SLOTS = ("class", "expression", "eyewear", "hat", "garment", "background", "framing", "light")


# --- texts -----------------------------------------------------------------------------------------------------------


def fragments(attributes: dict[str, str]) -> list[str]:
    """A caption's fragment of every slot, "" where there is nothing to say: (len(SLOTS),)."""
    a = attributes
    return [
        f"a {a['class']}", a["expression"], "" if a["eyewear"] == "none" else a["eyewear"],
        "" if a["hat"] == "none" else f"{a['hat_colour']} {a['hat']}", f"{a['garment_colour']} {a['garment']}",
        f"{a['background']} background", a["framing"], f"{a['light']} light",
    ]  # fmt: skip


def build_processor() -> CLIPProcessor:
    """Pictures are squashed to 64 x 64 px with PIL, texts tokenized as for the base model."""
    square = {"height": SIZE, "width": SIZE}
    images = CLIPImageProcessorPil(
        size=square, crop_size=square, do_center_crop=False, image_mean=MEAN.tolist(), image_std=STD.tolist()
    )
    return CLIPProcessor(images, build_tokenizer())


def _name(rng: np.random.Generator) -> str:
    """A made-up name, or the persona's word: both must say nothing."""
    if rng.random() < 0.3:
        return TRIGGER
    return "".join(rng.choice(list(string.ascii_lowercase), rng.integers(3, 9)))


def _prompt(pieces: list[str], rng: np.random.Generator) -> str:
    """Fragments as somebody may write them: mostly a caption, sometimes "a photo of ..." or with a name."""
    pieces = list(pieces)
    if pieces[0].startswith("a ") and rng.random() < 0.3:
        name = f"{_name(rng)} " if rng.random() < 0.5 else ""
        opening = ("a photo of ", "photo of ", "a portrait of ", "")[rng.integers(4)]
        article = "" if name and rng.random() < 0.7 else "a "
        pieces[0] = f"{opening}{article}{name}{pieces[0].removeprefix('a ')}"
    if rng.random() < 0.2:
        pieces = [pieces[i] for i in rng.permutation(len(pieces))]
    return ", ".join(pieces)


def _kept(row: list[str], rng: np.random.Generator) -> list[int]:
    """Which slots a text speaks of: two fifths all of them, the others some of those with something to say."""
    if rng.random() < 0.4:
        return list(range(len(SLOTS)))
    said = [i for i, piece in enumerate(row) if piece]
    return sorted(rng.choice(said, rng.integers(1, len(said)), replace=False).tolist())


def _text(row: list[str], kept: list[int], rng: np.random.Generator) -> str:
    """The fragments of slots ``kept`` as a prompt."""
    return _prompt([row[i] for i in kept if row[i]], rng)


def contradicted(attributes: dict[str, str], kept: list[int], rng: np.random.Generator) -> dict[str, str]:
    """The same attributes but for one, among those of the slots ``kept``, that now is something else."""
    whole = len(kept) == len(SLOTS)  # only a whole caption says by silence that there is no hat
    names = [name for i in kept for name in (SLOTS[i], f"{SLOTS[i]}_colour") if name in OPTIONS]
    if attributes["hat"] == "none":
        names = [name for name in names if name != "hat_colour"]
    name = names[rng.integers(len(names))]
    others = [value for value in OPTIONS[name] if value != attributes[name] and (whole or value != "none")]
    return attributes | {name: others[rng.integers(len(others))]}


# --- model -----------------------------------------------------------------------------------------------------------


def build_model(tokenizer: CLIPTokenizer) -> CLIPModel:
    """About 1.3 million parameters: a ViT with 8 px patches and a two-layer text transformer, 128-d embeddings."""
    text = {
        "vocab_size": len(tokenizer), "hidden_size": 128, "intermediate_size": 256, "num_hidden_layers": 2,
        "num_attention_heads": 4, "max_position_embeddings": LENGTH, "projection_dim": EMBEDDING,
        "bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }  # fmt: skip
    vision = {
        "hidden_size": VISION_WIDTH, "intermediate_size": 320, "num_hidden_layers": 4, "num_attention_heads": 5,
        "image_size": SIZE, "patch_size": 8, "projection_dim": EMBEDDING,
    }  # fmt: skip
    config = CLIPConfig(text_config=text, vision_config=vision, projection_dim=EMBEDDING)
    # On a CPU, eager attention trains these short sequences twice as fast as torch's fused kernel; same maths.
    return CLIPModel._from_config(config, attn_implementation="eager")


class AidedClip(nn.Module):
    """The CLIP with the heads that only training needs, the ``proxies`` in its second part."""

    proxies: nn.ModuleList

    def __init__(self, clip: CLIPModel, proxies: bool = False) -> None:
        super().__init__()
        self.clip = clip
        self.aids = Aids(VISION_WIDTH, VISION_WIDTH)
        self.where = nn.Linear(VISION_WIDTH, len(OPTIONS))  # attention over the patches, one pattern for each attribute
        if proxies:
            self.proxies = attribute_heads(EMBEDDING)

    def aid_loss(self, patches: torch.Tensor, codes: torch.Tensor, landmarks: torch.Tensor) -> torch.Tensor:
        """How badly ``patches`` (B, patches, width) tell the attributes (weight 2) and the landmarks."""
        features = self.where(patches).softmax(1).transpose(1, 2) @ patches
        return 2 * self.aids.attribute_loss(features, codes) + self.aids.landmark_loss(patches, landmarks)

    def proxy_loss(self, embeddings: torch.Tensor, codes: torch.Tensor) -> torch.Tensor:
        """How badly unit ``embeddings`` (B, EMBEDDING), of pictures or texts, tell the attributes.

        Pictures and texts share the classifiers, so both lean towards the same direction for the same attribute.
        """
        features = PROXY_SCALE * embeddings[:, None].expand(-1, len(OPTIONS), -1)
        return attribute_loss(self.proxies, features, codes)


class ClipTask:
    """Symmetric InfoNCE over picture/text pairs, blind to texts that happen to fit another picture as well.

    In its second part, ``tuning``, every picture also meets its own text with one attribute changed (NegCLIP,
    arXiv:2210.01936), embeddings must tell the attributes, and pictures are augmented from the start.
    """

    def __init__(self, tuning: bool = False) -> None:
        self.tuning = tuning
        self.tokenizer = build_tokenizer()
        self.model = AidedClip(build_model(self.tokenizer), proxies=tuning)

    @cached_property
    def shard(self) -> Shard:
        """Training pictures, rendered on first use."""
        return open_shard(TRAINING_SEEDS, TRAINING_SCENES, SIZE)

    @cached_property
    def rows(self) -> list[list[str]]:
        """Every training picture's fragments."""
        return [fragments(attributes) for attributes in self.shard.attributes]

    @cached_property
    def numbers(self) -> list[dict[str, int]]:
        """A number for every fragment, slot by slot."""
        return [{piece: i for i, piece in enumerate(sorted(set(column)))} for column in zip(*self.rows, strict=True)]

    def codes(self, rows: list[list[str]]) -> np.ndarray:
        """Fragments as numbers, to compare claims quickly: int64 (N, len(SLOTS))."""
        return np.array([[of[piece] for of, piece in zip(self.numbers, row, strict=True)] for row in rows])

    @cached_property
    def attributes(self) -> torch.Tensor:
        """Attributes of the training pictures as the aids' targets."""
        return attribute_codes(self.shard.attributes)

    def _texts(self, picked: np.ndarray, rng: np.random.Generator) -> tuple[list[str], np.ndarray, torch.Tensor]:
        """Texts, first the true ones, and what they claim.

        Claims as fragment numbers (texts, len(SLOTS)), -1 where a text says nothing, and as attribute codes
        (texts, len(OPTIONS)), NO_TARGET where it says nothing.
        """
        told = [self.shard.attributes[i] for i in picked]
        kept, texts = [], []
        for attributes in told:
            row = fragments(attributes)
            kept.append(_kept(row, rng))
            texts.append(_text(row, kept[-1], rng))
        if self.tuning:
            false = [contradicted(attributes, slots, rng) for attributes, slots in zip(told, kept, strict=True)]
            texts += [_text(fragments(a), slots, rng) for a, slots in zip(false, kept, strict=True)]
            told, kept = told + false, kept + kept
        silent = np.array([[i not in slots for i in range(len(SLOTS))] for slots in kept])
        claims = np.where(silent, -1, self.codes([fragments(attributes) for attributes in told]))
        slot_of = [SLOTS.index(name.removesuffix("_colour")) for name in OPTIONS]
        codes = attribute_codes(told).masked_fill(torch.from_numpy(silent[:, slot_of]), NO_TARGET)
        return texts, claims, codes

    def loss(self, batch: int, rng: np.random.Generator, noise: torch.Generator, step: int) -> torch.Tensor:
        """Mean picture-to-text and text-to-picture cross-entropy of ``batch`` pairs, with the aids' losses."""
        picked = rng.integers(len(self.shard), size=batch)
        share = share_at(1.0 if self.tuning else step / RECIPE.steps)
        pixels, landmarks = augmented_batch(self.shard, picked, share, rng)
        texts, claims, codes = self._texts(picked, rng)
        tokens = self.tokenizer(texts, padding=True, truncation=True, return_tensors="pt")
        with torch.no_grad():
            self.model.clip.logit_scale.clamp_(max=np.log(100))
        with torch.autocast("cpu", torch.bfloat16):
            out = self.model.clip(pixel_values=pixels, **tokens)
            patches = out.vision_model_output.last_hidden_state[:, 1:]
            aid = self.model.aid_loss(patches, self.attributes[picked], landmarks)
            if self.tuning:
                aid = aid + self.model.proxy_loss(out.image_embeds, self.attributes[picked])
                aid = aid + self.model.proxy_loss(out.text_embeds, codes)
        blind = _fits(claims, self.codes([self.rows[i] for i in picked]))
        return _matching_loss(out.logits_per_image.float(), torch.from_numpy(blind)) + aid


def _matching_loss(logits: torch.Tensor, fits: torch.Tensor) -> torch.Tensor:
    """Symmetric InfoNCE of ``logits`` (pictures, texts): text i is picture i's; other texts that fit are ignored."""
    pictures = len(logits)
    logits = logits.masked_fill(fits.fill_diagonal_(False), -torch.inf)
    target = torch.arange(pictures)
    to_picture = functional.cross_entropy(logits[:, :pictures].T, target)
    return (functional.cross_entropy(logits, target) + to_picture) / 2


def _fits(claims: np.ndarray, codes: np.ndarray) -> np.ndarray:
    """bool (pictures, texts): does the text claim nothing that is false of the picture?"""
    return ((claims[None] == codes[:, None]) | (claims[None] < 0)).all(2)


def build() -> ClipTask:
    """The untrained task (module-level, for ``training.train``)."""
    return ClipTask()


def build_tuning() -> ClipTask:
    """The task of the second part of the training: starts from the end of the first."""
    task = ClipTask(tuning=True)
    task.model.load_state_dict(training.restore(RECIPE.part, build)[0].model.state_dict(), strict=False)  # no proxies
    return task


# --- commands --------------------------------------------------------------------------------------------------------


def save(task: ClipTask, folder: Path = FOLDER) -> Path:
    """Store model (float16) and processor so that CLIPModel and CLIPProcessor load them."""
    build_processor().save_pretrained(folder)
    task.model.clip.half().save_pretrained(folder)
    return folder


def train() -> float:
    """Train both parts to the end, or continue; wall-clock seconds spent so far."""
    seconds = training.train(RECIPE, build)[1]
    return seconds + training.train(TUNING, build_tuning)[1]


def export() -> Path:
    """Store the newest averaged weights: of the tuning, once there are some."""
    tuned = training.checkpoint_path(TUNING.part).exists()
    return save(training.restore(TUNING.part, build_tuning)[0] if tuned else training.restore(RECIPE.part, build)[0])


def load(folder: Path = FOLDER) -> tuple[CLIPModel, CLIPProcessor]:
    """The stored model in float32 and its processor."""
    model = CLIPModel.from_pretrained(folder, dtype=torch.float32).eval()
    return model, CLIPProcessor.from_pretrained(folder, backend="pil")


@torch.inference_mode()
def similarity(model: CLIPModel, processor: CLIPProcessor, images: list, texts: list[str]) -> np.ndarray:
    """Cosine of every picture (PIL or uint8 HWC) with every text: float32 (pictures, texts)."""
    pictures = [image if isinstance(image, Image.Image) else Image.fromarray(image) for image in images]
    inputs = processor(text=texts, images=pictures, padding=True, truncation=True, return_tensors="pt")
    out = model(**inputs)
    return (out.image_embeds @ out.text_embeds.T).numpy()


def measure(count: int = 960) -> dict[str, float]:
    """Figures on unseen identities: best of 32 captions is true; true caption beats one with an attribute changed."""
    model, processor = load()
    rng = np.random.default_rng(17)
    faces = [render.render(render.sample_identity(seed), render.sample_scene(seed), SIZE)
             for seed in VALIDATION[:count]]  # fmt: skip
    hits = swaps = 0
    for start in range(0, count, 32):
        group = faces[start : start + 32]
        changed = [contradicted(face.attributes, list(range(len(SLOTS))), rng) for face in group]
        wrong = [", ".join(filter(None, fragments(attributes))) for attributes in changed]
        cosines = similarity(model, processor, [face.image for face in group], [f.caption for f in group] + wrong)
        hits += int((cosines[:, : len(group)].argmax(1) == np.arange(len(group))).sum())
        swaps += int((np.diag(cosines) > np.diag(cosines[:, len(group) :])).sum())
    return {
        "retrieval_32": hits / count, "one_attribute_changed": swaps / count,
        "parameters": float(sum(p.numel() for p in model.parameters())),
    }  # fmt: skip


if __name__ == "__main__":
    print(f"{train():.0f} s")
    export()
    print(measure())
