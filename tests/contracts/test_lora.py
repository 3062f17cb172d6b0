"""LoRA files: the same content is the same bytes, and what is written can be read by the safetensors package."""

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open

from stages.contracts.lora import (
    MANIFEST_KEY,
    VERSION_KEY,
    final_path,
    find_checkpoints,
    read_header,
    step_path,
    write_lora,
)
from stages.contracts.lora_metadata import build_metadata, count_tags
from stages.contracts.settings import Optimizer, Train
from stages.contracts.training import Example, Examples
from stages.runtime.errors import UserError

TENSORS = {
    "lora_unet_b.lora_up.weight": np.arange(6, dtype=np.float16).reshape(3, 2),
    "lora_unet_a.alpha": np.array(4, dtype=np.float32),
}
EXAMPLES = Examples(
    (Example(Path("a.png"), "tok, a woman, smiling"), Example(Path("b.png"), "tok, a woman")),
    (),
    (Example(Path("c.png"), "a woman"),),
)
NOISE = {"prediction_type": "v_prediction", "rescale_betas_zero_snr": True}


def recipe(**changes: object) -> Train:
    return Train.model_validate({"version": "v3", "base": "models/base", "resolution": 64, "rank": 8, **changes})


def test_the_safetensors_package_reads_what_was_written(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    write_lora(path, TENSORS, {"ss_steps": "7", "Ä": "umlaut"})
    with safe_open(path, "np") as file:
        assert file.metadata()["Ä"] == "umlaut"
        assert set(file.keys()) == set(TENSORS)
        assert all((file.get_tensor(name) == TENSORS[name]).all() for name in TENSORS)
        assert all(file.get_tensor(name).dtype == TENSORS[name].dtype for name in TENSORS)


def test_the_order_of_tensors_and_metadata_changes_no_byte(tmp_path: Path) -> None:
    metadata = {f"key{i}": str(i) for i in range(30)}
    write_lora(tmp_path / "a.safetensors", TENSORS, metadata)
    write_lora(tmp_path / "b.safetensors", dict(reversed(TENSORS.items())), dict(reversed(metadata.items())))
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()


def test_the_header_tells_the_step_and_the_manifest(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    write_lora(path, TENSORS, build_metadata("amira", recipe(), EXAMPLES, NOISE, "f" * 64, 300))
    header = read_header(path)
    assert (header.step, header.manifest_sha256) == (300, "f" * 64)
    assert header.tensors == tuple(sorted(TENSORS))


def test_checkpoints_are_found_by_step_and_the_final_file_is_the_last(tmp_path: Path) -> None:
    for path, step in ((step_path("amira", 200, tmp_path), 200), (final_path("amira", tmp_path), 400)):
        write_lora(path, TENSORS, {"ss_steps": str(step)})
    write_lora(step_path("amira", 100, tmp_path), TENSORS, {})
    write_lora(step_path("another", 300, tmp_path), TENSORS, {})
    assert list(find_checkpoints("amira", tmp_path)) == [100, 200, 400]
    assert find_checkpoints("amira", tmp_path)[400].name == "amira.safetensors"
    assert find_checkpoints("amira", tmp_path)[100].name == "amira-step00000100.safetensors"


def test_no_final_file_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="dvc repro train"):
        find_checkpoints("amira", tmp_path)


@pytest.mark.parametrize("content", [b"", b"\x05", b"\xff" * 40, b"\x02\0\0\0\0\0\0\0[]", b"\x01\0\0\0\0\0\0\0{"])
def test_a_file_of_another_kind_is_one_line(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.safetensors"
    path.write_bytes(content)
    with pytest.raises(UserError, match="not a safetensors file"):
        read_header(path)


def test_the_metadata_says_what_kohya_s_users_look_for() -> None:
    metadata = build_metadata("amira", recipe(optimizer=Optimizer(d_coef=2.0)), EXAMPLES, NOISE, "f" * 64, 300)
    expected = {
        "ss_network_dim": "8", "ss_network_alpha": "8.0", "ss_network_module": "networks.lora", "ss_steps": "300",
        "ss_learning_rate": "1.0", "ss_num_train_images": "2", "ss_num_reg_images": "1", "ss_seed": "0",
        "ss_resolution": "(64, 64)", "ss_v_parameterization": "True", "ss_zero_terminal_snr": "True",
        "ss_sd_model_name": "models/base", "ss_min_snr_gamma": "5.0", "modelspec.sai_model_spec": "1.0.1",
        "modelspec.architecture": "stable-diffusion-xl-v1-base/lora", "modelspec.title": "amira",
        "modelspec.resolution": "64x64", "modelspec.prediction_type": "v", MANIFEST_KEY: "f" * 64,
    }  # fmt: skip
    assert metadata.items() >= expected.items()
    assert "d_coef=2.0" in metadata["ss_optimizer"]
    assert json.loads(metadata["ss_tag_frequency"])["train"] == {"a woman": 2, "tok": 2, "smiling": 1}


def test_every_setting_of_a_recipe_without_defaults_is_told_under_its_own_key() -> None:
    train = recipe(
        base="models/other", resolution=48, rank=6, alpha=3, layers="all", rslora=True, text_encoders=True,
        cache_text=False, captions={"dropout": 0.15, "shuffle": True, "keep": 2}, schedule="constant", warmup_steps=11,
        steps=70, checkpoint_every=35, batch=3, accumulate=5, prior_weight=0.7, precision="float16", seed=9,
        gradient_checkpointing=True, buckets={"enabled": True},
        loss={"kind": "huber", "weighting": "debiased", "noise_offset": 0.04},
        optimizer={"name": "adamw", "learning_rate": 0.002, "text_encoder_rate": 0.0005, "weight_decay": 0.03,
                   "betas": (0.8, 0.95), "max_grad_norm": 0.6},
    )  # fmt: skip
    some = Examples(
        EXAMPLES.train, (Example(Path("h.png"), "x"),) * 4, (Example(Path("c.png"), "a woman, at sea"),) * 3
    )
    metadata = build_metadata("bob", train, some, {}, "e" * 64, 35)
    assert {key: value for key, value in metadata.items() if not key.startswith("modelspec.")} == {
        "ss_output_name": "bob", "ss_network_module": "networks.lora", "ss_network_dim": "6", "ss_network_alpha": "3.0",
        "ss_network_args": '{"dora": false, "rslora": true, "layers": "all"}',
        "ss_base_model_version": "sdxl_base_v1-0", "ss_sd_model_name": "models/other", "ss_v2": "False",
        "ss_v_parameterization": "False", "ss_zero_terminal_snr": "False", "ss_resolution": "(48, 48)",
        "ss_steps": "35", "ss_training_comment": "Pistachio, recipe v3", MANIFEST_KEY: "e" * 64, VERSION_KEY: "v3",
        "ss_learning_rate": "0.002", "ss_unet_lr": "0.002", "ss_text_encoder_lr": "0.0005",
        "ss_optimizer": "torch.optim.adamw.AdamW(weight_decay=0.03,betas=(0.8, 0.95))", "ss_lr_scheduler": "constant",
        "ss_lr_warmup_steps": "11", "ss_max_grad_norm": "0.6", "ss_max_train_steps": "70", "ss_total_batch_size": "15",
        "ss_min_snr_gamma": "None", "ss_debiased_estimation": "True", "ss_prior_loss_weight": "0.7",
        "ss_gradient_checkpointing": "True", "ss_gradient_accumulation_steps": "5", "ss_mixed_precision": "fp16",
        "ss_loss_type": "huber", "ss_noise_offset": "0.04", "ss_caption_dropout_rate": "0.15",
        "ss_shuffle_caption": "True", "ss_keep_tokens": "2", "ss_enable_bucket": "True", "ss_cache_latents": "True",
        "ss_seed": "9", "ss_num_train_images": "2", "ss_num_reg_images": "3", "ss_num_validation_images": "4",
        "ss_tag_frequency": '{"train": {"a woman": 2, "tok": 2, "smiling": 1}, "reg": {"a woman": 3, "at sea": 3}}',
    }  # fmt: skip
    assert (metadata["modelspec.prediction_type"], metadata["modelspec.resolution"]) == ("epsilon", "48x48")


def test_prodigy_is_told_with_the_arguments_that_only_it_has() -> None:
    optimizer = Optimizer(d_coef=2.0, safeguard_warmup=False, use_bias_correction=True)
    metadata = build_metadata("a", recipe(optimizer=optimizer), Examples(EXAMPLES.train), NOISE, "f" * 64, 1)
    assert metadata["ss_optimizer"] == (
        "prodigyopt.prodigy.Prodigy(weight_decay=0.01,betas=(0.9, 0.99),decouple=True,use_bias_correction=True,"
        "safeguard_warmup=False,d_coef=2.0)"
    )
    assert metadata["ss_text_encoder_lr"] == "None"
    assert json.loads(metadata["ss_tag_frequency"]).keys() == {"train"}


def test_the_metadata_holds_no_clock_no_session_and_no_absolute_path() -> None:
    metadata = build_metadata("amira", recipe(base="/home/me/base"), EXAMPLES, NOISE, "f" * 64, 300)
    assert not {key for key in metadata if "date" in key or "session" in key or "_at" in key}
    assert metadata["ss_sd_model_name"] == "base"


def test_kohya_s_own_keys_are_the_ones_that_are_written() -> None:
    """A misspelt key would be ignored by every reader: all but a few of ours stand in a header that kohya wrote."""
    kohyas = set(json.loads((Path(__file__).parent.parent / "data" / "kohya_metadata.json").read_text()))
    ours = set(build_metadata("amira", recipe(), EXAMPLES, NOISE, "f" * 64, 300))
    without_dataset_file = {
        "ss_resolution",
        "ss_total_batch_size",
        "ss_enable_bucket",
        "ss_shuffle_caption",
        "ss_keep_tokens",
    }
    own = {MANIFEST_KEY, VERSION_KEY}
    assert ours - kohyas == {"ss_v_parameterization", "ss_network_args"} | without_dataset_file | own


def test_tags_are_counted_once_per_caption_part() -> None:
    assert count_tags(["a, b", "a,b , ", ""]) == {"a": 2, "b": 2}
