"""One step of a training against the same step written out: what is told, what is learnt, and at which rate."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from diffusers import DDPMScheduler

from stages.backends.sdxl import open_pipeline
from stages.backends.train.batches import collate
from stages.backends.train.data import encode_picture
from stages.backends.train.model import LoraModel, open_accelerator
from stages.backends.train.optimizer import rate_factor
from stages.backends.train.run import Run
from stages.contracts.lora_names import UNET
from stages.contracts.settings import Machine
from stages.contracts.train_settings import Train
from stages.contracts.training import Examples
from stages.runtime.pictures import read_picture

ADAMW = {"name": "adamw", "learning_rate": 0.01, "betas": (0.9, 0.99), "weight_decay": 0.0, "max_grad_norm": 0.0}
MACHINE = Machine(threads=1)


def recipe(base: Path, **changes: object) -> Train:
    """Three photos and two class images in each of two forward passes: no two counts are alike."""
    values = {
        "version": "t", "base": base, "resolution": 64, "rank": 2, "layers": "attention", "steps": 6, "batch": 3,
        "prior_batch": 2, "accumulate": 2, "prior_weight": 0.25, "checkpoint_every": 6, "holdout_every": 6,
        "precision": "float32", "optimizer": ADAMW, "schedule": "constant", **changes,
    }  # fmt: skip
    return Train.model_validate(values)


def start(base: Path, examples: Examples, **changes: object) -> Run:
    """A training whose LoRA does something already: of a fresh one half the gradients are 0."""
    run = Run(recipe(base, **changes), MACHINE, replace(examples, holdout=examples.holdout[:1]))
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in run.trained:
            parameter.add_(0.02 * torch.randn_like(parameter))
    return run


def losses_of(run: Run, kind: int, turn: int) -> torch.Tensor:
    draw, pictures = run.draws[kind]
    return torch.cat([run.model.losses(batch) for batch in collate(draw.samples(pictures, turn))])


def test_the_gradient_is_that_of_the_photos_mean_and_the_weighted_class_images_mean(
    tiny_base: Path, examples: Examples
) -> None:
    run = start(tiny_base, examples)
    own, prior = (torch.cat([losses_of(run, kind, turn) for turn in (3, 4)]) for kind in (0, 1))  # step 2
    assert (len(own), len(prior)) == (6, 4)
    (own.mean() + 0.25 * prior.mean()).backward()
    expected = [parameter.grad.clone() for parameter in run.trained]
    run.optimizer.zero_grad()
    told = run._tell(run._learn(2))
    assert told == pytest.approx((float(own.mean()), float(prior.mean())), rel=1e-5)
    assert any(gradient.abs().max() > 1e-4 for gradient in expected)
    for parameter, gradient in zip(run.trained, expected, strict=True):
        torch.testing.assert_close(parameter.grad, gradient, rtol=1e-3, atol=1e-7)


def test_what_is_told_of_a_step_is_its_losses_and_the_rate_that_it_moved_by(
    tiny_base: Path, examples: Examples
) -> None:
    run = start(tiny_base, examples, schedule="cosine", warmup_steps=2, accumulate=1)
    own, prior = (losses_of(run, kind, 1).detach() for kind in (0, 1))
    steps = [run.advance(number) for number in range(1, 7)]
    assert (steps[0].loss, steps[0].prior_loss) == (
        pytest.approx(float(own.mean())),
        pytest.approx(float(prior.mean())),
    )
    assert [step.learning_rate for step in steps] == pytest.approx(
        [0.01 * rate_factor(number, "cosine", 2, 6) for number in range(6)]
    )
    assert [step.holdout_loss is not None for step in steps] == [False] * 5 + [True]
    assert steps[-1].holdout_loss == pytest.approx(run.holdout_loss())


def test_gradients_are_clipped_to_the_norm_that_is_set(tiny_base: Path, examples: Examples) -> None:
    """AdamW's step hides how long a gradient was; its first moment is a tenth of it."""
    run = start(tiny_base, examples, optimizer={**ADAMW, "max_grad_norm": 1e-4}, accumulate=1)
    run.advance(1)
    moments = [state["exp_avg"].flatten() for state in run.optimizer.optimizer.state.values()]
    assert float(torch.cat(moments).norm()) == pytest.approx(1e-5, rel=1e-2)


def test_photos_alone_are_mirrored_and_have_their_captions_varied(tiny_base: Path, examples: Examples) -> None:
    changes = {
        "flip": True,
        "captions": {"shuffle": True},
        "cache_text": False,
        "loss": {"noise_offset": 0.1},
        "seed": 9,
    }
    run = start(tiny_base, examples, **changes)
    assert {len(picture.latents) for picture in run.own} == {2}
    assert {len(picture.latents) for picture in run.prior} == {1}
    (own, _), (prior, _) = run.draws
    assert (own.name, own.count, own.seed, own.noise_offset) == ("own", 3, 9, 0.1)
    assert (prior.name, prior.count, prior.seed, prior.noise_offset, prior.captions) == ("prior", 2, 9, 0.1, None)
    assert own.captions is not None
    assert own.captions.shuffle
    assert [picture.caption for picture in run.own] == [example.caption for example in examples.train]


def test_an_average_of_the_weights_is_what_is_measured_and_saved_and_training_goes_on_from_the_weights(
    tiny_base: Path, examples: Examples
) -> None:
    run = start(tiny_base, examples, ema=0.5, accumulate=1)
    run.advance(1)
    own = [parameter.detach().clone() for parameter in run.trained]
    assert run.average is not None
    averaged = [shadow.detach().clone() for shadow in run.average.shadow_params]
    assert any(not torch.equal(a, b) for a, b in zip(own, averaged, strict=True))
    with run._averaged():
        assert all(torch.equal(a, b) for a, b in zip(run.trained, averaged, strict=True))
    assert all(torch.equal(a, b) for a, b in zip(run.trained, own, strict=True))


def test_a_sample_s_loss_is_the_weighted_error_of_the_velocity(tiny_base: Path, examples: Examples) -> None:
    """The same with diffusers' own schedule and SDXL's own arguments; min-SNR of velocity: min(snr, 5) / (snr + 1)."""
    run = start(tiny_base, examples)
    (batch,) = collate(run.draws[0][0].samples(run.draws[0][1], 5))
    theirs = DDPMScheduler.from_config(open_pipeline(tiny_base, torch.float32).scheduler.config)
    noised = theirs.add_noise(batch.latents, batch.noise, batch.timesteps)
    target = theirs.get_velocity(batch.latents, batch.noise, batch.timesteps)
    fresh = open_pipeline(tiny_base, torch.float32)
    context, _, pooled, _ = fresh.encode_prompt(list(batch.captions), do_classifier_free_guidance=False)
    with torch.no_grad():
        added = {"text_embeds": pooled, "time_ids": batch.time_ids}
        said = run.model.unet(noised, batch.timesteps, context, added_cond_kwargs=added).sample
        squares = theirs.alphas_cumprod[batch.timesteps]
        snr = squares / (1 - squares)
        expected = (said - target).square().mean(dim=(1, 2, 3)) * snr.clamp(max=5) / (snr + 1)
        found = run.model.losses(batch)
    assert len(set(batch.timesteps.tolist())) == 3
    torch.testing.assert_close(found, expected, rtol=2e-3, atol=1e-6)


def test_a_picture_is_encoded_as_sdxl_s_own_pipeline_encodes_it(tiny_base: Path, examples: Examples) -> None:
    pipeline = open_pipeline(tiny_base, torch.float32)
    pixels = read_picture(examples.train[0].picture)
    with torch.no_grad():
        ready = pipeline.image_processor.preprocess([pixels / 255.0])
        expected = pipeline.vae.encode(ready.float()).latent_dist.mean[0] * pipeline.vae.config.scaling_factor
    torch.testing.assert_close(encode_picture(pipeline.vae, pixels), expected, rtol=1e-4, atol=1e-5)


def test_text_encoders_are_trained_at_a_rate_of_their_own(tiny_base: Path, examples: Examples) -> None:
    optimizer = {**ADAMW, "text_encoder_rate": 0.002}
    run = start(tiny_base, examples, text_encoders=True, cache_text=False, optimizer=optimizer)
    unet, text = run.optimizer.optimizer.param_groups
    assert (unet["lr"], text["lr"]) == (0.01, 0.002)
    assert {id(p) for p in unet["params"]} == {id(p) for p in run.model.parameters[UNET]}
    assert len(unet["params"]) + len(text["params"]) == len(run.trained)


def test_remembered_captions_let_go_of_the_text_encoders(tiny_base: Path) -> None:
    pipeline = open_pipeline(tiny_base, torch.float32)
    model = LoraModel(pipeline, recipe(tiny_base, prior_batch=0), open_accelerator("float32", "cpu"))
    model.remember_prompts(["a", "b", "a"])
    assert set(model.prompts.known) == {"a", "b"}
    assert pipeline.text_encoder is None
    kept = open_pipeline(tiny_base, torch.float32)
    model = LoraModel(kept, recipe(tiny_base, prior_batch=0, cache_text=False), open_accelerator("float32", "cpu"))
    model.remember_prompts(["a"])
    assert model.prompts.known == {}
    assert kept.text_encoder is not None
