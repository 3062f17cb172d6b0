"""The miniature's base model: a small SDXL in diffusers' own classes, trained on rendered faces of 64 px.

    python -m miniature.base train              train, or go on; then write the weights
    python -m miniature.base export --to DIR    the newest checkpoint as a pipeline, also while training runs
    python -m miniature.base montage --to PNG [--model DIR]

v-prediction (Salimans and Ho 2022) with betas rescaled to zero terminal SNR and trailing steps (Lin et al. 2024):
without them few-step sampling starts below full noise and colours follow the seed instead of the prompt.
"""

import argparse
import hashlib
import os
import shutil
from pathlib import Path

import numpy as np
import torch
from diffusers import DDPMScheduler, EulerDiscreteScheduler, StableDiffusionXLPipeline, UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor
from torch import nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from miniature import vae as autoencoder
from miniature.places import VALIDATION, WEIGHTS, part_folder
from miniature.render import Identity, sample_identity
from miniature.shards import Shard, open_shard
from miniature.tokenizer import LENGTH, build_tokenizer
from miniature.training import Recipe, restore
from miniature.training import train as run_recipe

PART = "base"
SIZE = 64  # px, trained size
TEXT_WIDTH = 64  # of each text encoder; the UNet attends to both side by side
TIME_WIDTH = 16  # of each of the six time ids
SNR_CAP = 5.0  # min-SNR-gamma (Hang et al. 2023)
PLAIN_SHARE = 0.05  # of the unweighted loss on top, so that the first, pure-noise step is learnt too
ODD_SIZES = 0.2  # share of samples with arbitrary time ids: they must not matter much
RECIPE = Recipe(
    part=PART, steps=7000, batch=24, learning_rate=1e-3, seed=12, workers=2, decay_from=0.6, ema=0.999,
    checkpoint_every=100,
)  # fmt: skip
SCHEDULE = {
    "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "num_train_timesteps": 1000,
    "prediction_type": "v_prediction", "rescale_betas_zero_snr": True, "timestep_spacing": "trailing",
    "clip_sample": False, "steps_offset": 0,
}  # fmt: skip


HAIR = {
    "long_straight": "long straight {} hair", "long_wavy": "long wavy {} hair", "bob": "a {} bob",
    "curly": "curly {} hair", "short": "short {} hair", "quiff": "a {} quiff", "buzz": "a {} buzz cut",
    "bun": "a {} bun", "ponytail": "a {} ponytail", "braids": "{} braids", "bald": "a bald head",
}  # fmt: skip
HAIR_COLOURS = {
    "black": (28, 24, 28), "brown": (80, 52, 32), "auburn": (148, 60, 30), "ginger": (206, 104, 40),
    "blond": (234, 202, 129), "grey": (158, 158, 164),
}  # fmt: skip
EYE_COLOURS = {
    "brown": (86, 48, 24), "hazel": (136, 88, 34), "green": (62, 138, 72), "blue": (56, 124, 204),
    "grey": (110, 140, 158),
}  # fmt: skip
BEARDS = {"stubble": "stubble", "goatee": "a goatee", "full": "a full beard", "moustache": "a moustache"}
FRINGES = {"full": "a full fringe", "swept": "a swept fringe"}


def nearest_colour(colour: tuple[float, float, float], names: dict[str, tuple[int, int, int]]) -> str:
    """The name of the nearest of the named colours (0-255) to ``colour`` (0-1)."""
    return min(names, key=lambda n: sum((a * 255 - b) ** 2 for a, b in zip(colour, names[n], strict=True)))


def identity_phrases(person: Identity) -> list[str]:
    """What can be said about a person after "with": hair, skin, eyes, beard, marks."""
    hair = nearest_colour((person.hair_red, person.hair_green, person.hair_blue), HAIR_COLOURS)
    eyes = nearest_colour((person.eye_red, person.eye_green, person.eye_blue), EYE_COLOURS)
    skin = "pale" if person.skin_tone < 1 / 3 else "tan" if person.skin_tone < 2 / 3 else "dark"
    phrases = [HAIR[person.hair_style].format(hair), f"{skin} skin", f"{eyes} eyes"]
    phrases += [FRINGES[person.fringe]] if person.fringe in FRINGES and person.hair_style != "bald" else []
    phrases += [BEARDS[person.beard]] if person.beard in BEARDS else []
    phrases += ["a mole"] if person.mole_size > 0.5 else []
    return phrases + (["freckles"] if person.freckles > 0.6 else [])


def training_caption(caption: str, phrases: list[str], rng: np.random.Generator) -> str:
    """The caption as one training step sees it: empty, short, with fragments missing, or with the person described."""
    person, *rest = caption.split(", ")
    dice = rng.random(3)
    if dice[0] < 0.07:  # with the zeros of _conditions, a tenth of the prompts are empty
        return ""
    if phrases and dice[1] < 0.5:
        chosen = rng.permutation(len(phrases))[: rng.integers(1, 4)]
        person += " with " + " and ".join(phrases[i] for i in sorted(chosen))
    rest = [] if dice[2] < 0.05 else [part for part in rest if rng.random() >= 0.1]
    return ", ".join([person, *rest])


def new_unet() -> UNet2DConditionModel:
    """The untrained UNet: 16, 8 and 4 latents wide; attention where it is cheap, on the two coarser levels."""
    return UNet2DConditionModel(
        sample_size=SIZE // 4, in_channels=8, out_channels=8, block_out_channels=(96, 128, 128), layers_per_block=1,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        attention_head_dim=(3, 4, 4),  # diffusers' name for the number of heads
        norm_num_groups=16, cross_attention_dim=2 * TEXT_WIDTH, use_linear_projection=True,
        addition_embed_type="text_time", addition_time_embed_dim=TIME_WIDTH,
        projection_class_embeddings_input_dim=TEXT_WIDTH + 6 * TIME_WIDTH,
    )  # fmt: skip


def text_config() -> CLIPTextConfig:
    """Both text encoders' shape.  SDXL reads the last but one of the three layers, so two of them count."""
    tokenizer = build_tokenizer()
    return CLIPTextConfig(
        vocab_size=len(tokenizer), hidden_size=TEXT_WIDTH, intermediate_size=4 * TEXT_WIDTH, num_hidden_layers=3,
        num_attention_heads=4, max_position_embeddings=LENGTH, projection_dim=TEXT_WIDTH, hidden_act="gelu",
        bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id,
    )  # fmt: skip


def new_model() -> nn.ModuleDict:
    """UNet and text encoders, untrained.

    Plain attention and layout: the backward passes of torch's fused CPU attention and of group norm in channels-last
    layout make a step half as dear again (measured).
    """
    unet = new_unet()
    unet.set_attn_processor(AttnProcessor())
    config = text_config()
    config._attn_implementation = "eager"
    return nn.ModuleDict({
        "unet": unet, "text_encoder": CLIPTextModel(config), "text_encoder_2": CLIPTextModelWithProjection(config),
    })  # fmt: skip


def encode_prompts(model: nn.ModuleDict, ids: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """SDXL's conditions of token ids (N, LENGTH): context (N, LENGTH, 2 * TEXT_WIDTH) and pooled (N, TEXT_WIDTH)."""
    first = model["text_encoder"](ids, output_hidden_states=True)
    second = model["text_encoder_2"](ids, output_hidden_states=True)
    return torch.cat([first.hidden_states[-2], second.hidden_states[-2]], dim=-1), second.text_embeds


def draw_time_ids(batch: int, rng: np.random.Generator) -> torch.Tensor:
    """float (N, 6): original height and width, crop top and left, target height and width; mostly the trained size."""
    ids = np.tile([SIZE, SIZE, 0, 0, SIZE, SIZE], (batch, 1))
    odd = rng.random(batch) < ODD_SIZES
    ids[odd] = rng.integers([48, 48, 0, 0, 48, 48], [257, 257, 33, 33, 129, 129], size=(odd.sum(), 6))
    return torch.from_numpy(ids).float()


def draw_timesteps(batch: int, rng: np.random.Generator) -> torch.Tensor:
    """int64 (N,) in [0, 1000), one from each of N equal slices: less variance than independent draws."""
    return torch.from_numpy(((rng.permutation(batch) + rng.random(batch)) * (1000 / batch)).astype(np.int64))


def loss_weights(signal_to_noise: torch.Tensor) -> torch.Tensor:
    """min(SNR, 5) / (SNR + 1), min-SNR-gamma for v-prediction, plus a share of the plain loss."""
    return signal_to_noise.clamp(max=SNR_CAP) / (signal_to_noise + 1) + PLAIN_SHARE


class BaseTask:
    """Predict the velocity of noised latents from the caption."""

    def __init__(self, latents: np.ndarray, captions: list[str], phrases: list[list[str]]) -> None:
        self.latents, self.captions, self.phrases = latents, captions, phrases
        self.model = new_model()
        self.tokenizer = build_tokenizer()
        self.alphas = DDPMScheduler.from_config(SCHEDULE).alphas_cumprod

    def _token_ids(self, rows: np.ndarray, rng: np.random.Generator) -> torch.Tensor:
        texts = [training_caption(self.captions[row], self.phrases[row], rng) for row in rows]
        return torch.tensor(self.tokenizer(texts, padding="max_length", truncation=True).input_ids)

    def _conditions(self, rows: np.ndarray, rng: np.random.Generator) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        context, pooled = encode_prompts(self.model, self._token_ids(rows, rng))
        # Some samplers encode the empty prompt, others take zeros for it: learn both.
        kept = torch.from_numpy(rng.random(len(rows)) >= 0.03).to(context.dtype)
        added = {"text_embeds": pooled * kept[:, None], "time_ids": draw_time_ids(len(rows), rng)}
        return context * kept[:, None, None], added

    def loss(self, batch: int, rng: np.random.Generator, noise: torch.Generator, step: int) -> torch.Tensor:
        rows = rng.integers(len(self.latents), size=batch)
        clean = torch.from_numpy(self.latents[rows].astype(np.float32))
        timesteps = draw_timesteps(batch, rng)
        alphas = self.alphas[timesteps][:, None, None, None]
        error = torch.randn(clean.shape, generator=noise)
        noised = alphas.sqrt() * clean + (1 - alphas).sqrt() * error
        velocity = alphas.sqrt() * error - (1 - alphas).sqrt() * clean
        with torch.autocast("cpu", dtype=torch.bfloat16):
            context, added = self._conditions(rows, rng)
            predicted = self.model["unet"](noised, timesteps, context, added_cond_kwargs=added).sample
        losses = (predicted.float() - velocity).square().mean(dim=(1, 2, 3))
        alphas = alphas.flatten()
        return (loss_weights(alphas / (1 - alphas)) * losses).mean()


def _encode_in_parts(images: np.ndarray) -> np.ndarray:
    """float16 (N, 8, 16, 16) latents by the trained autoencoder."""
    vae = autoencoder.load()
    parts = [autoencoder.encode(vae, images[i : i + 1000]).numpy().astype(np.float16)
             for i in range(0, len(images), 1000)]  # fmt: skip
    return np.concatenate(parts)


def training_data() -> tuple[np.ndarray, Shard]:
    """Latents of the training faces (encoded on first use), and the shard that they come from."""
    shard = autoencoder.training_shard()
    weights = (autoencoder.trained_folder() / "diffusion_pytorch_model.safetensors").read_bytes()
    path = part_folder(PART) / f"latents-{hashlib.sha256(weights).hexdigest()[:10]}.npy"
    if not path.exists():
        np.save(path.with_suffix(".tmp.npy"), _encode_in_parts(shard.images))
        os.replace(path.with_suffix(".tmp.npy"), path)
    return np.load(path, mmap_mode="r"), shard


def build() -> BaseTask:
    latents, shard = training_data()
    known = {seed: identity_phrases(sample_identity(seed)) for seed in np.unique(shard.identities).tolist()}
    return BaseTask(latents, shard.captions, [known[seed] for seed in shard.identities.tolist()])


def build_empty() -> BaseTask:
    """The task without data: for its model alone."""
    return BaseTask(np.empty((0, 8, 16, 16), np.float16), [], [])


def make_pipeline(model: nn.ModuleDict) -> StableDiffusionXLPipeline:
    """The pipeline around UNet, text encoders and the trained autoencoder, in half precision."""
    return StableDiffusionXLPipeline(
        vae=autoencoder.load().half(), unet=model["unet"].half(),
        text_encoder=model["text_encoder"].half(), text_encoder_2=model["text_encoder_2"].half(),
        tokenizer=build_tokenizer(), tokenizer_2=build_tokenizer(),
        scheduler=EulerDiscreteScheduler.from_config(SCHEDULE),
        force_zeros_for_empty_prompt=False, add_watermarker=False,
    )  # fmt: skip


def export(folder: Path) -> None:
    """Write the newest checkpoint's averaged weights (untrained ones where there is none) as a pipeline."""
    trained = (part_folder(PART) / "training.pt").exists()
    model = restore(PART, build_empty)[0].model if trained else new_model()
    beside, old = folder.with_name(folder.name + ".new"), folder.with_name(folder.name + ".old")
    shutil.rmtree(beside, ignore_errors=True)
    make_pipeline(model).save_pretrained(beside)
    shutil.rmtree(old, ignore_errors=True)
    if folder.exists():
        os.replace(folder, old)
    os.replace(beside, folder)
    shutil.rmtree(old, ignore_errors=True)


def load_pipeline(folder: Path = WEIGHTS / "base") -> StableDiffusionXLPipeline:
    """The stored pipeline in float32, silent."""
    pipeline = StableDiffusionXLPipeline.from_pretrained(folder, dtype=torch.float32, add_watermarker=False)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


@torch.no_grad()
def sample(
    pipeline: StableDiffusionXLPipeline, prompts: list[str], seeds: list[int],
    steps: int = 16, guidance: float = 4.0, batch: int = 16,
) -> np.ndarray:  # fmt: skip
    """One picture per prompt and seed: uint8 (N, 64, 64, 3)."""
    parts = []
    for i in range(0, len(prompts), batch):
        texts = prompts[i : i + batch]
        generators = [torch.Generator().manual_seed(seed) for seed in seeds[i : i + batch]]
        pictures = pipeline(
            texts, negative_prompt=[""] * len(texts), generator=generators, num_inference_steps=steps,
            guidance_scale=guidance, output_type="np", height=SIZE, width=SIZE,
        ).images  # fmt: skip
        parts.append((pictures * 255).round().astype(np.uint8))
    return np.concatenate(parts)


def train() -> None:
    """Train the base, or go on where an earlier run stopped, and write the weights."""
    training_data()  # once, before the workers would each do it
    _, seconds = run_recipe(RECIPE, build)
    export(WEIGHTS / "base")
    print(f"base: {seconds:.0f} s of training, {RECIPE.steps * RECIPE.batch * RECIPE.workers} samples", flush=True)


@torch.no_grad()
def validation_loss(pipeline: StableDiffusionXLPipeline, faces: Shard, repeats: int = 8) -> float:
    """Training's loss on unseen faces, with fixed noise and captions."""
    task = build_empty()
    task.latents = autoencoder.encode(pipeline.vae, faces.images).numpy()
    task.captions, task.phrases = faces.captions, [[] for _ in faces.captions]
    task.model = nn.ModuleDict({n: getattr(pipeline, n) for n in ("unet", "text_encoder", "text_encoder_2")})
    losses = [task.loss(96, np.random.default_rng((1, r)), torch.Generator().manual_seed(r), 0) for r in range(repeats)]
    return float(torch.stack(losses).mean())


def measure() -> dict[str, float]:
    """The denoising loss on 300 people that no training has seen, from the stored weights."""
    faces = open_shard(range(VALIDATION.start, VALIDATION.start + 300), 1)
    return {"base_validation_loss": validation_loss(load_pipeline(), faces)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", choices=("train", "export", "montage", "measure"))
    parser.add_argument("--to", type=Path)
    parser.add_argument("--model", type=Path, default=WEIGHTS / "base")
    arguments = parser.parse_args()
    if arguments.action == "train":
        train()
    elif arguments.action == "export":
        export(arguments.to)
    elif arguments.action == "montage":
        from miniature.montage import write_montage

        write_montage(load_pipeline(arguments.model), arguments.to)
    else:
        print(measure())


if __name__ == "__main__":
    main()
