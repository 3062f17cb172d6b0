"""The ``train`` section: how the LoRA is trained, and which options contradict each other."""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from stages.contracts.section import Count, Door, Fraction, Positive, Sampler, Section, Seed

PRODIGY_RATE, ADAMW_RATE = 10.0, 0.1  # above these the rate was meant for the other optimizer


class Optimizer(Section):
    """AdamW (arXiv:1711.05101) or Prodigy (arXiv:2306.06101), which finds its own rate: learning_rate 1.0."""

    name: Literal["prodigy", "adamw", "adamw8bit"] = Field(
        "prodigy", description="adamw8bit needs CUDA and bitsandbytes; on a CPU it is adamw"
    )
    learning_rate: Positive = Field(
        1.0, description="AdamW: the rate itself, at most 0.1; Prodigy: a factor on the rate it finds, at most 10"
    )
    text_encoder_rate: Positive | None = Field(None, description="rate of the text encoders; default learning_rate")
    betas: tuple[Fraction, Fraction] = Field((0.9, 0.99), description="memory of the gradient's mean and of its square")
    weight_decay: Annotated[float, Field(ge=0)] = Field(0.01, description="decoupled; pulls the LoRA towards no effect")
    d_coef: Positive = Field(1.0, description="Prodigy: scales the rate it finds")
    safeguard_warmup: bool = Field(True, description="Prodigy: the low rates of a warm-up do not swell d")
    use_bias_correction: bool = Field(True, description="Prodigy: Adam's correction of the first steps")
    max_grad_norm: Annotated[float, Field(ge=0)] = Field(1.0, description="0 turns clipping off")

    @model_validator(mode="after")
    def _rates(self) -> Self:
        if self.name == "prodigy" and self.learning_rate > PRODIGY_RATE:
            raise ValueError("learning_rate: Prodigy finds its own rate; 1.0 is usual")
        if self.name != "prodigy" and self.learning_rate > ADAMW_RATE:
            raise ValueError(f"learning_rate: {self.learning_rate:g} is Prodigy's; AdamW wants 0.0001 or so")
        if self.name == "prodigy" and self.text_encoder_rate not in (None, self.learning_rate):
            raise ValueError("text_encoder_rate: Prodigy finds one rate for everything; leave it null or use adamw")
        return self


class Buckets(Section):
    """Aspect-ratio buckets: a photo keeps its shape, within limits, instead of being cropped square."""

    enabled: bool = Field(False, description="false: every photo is cropped square")
    step: Count = Field(64, description="sides are multiples of this, px")
    max_aspect: Annotated[float, Field(ge=1)] = Field(2.0, description="longest side by shortest; beyond it, cropped")


class Masks(Section):
    """What of a photo counts: its loss is multiplied by 1 inside the mask and by ``outside`` elsewhere."""

    source: Literal["none", "files", "faces"] = Field(
        "none", description="files: <photo>.mask.png beside a photo, white is inside; faces: the manifest's face boxes"
    )
    outside: Fraction = Field(0.1, description="weight of the loss outside the mask")
    margin: Annotated[float, Field(ge=0)] = Field(
        0.6, description="faces: how far beyond the face's box the mask reaches, in sizes of the box (hair, neck)"
    )


class CaptionUse(Section):
    """What is done to captions while training; the files stay as they are."""

    dropout: Fraction = Field(0.0, description="share of samples that are shown without any caption")
    shuffle: bool = Field(False, description="shuffle the comma-separated parts behind the first ``keep``")
    keep: int = Field(1, ge=0, description="parts at the front that stay in place: the trigger")


class Loss(Section):
    """How a prediction is compared with its target."""

    kind: Literal["l2", "huber"] = Field("l2", description="huber: pseudo-Huber, less moved by outliers")
    huber_c: Positive = Field(0.1, description="where Huber turns from square to linear (arXiv:2403.16728)")
    huber_schedule: Literal["constant", "exponential"] = Field(
        "exponential", description="exponential: c falls from 1 without noise to huber_c at full noise"
    )
    weighting: Literal["none", "min_snr", "debiased"] = Field(
        "min_snr", description="weight by timestep: min-SNR (arXiv:2303.09556) or debiased (arXiv:2310.08442)"
    )
    min_snr_gamma: Positive = Field(5.0, description="min_snr: signal-to-noise ratio from which on weights are capped")
    noise_offset: Fraction = Field(0.0, description="shifts each channel's noise as a whole, for very dark pictures")


class Samples(Section):
    """Pictures drawn at every checkpoint with fixed seeds, and with the trigger alone at the end."""

    prompts: tuple[str, ...] = Field((), description="{trigger} and {class_word} are filled in; empty: no samples")
    seeds: tuple[Seed, ...] = Field((1,), description="of the starting noise; each prompt is drawn with each")
    probe_seeds: tuple[Seed, ...] = Field((1, 2, 3, 4), description="of the trigger-only pictures")
    steps: Count = Field(30, description="sampler steps per sample")
    guidance: Annotated[float, Field(ge=1)] = Field(5.0, description="classifier-free guidance scale; 1 is without")
    sampler: Sampler = Field("euler", description="how samples are drawn; sweep's, so that they look alike")
    micro_batch: Count = Field(4, description="samples per forward pass, padded to this size")


class Train(Section):
    """How the LoRA is trained."""

    backend: Literal["diffusers", "kohya", "external"] | Door = Field(
        "diffusers", description="who trains; kohya: sd-scripts of machine.kohya; external: nobody, file is taken over"
    )
    file: Path | None = Field(None, description="external: a LoRA file in kohya's form, taken over byte for byte")
    file_sha256: str | None = Field(
        None, pattern=r"^[0-9a-f]{64}$", description="external: of file; another file is refused. null: not checked"
    )
    version: str = Field(pattern=r"^[A-Za-z0-9._-]+$", description="names this recipe's result, e.g. v3")
    base: Path = Field(description="base model folder (diffusers layout)")
    resolution: Count = Field(1024, description="side of a square photo, px; with buckets the area is its square")
    buckets: Buckets = Buckets()
    masks: Masks = Masks()
    rank: Count = Field(16, description="width of the LoRA: what it can hold, and the size of its file")
    alpha: Positive | None = Field(None, description="default: the rank, so that the scale is 1")
    layers: Literal["attention", "attention+feed_forward", "transformer", "all"] = Field(
        "attention",
        description="which UNet layers get a LoRA: transformer adds the projections, all also the residual blocks' "
        "convolutions (LoCon)",
    )
    dora: bool = Field(False, description="DoRA: direction and magnitude apart (arXiv:2402.09353)")
    rslora: bool = Field(False, description="rsLoRA: scale alpha / sqrt(rank) (arXiv:2312.03732)")
    text_encoders: bool = Field(False, description="train a LoRA on both text encoders too")
    cache_text: bool = Field(True, description="encode every caption once, before the first step")
    captions: CaptionUse = CaptionUse()
    optimizer: Optimizer = Optimizer()
    schedule: Literal["constant", "cosine"] = Field("cosine", description="of the rate, after the warm-up")
    warmup_steps: int = Field(0, ge=0, description="steps over which the rate rises in a line; fewer than steps")
    steps: Count = Field(2500, description="optimizer steps; each shows batch x accumulate photos")
    batch: Count = Field(1, description="training photos per forward pass")
    accumulate: Count = Field(1, description="forward passes per step")
    prior_batch: int = Field(0, ge=0, description="regularization images per forward pass")
    prior_weight: Annotated[float, Field(ge=0)] = Field(1.0, description="weight of the regularization images' loss")
    loss: Loss = Loss()
    flip: bool = Field(False, description="mirror photos at random; wrong for asymmetric faces")
    ema: Annotated[float, Field(ge=0, lt=1)] = Field(
        0.0, description="decay of the moving average of the weights that is saved instead of them; 0 is off"
    )
    precision: Literal["float32", "bfloat16", "float16"] = Field(
        "bfloat16", description="of frozen weights and of autocast; the LoRA stays float32; float16 needs CUDA"
    )
    gradient_checkpointing: bool = Field(False, description="keep few activations, compute the rest again: slower")
    checkpoint_every: Count = Field(500, description="steps between LoRA files and samples; at most steps")
    holdout_every: Count = Field(250, description="steps between measurements of the holdout loss")
    samples: Samples = Samples()
    seed: Seed = Field(0, description="of the LoRA's first values, the order of photos, noise and timesteps")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        for wrong, why in _contradictions(self):
            if wrong:
                raise ValueError(why)
        return self


def _contradictions(train: Train) -> list[tuple[bool, str]]:
    """Options that contradict each other, each with the reason."""
    rate = train.optimizer.text_encoder_rate
    return [
        (train.checkpoint_every > train.steps,
         f"checkpoint_every: {train.checkpoint_every} is more than steps ({train.steps})"),
        (train.warmup_steps >= train.steps, f"warmup_steps: {train.warmup_steps} is not less than steps"),
        (train.cache_text and train.text_encoders,
         "cache_text: a text encoder that is trained has no outputs to cache; set cache_text to false"),
        (train.cache_text and train.captions.shuffle,
         "captions.shuffle: every order is another caption, so none can be cached; set cache_text to false"),
        (rate is not None and not train.text_encoders,
         "optimizer.text_encoder_rate: is set, but text_encoders is false: nothing would use it"),
        (train.backend == "external" and train.file is None,
         "file: backend external takes over a LoRA file; name it"),
        (train.backend != "external" and train.file is not None,
         f"file: is set, but backend {train.backend} trains its own; set backend to external"),
        (train.dora and train.rslora,
         "rslora: DoRA sets the length of every row itself, so another scale of the LoRA changes nothing lasting"),
    ]  # fmt: skip
