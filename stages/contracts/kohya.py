"""The settings that kohya's sd-scripts knows too: its options, its words for our values, and where the meaning differs.

Read from sd-scripts at 48d368f (train_network.py, library/train_util.py, library/custom_train_functions.py,
networks/lora.py) and, for what its own LoRA lacks, LyCORIS at f49d30d (lycoris/kohya.py).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from stages.contracts.lora_metadata import PRECISIONS


@dataclass(frozen=True)
class Option:
    """An option of sd-scripts.

    Without ``words`` a number or text is passed as it is, null is left out, and of a switch true is the bare option.
    """

    name: str  # as typed; a key of --optimizer_args or --network_args stands behind a blank
    words: Mapping[Any, str | None] = field(default_factory=dict)  # our value -> theirs; None: the option is left out
    unlike: str = ""  # where the meaning differs


_SPELLED = {False: "False", True: "True"}  # keys are no switches
_LYCORIS = "a key of LyCORIS (`--network_module lycoris.kohya`)"

OPTIONS: dict[str, Option] = {
    "dataset.name": Option("--output_name"),
    "dataset.photos": Option("--train_data_dir", unlike="there its subfolders `REPEATS_WORDS` hold the photos"),
    "dataset.holdout_fraction": Option("--validation_split", unlike="no least number, near-duplicates may be parted"),
    "dataset.seed": Option("--validation_seed"),
    "regularize.folder": Option("--reg_data_dir"),
    "train.base": Option("--pretrained_model_name_or_path"),
    "train.resolution": Option("--resolution"),
    "train.buckets.enabled": Option("--enable_bucket"),
    "train.buckets.step": Option("--bucket_reso_steps"),
    "train.masks.source": Option(
        "--masked_loss", {"none": None, "files": ""}, unlike="outside weighs what the mask says, and the loss shrinks"
    ),
    "train.rank": Option("--network_dim"),
    "train.alpha": Option("--network_alpha", unlike="there 1 when it is not given; null here is the rank"),
    "train.layers": Option(
        "--network_args conv_dim", {"transformer": None},
        unlike="all: conv_dim as `--network_dim`, conv_alpha as `--network_alpha`; the other two have no option",
    ),
    "train.dora": Option("--network_args dora_wd", {False: None, True: "True"}, unlike=_LYCORIS),
    "train.rslora": Option("--network_args rs_lora", {False: None, True: "True"}, unlike=_LYCORIS),
    "train.text_encoders": Option("--network_train_unet_only", {False: "", True: None}),
    "train.cache_text": Option("--cache_text_encoder_outputs"),
    "train.captions.dropout": Option("--caption_dropout_rate"),
    "train.captions.shuffle": Option("--shuffle_caption"),
    "train.captions.keep": Option("--keep_tokens", unlike="there 0 when it is not given"),
    "train.optimizer.name": Option(
        "--optimizer_type", {"prodigy": "Prodigy", "adamw": "AdamW", "adamw8bit": "AdamW8bit"}
    ),
    "train.optimizer.learning_rate": Option("--learning_rate"),
    "train.optimizer.text_encoder_rate": Option("--text_encoder_lr"),
    "train.optimizer.betas": Option("--optimizer_args betas"),
    "train.optimizer.weight_decay": Option("--optimizer_args weight_decay"),
    "train.optimizer.d_coef": Option("--optimizer_args d_coef"),
    "train.optimizer.safeguard_warmup": Option("--optimizer_args safeguard_warmup", _SPELLED),
    "train.optimizer.use_bias_correction": Option("--optimizer_args use_bias_correction", _SPELLED),
    "train.optimizer.max_grad_norm": Option("--max_grad_norm"),
    "train.schedule": Option(
        "--lr_scheduler", {"constant": "constant_with_warmup", "cosine": "cosine"}, unlike="its constant has no warm-up"
    ),
    "train.warmup_steps": Option("--lr_warmup_steps"),
    "train.steps": Option("--max_train_steps"),
    "train.batch": Option("--train_batch_size", unlike="there a batch holds photos and regularization images"),
    "train.accumulate": Option("--gradient_accumulation_steps"),
    "train.prior_weight": Option("--prior_loss_weight"),
    "train.loss.kind": Option("--loss_type", {"l2": "l2", "huber": "huber"}),
    "train.loss.huber_c": Option("--huber_c"),
    "train.loss.huber_schedule": Option(
        "--huber_schedule", {"constant": "constant", "exponential": "exponential"}, unlike="there snr when not given"
    ),
    "train.loss.weighting": Option(
        "--debiased_estimation_loss", {"none": None, "min_snr": None, "debiased": ""},
        unlike="of a base that predicts velocity it weighs by 1 / (snr + 1), not by sqrt(snr) / (snr + 1)",
    ),
    "train.loss.min_snr_gamma": Option("--min_snr_gamma", unlike="min_snr is on there when this is given"),
    "train.loss.noise_offset": Option("--noise_offset"),
    "train.flip": Option("--flip_aug"),
    "train.precision": Option("--mixed_precision", PRECISIONS),
    "train.gradient_checkpointing": Option("--gradient_checkpointing"),
    "train.checkpoint_every": Option("--save_every_n_steps"),
    "train.holdout_every": Option("--validate_every_n_steps"),
    "train.samples.prompts": Option("--sample_prompts", unlike="a file; in it `--d` seed, `--s` steps, `--l` guidance"),
    "train.samples.sampler": Option(
        "--sample_sampler",
        {"euler": "euler", "euler_a": "euler_a", "dpmpp_2m": "dpmsolver++", "ddim": "ddim"},
        unlike="the other two have no option",
    ),
    "train.seed": Option("--seed"),
    "machine.workers": Option("--max_data_loader_n_workers"),
}  # fmt: skip
"""Dotted key of params.yaml -> the option of the same meaning; a key that is not here has none."""
