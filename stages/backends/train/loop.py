"""The training loop: a LoRA on a frozen SDXL base, with diffusers, peft and accelerate."""

import math
from collections.abc import Iterator

import torch

from stages.backends.sdxl import check_base, open_pipeline
from stages.backends.train.batches import Batch, draw_batch, holdout_batches, join
from stages.backends.train.data import check_size, encode_pictures
from stages.backends.train.loss import total_loss
from stages.backends.train.model import LoraModel, open_accelerator
from stages.backends.train.optimizer import check_rates, effective_rate, open_optimizer, open_rate_schedule
from stages.contracts.lora_names import UNET
from stages.contracts.settings import Machine, Train
from stages.contracts.training import Checkpoint, Examples, Step
from stages.runtime.errors import UserError


class Run:
    """One training under way: the model, its optimizer and the encoded pictures."""

    def __init__(self, train: Train, machine: Machine, examples: Examples) -> None:
        self.train = train
        self.accelerator = open_accelerator(train.precision, machine.device)
        pipeline = open_pipeline(train.base, torch.float32)
        check_size(train.resolution, pipeline)
        vae = pipeline.vae.to(self.accelerator.device)
        size, prior = train.resolution, examples.prior if train.prior_batch and train.prior_weight else ()
        self.own = encode_pictures(vae, examples.train, size, "encode photos", flip=train.flip)
        self.prior = encode_pictures(vae, prior, size, "encode regularization images")
        self.holdout = encode_pictures(vae, examples.holdout, size, "encode holdout photos")
        pipeline.vae = None  # everything is encoded: its memory is the UNet's now
        self.model = LoraModel(pipeline, train, self.accelerator)
        self.model.remember_prompts([*self.own.captions, *self.prior.captions, *self.holdout.captions])
        text = [p for name, parameters in self.model.parameters.items() if name != UNET for p in parameters]
        unet = self.model.parameters[UNET]
        self.trained = [*unet, *text]
        self.optimizer = self.accelerator.prepare(open_optimizer(train.optimizer, unet, text, self.accelerator.device))
        self.rates = open_rate_schedule(self.optimizer.optimizer, train.schedule, train.warmup_steps, train.steps)
        self.tests = holdout_batches(self.holdout, train.batch, train.seed, self.model.schedule.length)

    def _batch(self, step: int) -> Batch:
        """The photos of a step, followed by its regularization images."""
        train, length = self.train, self.model.schedule.length
        own = draw_batch(self.own, train.batch, step, train.seed, "own", length)
        if not self.prior:
            return own
        return join(own, draw_batch(self.prior, train.prior_batch, step, train.seed, "prior", length))

    def advance(self, step: int) -> Step:
        """One optimizer step; ``step`` counts from 1.

        Raises:
            UserError: when the loss is not a number any more.
        """
        losses = self.model.losses(self._batch(step))
        own, prior = losses[: self.train.batch], losses[self.train.batch :] if self.prior else None
        loss = total_loss(own, prior, self.train.prior_weight)
        if not math.isfinite(loss.item()):
            raise UserError("train", f"the loss is {loss.item()} at step {step}", "lower the rate, or use bfloat16")
        self.accelerator.backward(loss)
        if self.train.optimizer.max_grad_norm:
            self.accelerator.clip_grad_norm_(self.trained, self.train.optimizer.max_grad_norm)
        self.optimizer.step()
        rate, d = effective_rate(self.optimizer.optimizer)
        self.rates.step()
        self.optimizer.zero_grad()
        due = step % self.train.holdout_every == 0 or step == self.train.steps
        return Step(
            step, own.mean().item(), None if prior is None else prior.mean().item(),
            self.holdout_loss() if due else None, rate, d,
        )  # fmt: skip

    @torch.no_grad()
    def holdout_loss(self) -> float | None:
        """Mean loss of the holdout photos at fixed noise: what tells learning from memorising."""
        if not self.tests:
            return None
        return torch.cat([self.model.losses(batch) for batch in self.tests]).mean().item()


class DiffusersTrainer:
    """Trains a LoRA in kohya's form on an SDXL base."""

    def __init__(self, train: Train, machine: Machine) -> None:
        """Check what can be checked without the pictures.

        Raises:
            UserError: when the settings contradict each other or the base is missing.
        """
        check_rates(train.optimizer, text_encoders=train.text_encoders)
        check_base(train.base)
        self.settings, self.machine = train, machine

    def train(self, examples: Examples) -> Iterator[Step | Checkpoint]:
        """Train; see contracts.training.Trainer."""
        train = self.settings
        _make_repeatable(self.machine)
        if not examples.train:
            raise UserError("train", "there are no photos to train on", "lower dataset.holdout_fraction")
        if train.prior_batch and train.prior_weight and not examples.prior:
            what = f"is {train.prior_batch}, but there are no regularization images"
            raise UserError("train.prior_batch", what, "set it to 0, or regularize.source to base")
        run = Run(train, self.machine, examples)
        yield Step(0, None, None, run.holdout_loss(), *effective_rate(run.optimizer.optimizer))
        for step in range(1, train.steps + 1):
            yield run.advance(step)
            if step % train.checkpoint_every == 0 or step == train.steps:
                yield Checkpoint(step, run.model.export())


def _make_repeatable(machine: Machine) -> None:
    """The same threads and kernels every time, so that the same training gives the same bytes."""
    torch.set_num_threads(machine.threads)
    if machine.device.startswith("cuda"):
        torch.backends.cudnn.benchmark = False
        torch.use_deterministic_algorithms(True, warn_only=True)
