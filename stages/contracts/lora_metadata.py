"""What the header of a LoRA file says: kohya's ss_* keys, Stability AI's modelspec.*, and the manifest's hash.

No clock, no session id and no absolute path: the same training writes the same header.
"""

import json
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from stages.contracts.lora import MANIFEST_KEY, VERSION_KEY
from stages.contracts.train_settings import Optimizer, Train
from stages.contracts.training import Examples
from stages.runtime.errors import UserError

ARCHITECTURE = "stable-diffusion-xl-v1-base/lora"
OPTIMIZERS = {
    "prodigy": "prodigyopt.prodigy.Prodigy", "adamw": "torch.optim.adamw.AdamW",
    "adamw8bit": "bitsandbytes.optim.adamw.AdamW8bit",
}  # fmt: skip
PRECISIONS = {"float32": "no", "bfloat16": "bf16", "float16": "fp16"}


def read_noise(base: Path) -> dict[str, Any]:
    """How the base model at ``base`` was noised: its scheduler's configuration.

    Raises:
        UserError: when the folder holds no diffusers pipeline.
    """
    path = base / "scheduler" / "scheduler_config.json"
    try:
        config: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        todo = "set it to a local diffusers folder"
        raise UserError(base, "not a base model folder (no scheduler/scheduler_config.json)", todo) from None
    return config


def count_tags(captions: Iterable[str]) -> dict[str, int]:
    """How many captions hold each comma-separated part, most frequent first."""
    parts = Counter(part.strip() for caption in captions for part in caption.split(",") if part.strip())
    return dict(sorted(parts.items(), key=lambda item: (-item[1], item[0])))


def describe_optimizer(optimizer: Optimizer) -> str:
    """The optimizer that was asked for with its arguments, as kohya writes it."""
    arguments = f"weight_decay={optimizer.weight_decay},betas={optimizer.betas}"
    if optimizer.name == "prodigy":
        arguments += f",decouple=True,use_bias_correction={optimizer.use_bias_correction}"
        arguments += f",safeguard_warmup={optimizer.safeguard_warmup},d_coef={optimizer.d_coef}"
    return f"{OPTIMIZERS[optimizer.name]}({arguments})"


def _training(train: Train, examples: Examples) -> dict[str, object]:
    rate = train.optimizer.text_encoder_rate or train.optimizer.learning_rate
    tags = {"train": count_tags(example.caption for example in examples.train)}
    if examples.prior:
        tags["reg"] = count_tags(example.caption for example in examples.prior)
    return {
        "ss_learning_rate": train.optimizer.learning_rate,
        "ss_unet_lr": train.optimizer.learning_rate,
        "ss_text_encoder_lr": rate if train.text_encoders else None,
        "ss_optimizer": describe_optimizer(train.optimizer),
        "ss_lr_scheduler": train.schedule,
        "ss_lr_warmup_steps": train.warmup_steps,
        "ss_max_grad_norm": train.optimizer.max_grad_norm,
        "ss_max_train_steps": train.steps,
        "ss_total_batch_size": train.batch * train.accumulate,
        "ss_min_snr_gamma": train.loss.min_snr_gamma if train.loss.weighting == "min_snr" else None,
        "ss_debiased_estimation": train.loss.weighting == "debiased",
        "ss_prior_loss_weight": train.prior_weight,
        "ss_gradient_checkpointing": train.gradient_checkpointing,
        "ss_gradient_accumulation_steps": train.accumulate,
        "ss_mixed_precision": PRECISIONS[train.precision],
        "ss_loss_type": train.loss.kind,
        "ss_noise_offset": train.loss.noise_offset or None,
        "ss_caption_dropout_rate": train.captions.dropout,
        "ss_shuffle_caption": train.captions.shuffle,
        "ss_keep_tokens": train.captions.keep,
        "ss_enable_bucket": train.buckets.enabled,
        "ss_cache_latents": True,
        "ss_seed": train.seed,
        "ss_num_train_images": len(examples.train),
        "ss_num_reg_images": len(examples.prior),
        "ss_num_validation_images": len(examples.holdout),
        "ss_tag_frequency": json.dumps(tags, ensure_ascii=False),
    }


def build_metadata(
    name: str, train: Train, examples: Examples, noise: dict[str, Any], manifest_sha256: str, step: int
) -> dict[str, str]:
    """The metadata of the LoRA ``name`` after ``step`` steps; ``noise`` is what ``read_noise`` says of the base."""
    prediction = noise.get("prediction_type", "epsilon")
    base = train.base.name if train.base.is_absolute() else train.base.as_posix()
    size = f"{train.resolution}x{train.resolution}"
    trained_by = ", trained by sd-scripts" if train.backend == "kohya" else ""
    values: dict[str, object] = {
        "modelspec.sai_model_spec": "1.0.1",
        "modelspec.architecture": ARCHITECTURE,
        "modelspec.implementation": "https://github.com/Stability-AI/generative-models",
        "modelspec.title": name,
        "modelspec.resolution": size,
        "modelspec.prediction_type": "v" if prediction == "v_prediction" else prediction,
        "ss_output_name": name,
        "ss_network_module": "networks.lora",
        "ss_network_dim": train.rank,
        "ss_network_alpha": float(train.alpha or train.rank),
        "ss_network_args": json.dumps({"dora": train.dora, "rslora": train.rslora, "layers": train.layers}),
        "ss_base_model_version": "sdxl_base_v1-0",
        "ss_sd_model_name": base,
        "ss_v2": False,
        "ss_v_parameterization": prediction == "v_prediction",
        "ss_zero_terminal_snr": bool(noise.get("rescale_betas_zero_snr", False)),
        "ss_resolution": f"({train.resolution}, {train.resolution})",
        "ss_steps": step,
        "ss_training_comment": f"Pistachio, recipe {train.version}{trained_by}",
        MANIFEST_KEY: manifest_sha256,
        VERSION_KEY: train.version,
    }
    return {key: str(value) for key, value in (values | _training(train, examples)).items()}
