"""What sdxl_train_network.py is told: the train section in the words of contracts.kohya; and what it cannot be told."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

from stages.contracts.kohya import OPTIONS, Option
from stages.contracts.settings import Machine, Train

# Decided here: one process reads what is cached anyway, fused attention, and a log without colours and columns.
FIXED = (
    "--network_module", "networks.lora", "--save_model_as", "safetensors", "--save_precision", "fp16",
    "--cache_latents", "--no_half_vae", "--sdpa", "--max_data_loader_n_workers", "0", "--log_with", "tensorboard",
    "--console_log_simple",
)  # fmt: skip
ELSEWHERE = {
    "train.backend": "it is this one",
    "train.version": "a name",
    "train.file": "external's",
    "train.file_sha256": "external's",
    "train.base": "the folder's full path",
    "train.buckets.max_aspect": "--min_bucket_reso and --max_bucket_reso",
    "train.masks.outside": "masks.source must be none",
    "train.masks.margin": "masks.source must be none",
    "train.prior_batch": "the subset is_reg = true: as many class images as photos, mixed into the batches",
    "train.holdout_every": "the holdout loss is not measured",
    "train.samples.prompts": "drawn here, as with every backend",
    "train.samples.seeds": "drawn here",
    "train.samples.probe_seeds": "drawn here",
    "train.samples.steps": "drawn here",
    "train.samples.guidance": "drawn here",
    "train.samples.sampler": "drawn here",
    "train.samples.micro_batch": "drawn here",
}
"""Settings that are not passed as the option of the table, and how they are met instead."""
REFUSED: dict[str, tuple[tuple[Any, ...], str]] = {
    "train.masks.source": (("none",), "its masked loss knows no weight for outside, and shrinks with the mask"),
    "train.layers": (("transformer", "all"), "it trains all of the transformer blocks, or the convolutions too (all)"),
    "train.dora": ((False,), "that is LyCORIS's, which is not started here"),
    "train.rslora": ((False,), "that is LyCORIS's, which is not started here"),
    "train.ema": ((0.0,), "it saves no moving average of the weights"),
}
"""Settings that it can meet with some values only: those, and why."""
SEEDS = 2**32  # numpy's, which sd-scripts seeds with the same number
LEAST_BUCKET = 32


def flatten(train: Train) -> dict[str, Any]:
    """Every setting of the section by its dotted key."""

    def walk(values: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
        for key, value in values.items():
            if isinstance(value, dict):
                yield from walk(value, f"{prefix}{key}.")
            else:
                yield f"{prefix}{key}", value

    return dict(walk(train.model_dump(), "train."))


def uses_prior(train: Train) -> bool:
    """Whether class images are trained on."""
    return bool(train.prior_batch and train.prior_weight)


def list_refusals(train: Train, machine: Machine) -> list[str]:
    """One line per setting that sd-scripts cannot meet, each with the reason; empty when all can be."""
    values = flatten(train)
    problems = [
        f"{key}: sd-scripts cannot do {values[key]!r}: {why}"
        for key, (allowed, why) in REFUSED.items() if values[key] not in allowed
    ]  # fmt: skip
    batch = train.batch
    more = [
        (uses_prior(train) and train.prior_batch != batch,
         f"train.prior_batch: is {train.prior_batch}: sd-scripts shows as many class images as photos; set it to "
         f"train.batch ({batch}) or 0"),
        (train.cache_text and train.captions.dropout > 0,
         "train.captions.dropout: sd-scripts drops no captions that are cached; set train.cache_text to false"),
        (train.buckets.enabled and train.buckets.step % LEAST_BUCKET > 0,
         f"train.buckets.step: is {train.buckets.step}: sd-scripts wants a multiple of {LEAST_BUCKET} for SDXL"),
        (train.seed >= SEEDS, f"train.seed: is {train.seed}: sd-scripts takes seeds below 2**32"),
        (train.optimizer.name == "adamw8bit" and not machine.device.startswith("cuda"),
         f"train.optimizer.name: adamw8bit needs CUDA, machine.device is {machine.device}"),
        (machine.processes > 1,
         f"machine.processes: is {machine.processes}: sd-scripts is started as one process; set it to 1"),
    ]  # fmt: skip
    return problems + [why for wrong, why in more if wrong]


def _idle(train: Train) -> set[str]:
    """Keys that change nothing under these settings, so that saying them could only mislead."""
    optimizer, loss = "train.optimizer.", "train.loss."
    idle: set[str] = set(ELSEWHERE)
    if train.optimizer.name != "prodigy":
        idle |= {f"{optimizer}{key}" for key in ("d_coef", "safeguard_warmup", "use_bias_correction")}
    if train.loss.kind != "huber":
        idle |= {f"{loss}huber_c", f"{loss}huber_schedule"}
    if train.loss.weighting != "min_snr":
        idle.add(f"{loss}min_snr_gamma")
    if not train.buckets.enabled:
        idle.add("train.buckets.step")
    return idle


def _word(option: Option, value: Any) -> str | None:
    """The text behind an option, empty for a switch; None where it is left out."""
    if option.words:
        return option.words.get(value)
    match value:
        case None | False:
            return None
        case True:
            return ""
        case tuple() | list():
            return ",".join(str(part) for part in value)
    return str(value)


def build_options(train: Train, noise: Mapping[str, Any]) -> list[str]:
    """The options of sdxl_train_network.py that follow from the settings and from how the base was noised.

    ``noise`` is the base's scheduler configuration.  Paths are not among them.
    """
    values = flatten(train)
    alpha = train.alpha or train.rank
    values |= {"train.alpha": alpha, "train.batch": train.batch * (2 if uses_prior(train) else 1)}
    if train.layers == "all":
        values["train.layers"] = train.rank
    idle, single, many = _idle(train), [], defaultdict(list)
    for key, option in OPTIONS.items():
        if key not in values or key in idle:
            continue
        word = str(values[key]) if key == "train.layers" and train.layers == "all" else _word(option, values[key])
        if word is None:
            continue
        name, _, part = option.name.partition(" ")
        if part:
            many[name].append(f"{part}={word}")
        else:
            single += [name, word] if word else [name]
    if train.optimizer.name == "prodigy":
        many["--optimizer_args"].append("decouple=True")
    if train.layers == "all":
        many["--network_args"].append(f"conv_alpha={alpha}")
    single += [*_bucket_sides(train), *_noise_options(noise)]
    return [*FIXED, *single, *(word for name, parts in many.items() for word in (name, *parts))]


def _bucket_sides(train: Train) -> list[str]:
    """The shortest and the longest side, px: of buckets as many pixels as the square, of the widest aspect allowed."""
    if not train.buckets.enabled:
        return []
    step, root = train.buckets.step, train.buckets.max_aspect**0.5
    shortest = max(step, int(train.resolution / root) // step * step)
    longest = -(-int(train.resolution * root) // step) * step
    return ["--min_bucket_reso", str(shortest), "--max_bucket_reso", str(longest)]


def _noise_options(noise: Mapping[str, Any]) -> list[str]:
    options = ["--v_parameterization"] if noise.get("prediction_type") == "v_prediction" else []
    return [*options, *(["--zero_terminal_snr"] if noise.get("rescale_betas_zero_snr") else [])]
