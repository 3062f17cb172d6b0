"""What several tests share: rendered photos of one person, and the artifacts of a run."""

import csv
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

from miniature import render
from stages.contracts.comparison import METRICS
from stages.contracts.scorecard import PER_IMAGE_COLUMNS, Anchors, Cell, Interval, Scorecard, write_scorecard
from stages.contracts.settings import Grades, Thresholds
from stages.contracts.training import Example, Examples
from stages.runtime.pictures import write_png
from stages.runtime.provenance import hash_json

if TYPE_CHECKING:
    from s3 import S3

# A busy machine is no fault of the code: neither a slow example nor a slow search for one fails a property.
settings.register_profile("pistachio", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("pistachio")


@pytest.fixture(scope="session")
def faces() -> list[np.ndarray]:
    """Sixteen different photos of one person of nobody's training data: uint8 (64, 64, 3) RGB."""
    identity = render.sample_identity(2_000_007)
    return [render.render(identity, render.sample_scene(seed), 64).image for seed in range(16)]


PROMPTS, SEEDS, ANCHORS = 24, (1001, 1002), (0.05, 0.80)


@pytest.fixture
def write_run() -> Callable[..., Scorecard]:
    """Writes what eval writes, scorecard.json and per_image.csv, with scores that resemble a real run's."""
    return _write_run


def _write_run(folder: Path, version: str, *, noise: int = 0, overall: float = 0.72, **shift: float) -> Scorecard:
    """``shift`` moves a metric's mean; ``noise`` seeds what differs from another version picture by picture."""
    rows = _score_pictures(noise, shift)
    cell = Cell(
        base="models/base", mode="lora", checkpoint=400, lora=f"models/lora/{version}.safetensors", guidance=3.0,
        sampler="ddim", strength=1.0, images=8, similarity_mean=0.5, pass_rate=0.3, detection_rate=1.0,
    )  # fmt: skip
    mean = {name: float(np.mean([row[name] for row in rows])) for name in METRICS}
    around = Interval(low=mean["similarity"] - 0.05, high=mean["similarity"] + 0.05)
    anchors = Anchors(base=ANCHORS[0], real=ANCHORS[1])
    scorecard = Scorecard(
        run_id=hash_json([version, noise, shift])[:12], lora_version=version, lora_sha256=hash_json(version),
        protocol="ab" * 32, dataset="persona", dataset_manifest_sha256="cd" * 32,
        training_params={"rank": 16, "optimizer": {"name": version}},
        notes="", images_evaluated=len(rows), face_detection_rate=mean["face_found"],
        face_similarity_mean=mean["similarity"], face_similarity_interval=around, face_similarity_pass=mean["passed"],
        second_similarity_mean=mean["second_similarity"], second_similarity_interval=around, likeness=mean["likeness"],
        likeness_interval=around, second_likeness=mean["second_likeness"], second_likeness_interval=around,
        anchors=anchors, second_anchors=anchors, texture_score=mean["texture_score"],
        color_naturalness_score=mean["color_naturalness_score"], skin_realism_mean=mean["realism_score"],
        prompt_adherence_mean=mean["adherence"], base_prompt_adherence_mean=0.3, overall_score=overall,
        prior_preservation=mean["prior_preservation"], prior_preservation_interval=Interval(low=80.0, high=95.0),
        overall_grade=Grades().of(overall), best_config=cell, worst_config=cell,
        thresholds=Thresholds().model_dump(mode="json"),
        licences={"faces": "non-commercial research only"},
    )  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    write_scorecard(scorecard, folder / "scorecard.json")
    with (folder / "per_image.csv").open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, PER_IMAGE_COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows([row | {"set": "base", "similarity": 0.05, "passed": 0} for row in rows] + rows)
    return scorecard


def _score_pictures(noise: int, shift: dict[str, float]) -> list[dict[str, Any]]:
    """One row per prompt and seed: prompts differ, seeds within a prompt less, versions least."""
    same, own = np.random.default_rng(7), np.random.default_rng([8, noise])
    rows = []
    for prompt in range(PROMPTS):
        easy = same.normal(0, 0.06)
        for seed in SEEDS:
            common, found = same.normal(0, 0.04, 5), float(same.random() < 0.95)
            differs = own.normal(0, 0.02, 5) if noise else np.zeros(5)
            names = ("similarity", "second_similarity", "texture_score", "color_naturalness_score", "adherence")
            level = dict(zip(names, np.array([0.58, 0.5, 0.7, 0.7, 0.3]) + easy + common + differs, strict=True))
            row = {name: (value + shift.get(name, 0.0)) * found for name, value in level.items()}
            row["adherence"] = level["adherence"] + shift.get("adherence", 0.0)
            row["prior_preservation"] = 90 + 100 * float(common[0]) + shift.get("prior_preservation", 0.0)
            row["realism_score"] = float(np.sqrt(abs(row["texture_score"] * row["color_naturalness_score"])))
            row |= {
                f"{judge}likeness": 100 * (row[f"{judge}similarity"] - ANCHORS[0]) / (ANCHORS[1] - ANCHORS[0])
                for judge in ("", "second_")
            }
            rows.append(
                {"set": "lora", "prompt_index": prompt, "prompt": f"prompt {prompt}", "seed": seed,
                 "file": f"lora/{prompt:02d}_{seed}.png", "face_found": int(found),
                 "passed": int(row["similarity"] >= 0.6), **row}
            )  # fmt: skip
    return rows


@pytest.fixture(scope="session")
def tiny_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An SDXL pipeline folder with random weights, the miniature's shape made smaller: for what needs no quality."""
    import torch
    from diffusers import AutoencoderKL, EulerDiscreteScheduler, StableDiffusionXLPipeline, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    from miniature.tokenizer import build_tokenizer

    torch.manual_seed(0)
    tokenizer = build_tokenizer()
    text = CLIPTextConfig(
        vocab_size=len(tokenizer), hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2,
        max_position_embeddings=tokenizer.model_max_length, projection_dim=16, eos_token_id=tokenizer.eos_token_id,
        bos_token_id=tokenizer.bos_token_id, pad_token_id=tokenizer.pad_token_id,
    )  # fmt: skip
    unet = UNet2DConditionModel(
        sample_size=16, in_channels=8, out_channels=8, block_out_channels=(16, 32, 32), layers_per_block=1,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"), attention_head_dim=(2, 4, 4),
        cross_attention_dim=32, norm_num_groups=8, use_linear_projection=True, addition_embed_type="text_time",
        addition_time_embed_dim=8, projection_class_embeddings_input_dim=16 + 6 * 8,
    )  # fmt: skip
    vae = AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 3, up_block_types=("UpDecoderBlock2D",) * 3,
        block_out_channels=(8, 16, 16), layers_per_block=1, latent_channels=8, norm_num_groups=8, sample_size=64,
        mid_block_add_attention=False, force_upcast=False,
    )  # fmt: skip
    with torch.no_grad():
        vae.decoder.conv_out.weight.mul_(20)  # untrained weights draw grey: make differences visible
    scheduler = EulerDiscreteScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", prediction_type="v_prediction",
        rescale_betas_zero_snr=True, timestep_spacing="trailing",
    )  # fmt: skip
    folder = tmp_path_factory.mktemp("base") / "base"
    StableDiffusionXLPipeline(
        vae=vae, unet=unet, text_encoder=CLIPTextModel(text), text_encoder_2=CLIPTextModelWithProjection(text),
        tokenizer=tokenizer, tokenizer_2=build_tokenizer(), scheduler=scheduler, force_zeros_for_empty_prompt=False,
        add_watermarker=False,
    ).save_pretrained(folder)  # fmt: skip
    return folder


sys.path.append(str(Path(__file__).parent))  # drawing.py and workspaces.py: what several tests import


@pytest.fixture(scope="session")
def judges() -> None:
    """Skips where the miniature's judges are not there."""
    from workspaces import HAVE_JUDGES

    if not HAVE_JUDGES:
        pytest.skip("needs the miniature's face pack, second judge and CLIP (make miniature)")


@pytest.fixture
def workspace(judges: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A workspace for sweep and eval, entered."""
    from drawing import Drawing
    from workspaces import make_workspace

    make_workspace(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Drawing, "drawn", 0)
    monkeypatch.setattr(Drawing, "stop_at", None)
    return tmp_path


@pytest.fixture(scope="session")
def examples(faces: list[np.ndarray], tmp_path_factory: pytest.TempPathFactory) -> Examples:
    """Six photos to train on, two to measure with and three class images (of the same person: nobody looks)."""
    folder = tmp_path_factory.mktemp("photos")
    made = []
    for number, face in enumerate(faces[:11]):
        path = folder / f"{number:02d}.png"
        write_png(path, face)
        made.append(Example(path, f"amiranoor, a woman, {'smiling' if number % 2 else 'neutral'}"))
    prior = tuple(Example(example.picture, "a woman, smiling") for example in made[8:])
    return Examples(tuple(made[:6]), tuple(made[6:8]), prior)


@pytest.fixture
def tiny_training(tmp_path: Path, tiny_base: Path, examples: Examples, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A workspace for train, with an untrained base, entered."""
    from workspaces import make_training_workspace

    monkeypatch.chdir(tmp_path)
    make_training_workspace(tiny_base, examples)
    return tmp_path


@pytest.fixture(scope="session")
def trained_lora(tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A LoRA of the tiny base that does something: in place of training, its second matrices are drawn."""
    import torch

    from stages.backends.sdxl import open_pipeline
    from stages.backends.train.adapters import add_lora, export_lora, lora_layers
    from stages.contracts.lora import write_lora
    from stages.contracts.lora_names import TEXT_ENCODER, TEXT_ENCODER_2, UNET
    from stages.contracts.settings import Train

    pipeline = open_pipeline(tiny_base, torch.float32)
    models = {name: getattr(pipeline, name) for name in (UNET, TEXT_ENCODER, TEXT_ENCODER_2)}
    torch.manual_seed(0)
    for name, model in models.items():
        add_lora(name, model, Train(version="t", base=tiny_base, rank=4, layers="all", checkpoint_every=1))
        for _, layer in lora_layers(model):
            torch.nn.init.normal_(layer.lora_B["default"].weight, std=0.3)
    path = tmp_path_factory.mktemp("trained") / "amira.safetensors"
    write_lora(path, export_lora(models, torch.float32), {})
    return path


@pytest.fixture(scope="session")
def s3(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator["S3"]:
    """A real S3 server on loopback; skips, saying why, where Swift cannot be had."""
    from s3 import NoSwift, find_swift, serve_s3

    try:
        python = find_swift(Path(request.config.cache.mkdir("swift")))
        with serve_s3(tmp_path_factory.mktemp("swift"), python) as server:
            yield server
    except NoSwift as error:
        pytest.skip(str(error))
