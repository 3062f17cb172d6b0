"""A picture depends on its request alone, and a LoRA file draws what the trainer's own model draws."""

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from stages.backends.generate import open_generator
from stages.backends.generate.lora import Layer
from stages.backends.generate.samplers import SAMPLERS, open_sampler
from stages.backends.sdxl import open_pipeline
from stages.backends.train.adapters import add_lora, export_lora, lora_layers
from stages.contracts.generation import Generator, ImageRequest
from stages.contracts.lora import write_lora
from stages.contracts.lora_names import TEXT_ENCODER, TEXT_ENCODER_2, UNET
from stages.contracts.settings import Machine, Train
from stages.runtime.errors import UserError


@pytest.fixture(scope="module")
def generator() -> Generator:
    return open_generator("diffusers", Machine(threads=1), 3)


@pytest.fixture(scope="module")
def request_one(tiny_base: Path) -> ImageRequest:
    return ImageRequest(
        "a woman, smiling", 1, tiny_base, None, guidance=3.0, sampler="ddim", steps=3, width=64, height=64
    )


def trained_models(base: Path, seed: int = 0) -> dict[str, torch.nn.Module]:
    """The base's models with a LoRA that does something: in place of training, its second matrices are drawn."""
    pipeline = open_pipeline(base, torch.float32)
    models = {name: getattr(pipeline, name) for name in (UNET, TEXT_ENCODER, TEXT_ENCODER_2)}
    train = Train(version="t", base=base, rank=4, alpha=2.0, layers="all", seed=seed, checkpoint_every=1)
    torch.manual_seed(seed)
    for name, model in models.items():
        add_lora(name, model, train)
        for _, layer in lora_layers(model):
            torch.nn.init.normal_(layer.lora_B["default"].weight, std=0.3)
    return models


@pytest.fixture(scope="module")
def lora(tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("lora") / "amira.safetensors"
    write_lora(path, export_lora(trained_models(tiny_base), torch.float32), {})
    return path


def draw(generator: Generator, *requests: ImageRequest) -> list[np.ndarray]:
    return list(generator.generate(requests))


def test_the_file_draws_what_the_trainer_s_own_model_draws(
    generator: Generator, request_one: ImageRequest, tiny_base: Path, lora: Path
) -> None:
    """peft's adapters compute x W + (x A) B, the file's weights are merged: the same but for float32 rounding."""
    pipeline = open_pipeline(tiny_base, torch.float32)
    for name, model in trained_models(tiny_base).items():
        setattr(pipeline, name, model)
    pipeline.scheduler = open_sampler("ddim", pipeline.scheduler.config)
    noise = torch.randn(1, 8, 16, 16, generator=torch.Generator().manual_seed(1))
    expected = pipeline(
        ["a woman, smiling"] * 3, latents=noise.repeat(3, 1, 1, 1), num_inference_steps=3, guidance_scale=3.0,
        height=64, width=64, output_type="np",
    ).images[0]  # fmt: skip
    with_lora, without = draw(generator, replace(request_one, lora=lora), request_one)
    assert np.abs(with_lora / 255 - expected).max() < 0.501 / 255 + 1e-4
    assert np.abs(without / 255 - expected).max() > 0.1


def test_strength_zero_and_taking_the_lora_out_are_the_base_bit_for_bit(
    generator: Generator, request_one: ImageRequest, lora: Path
) -> None:
    fresh = open_generator("diffusers", Machine(threads=1), 3)
    (base,) = draw(fresh, request_one)
    half, zero, full, none = draw(
        generator, replace(request_one, lora=lora, strength=0.5), replace(request_one, lora=lora, strength=0.0),
        replace(request_one, lora=lora), request_one,
    )  # fmt: skip
    assert np.array_equal(zero, base)
    assert np.array_equal(none, base)
    assert not np.array_equal(half, base)
    assert not np.array_equal(half, full)


def test_a_file_without_alphas_is_drawn_as_if_each_were_the_rank(
    generator: Generator, request_one: ImageRequest, lora: Path, tmp_path: Path
) -> None:
    said = load_file(lora)
    bare = {key: tensor for key, tensor in said.items() if not key.endswith(".alpha")}
    ranks = {
        key: np.asarray(bare[key.replace(".alpha", ".lora_down.weight")].shape[0], np.float32)
        for key in said.keys() - bare.keys()
    }
    write_lora(tmp_path / "bare.safetensors", bare, {})
    write_lora(tmp_path / "full.safetensors", bare | ranks, {})
    pictures = draw(
        generator, *(replace(request_one, lora=tmp_path / f"{name}.safetensors") for name in ("bare", "full"))
    )
    assert ranks
    assert np.array_equal(*pictures)
    assert not np.array_equal(pictures[0], draw(generator, request_one)[0])


@pytest.mark.parametrize("sampler", sorted(SAMPLERS))
def test_a_picture_does_not_depend_on_its_neighbours(
    generator: Generator, request_one: ImageRequest, sampler: str
) -> None:
    four = [replace(request_one, seed=seed, prompt=f"a woman, {seed}", sampler=sampler) for seed in range(4)]
    together = draw(generator, *four)
    backwards = draw(generator, *reversed(four))[::-1]
    alone = draw(generator, four[2])[0]
    assert all(np.array_equal(a, b) for a, b in zip(together, backwards, strict=True))
    assert np.array_equal(together[2], alone)
    assert all(not np.array_equal(a, b) for a, b in pairwise(together))


def test_mixed_requests_come_back_in_their_order(generator: Generator, request_one: ImageRequest, lora: Path) -> None:
    mixed = [
        replace(request_one, seed=seed, lora=file, guidance=guidance)
        for seed in (1, 2) for file in (None, lora) for guidance in (1.0, 3.0)
    ]  # fmt: skip
    expected = [draw(generator, request)[0] for request in mixed]
    assert all(np.array_equal(a, b) for a, b in zip(draw(generator, *mixed), expected, strict=True))
    assert len({picture.tobytes() for picture in expected}) == len(mixed)


def test_samplers_differ_and_honour_the_base_s_noise(request_one: ImageRequest, tiny_base: Path) -> None:
    config = open_pipeline(tiny_base, torch.float32).scheduler.config
    for name in SAMPLERS:
        sampler = open_sampler(name, config)
        assert sampler.config.prediction_type == "v_prediction"
        assert sampler.config.rescale_betas_zero_snr
        assert sampler.config.timestep_spacing == "trailing"
    assert open_sampler("dpmpp_2m_karras", config).config.use_karras_sigmas
    assert not open_sampler("dpmpp_2m", config).config.use_karras_sigmas
    assert not open_sampler("ddim", config).config.clip_sample


def test_a_file_that_was_overwritten_is_read_again(
    generator: Generator, request_one: ImageRequest, tiny_base: Path, lora: Path, tmp_path: Path
) -> None:
    path = tmp_path / "same_name.safetensors"
    path.write_bytes(lora.read_bytes())
    (before,) = draw(generator, replace(request_one, lora=path))
    write_lora(path, export_lora(trained_models(tiny_base, seed=5), torch.float32), {})
    (after,) = draw(generator, replace(request_one, lora=path))
    assert not np.array_equal(before, after)


def test_pictures_come_as_they_are_drawn(generator: Generator, request_one: ImageRequest) -> None:
    many: Iterator[np.ndarray] = generator.generate([replace(request_one, seed=seed) for seed in range(1000)])
    assert next(many).shape == (64, 64, 3)
    assert torch.is_grad_enabled()


def broken(lora: Path, path: Path, kind: str) -> Path:
    from safetensors.numpy import load_file

    tensors = load_file(lora)
    first = next(name for name in sorted(tensors) if name.startswith("lora_unet") and name.endswith("up.weight"))
    match kind:
        case "strange":
            tensors["unet.down_blocks.0.lora_A.weight"] = tensors[first]
        case "unknown":
            tensors["lora_unet_input_blocks_99_1_proj_in.lora_down.weight"] = tensors[first]
        case "half":
            del tensors[first]
        case "shape":
            tensors[first] = tensors[first][:-1]
        case "empty":
            tensors = {}
    write_lora(path, tensors, {})
    return path


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        ("strange", "no LoRA in kohya's form: unet.down_blocks.0.lora_A.weight"),
        ("unknown", "no module for: lora_unet_input_blocks_99_1_proj_in"),
        ("half", "only one half of: lora_unet_"),
        ("shape", "another shape: lora_unet_"),
        ("empty", "holds no LoRA"),
    ],
)
def test_a_lora_that_does_not_fit_is_refused_with_its_keys(
    generator: Generator, request_one: ImageRequest, lora: Path, tmp_path: Path, kind: str, says: str
) -> None:
    path = broken(lora, tmp_path / "broken.safetensors", kind)
    with pytest.raises(UserError, match=says):
        draw(generator, replace(request_one, lora=path))


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"base": Path("nowhere")}, "no model_index.json"),
        ({"lora": Path("nowhere.safetensors")}, "no such LoRA file"),
        ({"mode": "lora+instantid"}, "cannot be drawn"),
        ({"sampler": "heun"}, "no sampler"),
        ({"width": 63}, "multiple of 8"),
    ],
)
def test_what_cannot_be_drawn_is_refused_before_anything_is_drawn(
    generator: Generator, request_one: ImageRequest, changes: dict[str, object], says: str
) -> None:
    with pytest.raises(UserError, match=says):
        generator.generate([request_one, replace(request_one, **changes)])  # type: ignore[arg-type]


def test_an_sdxl_refiner_or_another_pipeline_is_no_base(tmp_path: Path, request_one: ImageRequest) -> None:
    (tmp_path / "model_index.json").write_text('{"_class_name": "StableDiffusionPipeline"}')
    with pytest.raises(UserError, match="a StableDiffusionPipeline, not a StableDiffusionXLPipeline"):
        open_generator("diffusers", Machine(), 1).generate([replace(request_one, base=tmp_path)])


def test_requests_that_differ_in_anything_else_do_not_share_a_forward_pass(
    generator: Generator, request_one: ImageRequest, lora: Path
) -> None:
    changes: list[dict[str, object]] = [
        {}, {"width": 48}, {"height": 48}, {"steps": 4}, {"negative_prompt": "a man"}, {"sampler": "euler"},
        {"lora": lora, "strength": 0.5}, {"lora": lora, "strength": 0.75}, {},
    ]  # fmt: skip
    requests = [replace(request_one, **change) for change in changes]  # type: ignore[arg-type]
    together = draw(generator, *requests)
    assert [picture.shape for picture in together[:3]] == [(64, 64, 3), (64, 48, 3), (48, 64, 3)]
    for request, picture in zip(requests, together, strict=True):
        assert np.array_equal(draw(open_generator("diffusers", Machine(threads=1), 3), request)[0], picture)
    assert len({picture.tobytes() for picture in together}) == len(changes) - 1


def test_each_request_is_drawn_by_its_own_base(
    generator: Generator, request_one: ImageRequest, tiny_base: Path, tmp_path: Path
) -> None:
    other = Path(shutil.copytree(tiny_base, tmp_path / "other"))
    config = json.loads((other / "scheduler/scheduler_config.json").read_text())
    (other / "scheduler/scheduler_config.json").write_text(json.dumps(config | {"rescale_betas_zero_snr": False}))
    elsewhere = replace(request_one, base=other)
    first, second, third = draw(generator, request_one, elsewhere, replace(request_one, seed=2))
    assert np.array_equal(first, draw(generator, request_one)[0])
    assert np.array_equal(second, draw(generator, elsewhere)[0])
    assert not np.array_equal(first, second)
    assert not np.array_equal(first, third)


def test_a_dora_s_lengths_are_reached_at_full_strength_and_halfway_at_half(lora: Path) -> None:
    generator = torch.Generator().manual_seed(0)
    weight, down, up = (torch.randn(shape, generator=generator) for shape in ((3, 5), (2, 5), (3, 2)))
    lengths = torch.tensor([1.0, 2.0, 4.0])
    layer = Layer("unet", "x", down, up, 0.5, lengths)
    whole = weight + layer.delta(weight)
    torch.testing.assert_close(whole.norm(dim=1), lengths)
    plain = weight + 0.5 * up @ down
    torch.testing.assert_close(whole / whole.norm(dim=1, keepdim=True), plain / plain.norm(dim=1, keepdim=True))
    torch.testing.assert_close(Layer("unet", "x", down, up, 0.5).delta(weight), 0.5 * up @ down)
