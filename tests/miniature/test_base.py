"""The base model: tokenizer, captions, conditions, loss, and the pipeline as others load it."""

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionXLPipeline
from transformers import CLIPTokenizer

from miniature import base, vae
from miniature.places import WEIGHTS
from miniature.render import describe, sample_identity, sample_scene
from miniature.tokenizer import LENGTH, TRIGGER, build_tokenizer, learn_merges

STORED = WEIGHTS / "base"
CAPTION = "a woman, smiling, glasses, red cap, blue shirt, beach background, close-up, warm light"


@pytest.fixture(scope="module")
def tokenizer() -> CLIPTokenizer:
    return build_tokenizer()


def test_caption_words_are_single_tokens(tokenizer):
    words = " ".join(describe(sample_identity(n), sample_scene(n)) for n in range(200))
    words += " " + " ".join(phrase for n in range(200) for phrase in base.identity_phrases(sample_identity(n)))
    assert all(len(tokenizer.tokenize(word)) == 1 for word in set(words.replace("-", " ").replace(",", " ").split()))


def test_the_trigger_is_a_single_token(tokenizer):
    assert tokenizer.tokenize(f"{TRIGGER} woman") == [f"{TRIGGER}</w>", "woman</w>"]


def test_anything_tokenizes_without_unknowns(tokenizer):
    tokens = tokenizer.tokenize("Zürich: 42 xylophones")
    assert tokenizer.unk_token not in tokens
    assert tokenizer.decode(tokenizer.convert_tokens_to_ids(tokens)) == "zürich : 4 2 xylophones"


def test_a_saved_tokenizer_gives_the_same_ids(tokenizer, tmp_path):
    tokenizer.save_pretrained(tmp_path)
    assert CLIPTokenizer.from_pretrained(tmp_path)(CAPTION).input_ids == tokenizer(CAPTION).input_ids


def test_merges_do_not_capture_letters_of_longer_words():
    assert ("hair", "</w>") not in learn_merges(("hair", "chair"))
    spelled = build_tokenizer().tokenize("hair bob headshot shot")
    assert spelled == ["hair</w>", "bob</w>", "headshot</w>", "shot</w>"]


def test_training_captions_fit_and_vary(tokenizer):
    rng = np.random.default_rng(3)
    phrases = ["long wavy black hair", "dark skin", "a swept fringe", "a full beard"]
    longest = CAPTION.replace("red cap", "purple beanie")
    texts = [base.training_caption(longest, phrases, rng) for _ in range(500)]
    assert max(len(tokenizer(text).input_ids) for text in texts) <= LENGTH
    assert "" in texts
    assert "a woman" in texts
    assert longest in texts
    assert any("with" in text for text in texts)


def test_timesteps_cover_the_schedule():
    timesteps = base.draw_timesteps(10, np.random.default_rng(4))
    assert sorted((timesteps // 100).tolist()) == list(range(10))


def test_weights_are_capped_and_never_zero():
    weights = base.loss_weights(torch.tensor([0.0, 5.0, 1e6]))
    assert weights.tolist() == pytest.approx([0.05, 5 / 6 + 0.05, 0.05], abs=1e-4)


def test_the_last_timestep_is_pure_noise():
    assert float(base.build_empty().alphas[-1]) == pytest.approx(0, abs=1e-7)


def test_a_loss_reaches_every_part():
    latents = np.random.default_rng(5).normal(size=(4, 8, 16, 16)).astype(np.float16)
    task = base.BaseTask(latents, [CAPTION] * 4, [[]] * 4)
    task.loss(2, np.random.default_rng(6), torch.Generator().manual_seed(7), 0).backward()
    for part in task.model.values():
        assert any(p.grad is not None and bool(p.grad.abs().sum() > 0) for p in part.parameters())


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """An untrained export: the layout and the conditions are the same as the trained one's."""
    with pytest.MonkeyPatch.context() as patch:
        root = tmp_path_factory.mktemp("base")
        patch.setenv("XDG_CACHE_HOME", str(root / "cache"))
        vae.new_autoencoder().save_pretrained(vae.trained_folder())
        torch.manual_seed(0)
        base.export(root / "pipeline")
        yield root / "pipeline"


def test_the_export_loads_with_the_right_ids_and_schedule(exported, tokenizer):
    pipeline = StableDiffusionXLPipeline.from_pretrained(exported, dtype=torch.float32, add_watermarker=False)
    assert pipeline.tokenizer(CAPTION).input_ids == tokenizer(CAPTION).input_ids
    assert pipeline.tokenizer_2.tokenize(TRIGGER) == [f"{TRIGGER}</w>"]
    assert pipeline.scheduler.config.prediction_type == "v_prediction"
    assert pipeline.scheduler.config.rescale_betas_zero_snr
    assert pipeline.scheduler.config.timestep_spacing == "trailing"
    assert pipeline.default_sample_size * pipeline.vae_scale_factor == base.SIZE


def test_training_conditions_are_the_pipelines(exported, tokenizer):
    pipeline = base.load_pipeline(exported)
    model = torch.nn.ModuleDict({n: getattr(pipeline, n) for n in ("text_encoder", "text_encoder_2")})
    ids = torch.tensor(tokenizer([CAPTION], padding="max_length", truncation=True).input_ids)
    context, pooled = base.encode_prompts(model, ids)
    theirs = pipeline.encode_prompt(CAPTION, device="cpu", num_images_per_prompt=1, do_classifier_free_guidance=False)
    assert torch.allclose(context, theirs[0], atol=1e-5)
    assert torch.allclose(pooled, theirs[2], atol=1e-5)


def test_samples_depend_on_the_seed_alone(exported):
    pipeline = base.load_pipeline(exported)
    both = base.sample(pipeline, ["a woman", "a man"], [1, 2], steps=2, guidance=2.0)
    alone = base.sample(pipeline, ["a man"], [2], steps=2, guidance=2.0)
    assert both.shape == (2, 64, 64, 3)
    assert np.abs(both[1].astype(int) - alone[0]).max() <= 1


@pytest.mark.skipif(not STORED.exists(), reason="the miniature's weights are not there")
def test_prompted_colours_arrive():
    pipeline = base.load_pipeline()
    prompts = [f"a man, neutral, {colour} shirt, studio background, portrait" for colour in ("red", "blue")]
    red, blue = base.sample(pipeline, prompts, [3, 3], steps=8, guidance=4.0)
    assert red[56:, 24:40, 0].mean() - red[56:, 24:40, 2].mean() > 30
    assert blue[56:, 24:40, 2].mean() - blue[56:, 24:40, 0].mean() > 30
