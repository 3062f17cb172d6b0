"""The count of a training's memory, made without values, is what a real forward pass keeps."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from diffusers.models.attention_processor import AttnProcessor2_0

from stages.backends.sdxl import open_pipeline
from stages.backends.train.adapters import add_lora
from stages.backends.train.memory import Saved, check_memory, estimate_memory
from stages.contracts.lora_names import UNET
from stages.contracts.settings import Machine
from stages.contracts.train_settings import Train


def recipe(base: Path, **changes: object) -> Train:
    values = {"version": "t", "base": base, "resolution": 64, "rank": 4, "precision": "float32", "batch": 2}
    return Train.model_validate({**values, **changes})


def activations(parts: dict[str, int]) -> int:
    return next(size for name, size in parts.items() if name.startswith("activations"))


def test_the_count_is_what_autograd_keeps_in_a_real_forward_pass(tiny_base: Path) -> None:
    train = recipe(tiny_base)
    unet = open_pipeline(tiny_base, torch.float32).unet
    add_lora(UNET, unet, train)
    unet.set_attn_processor(AttnProcessor2_0())
    saved = Saved(unet.train())
    with saved.watching():
        unet(
            torch.randn(2, 8, 8, 8), torch.tensor([1, 2]), torch.randn(2, 77, 32),
            added_cond_kwargs={"text_embeds": torch.randn(2, 16), "time_ids": torch.zeros(2, 6)},
        )  # fmt: skip
    assert activations(estimate_memory(train)) == pytest.approx(saved.bytes, rel=0.03)


def test_activations_grow_with_the_batch_and_shrink_with_checkpointing(tiny_base: Path) -> None:
    one, two = (activations(estimate_memory(recipe(tiny_base, batch=batch))) for batch in (1, 2))
    assert two == pytest.approx(2 * one, rel=0.01)
    assert activations(estimate_memory(recipe(tiny_base, gradient_checkpointing=True))) < 0.7 * two


def test_class_images_are_counted_beside_the_photos_unless_they_weigh_nothing(tiny_base: Path) -> None:
    alone, beside, weightless = (
        activations(estimate_memory(recipe(tiny_base, prior_batch=count, prior_weight=weight)))
        for count, weight in ((0, 1.0), (2, 1.0), (2, 0.0))
    )
    assert beside == pytest.approx(2 * alone, rel=0.01)
    assert weightless == alone


def test_the_lora_and_its_optimizer_are_counted_by_their_parameters(tiny_base: Path) -> None:
    prodigy, eight_bit = (
        estimate_memory(recipe(tiny_base, optimizer={"name": name, "learning_rate": rate}))
        for name, rate in (("prodigy", 1.0), ("adamw8bit", 1e-4))
    )
    trained = sum(p.numel() for p in add_lora(UNET, open_pipeline(tiny_base, torch.float32).unet, recipe(tiny_base)))
    assert prodigy["LoRA of rank 4, float32"] == 4 * trained
    assert (prodigy["prodigy states"], eight_bit["adamw8bit states"]) == (16 * trained, 2 * trained)


def test_full_sdxl_is_counted_in_seconds_and_without_its_weights(tmp_path: Path) -> None:
    """The published configuration: 2.57 billion parameters, 4.8 GiB in bfloat16."""
    (tmp_path / "unet").mkdir()
    (tmp_path / "unet" / "config.json").write_text((Path(__file__).parents[1] / "data/sdxl_unet.json").read_text())
    parts = estimate_memory(Train(version="t", base=tmp_path, rank=32, gradient_checkpointing=True))
    assert parts["UNet, bfloat16"] / 2**30 == pytest.approx(4.78, abs=0.02)
    assert 0.4 < activations(parts) / 2**30 < 1.5
    whole = estimate_memory(Train(version="t", base=tmp_path, rank=32))
    assert 5 < activations(whole) / 2**30 < 20


def test_on_a_gpu_that_is_too_small_it_is_refused_with_the_sum(
    tiny_base: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    small = SimpleNamespace(total_memory=100 * 2**20)  # no GPU here: only its size is made up
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: small)
    with pytest.raises(Exception, match="do not hold"):
        check_memory(recipe(tiny_base), Machine(device="cuda"))
    assert "LoRA of rank 4" in capsys.readouterr().err
    check_memory(recipe(tiny_base), Machine(device="cpu"))


def test_gradients_states_and_the_moving_average_are_four_bytes_a_value_each(tiny_base: Path) -> None:
    adamw = {"name": "adamw", "learning_rate": 1e-4}
    parts = estimate_memory(recipe(tiny_base, ema=0.9, optimizer=adamw, precision="bfloat16"))
    lora = parts["LoRA of rank 4, float32"]
    assert (parts["its gradients, float32"], parts["moving average"]) == (lora, lora)
    assert parts["adamw states"] == 2 * lora
    assert estimate_memory(recipe(tiny_base))["moving average"] == 0
    own = sum(p.numel() for p in open_pipeline(tiny_base, torch.float32).unet.parameters())
    assert parts["UNet, bfloat16"] == 2 * own
    assert estimate_memory(recipe(tiny_base))["UNet, float32"] == 4 * own
