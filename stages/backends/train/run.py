"""One training under way: a step is a function of its number and of the state that the step before left."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from diffusers.training_utils import EMAModel

from stages.backends.sdxl import compile_blocks, open_pipeline
from stages.backends.train.batches import Batch, Draw, collate, holdout_batches
from stages.backends.train.data import Encoder, check_sizes
from stages.backends.train.model import LoraModel, open_accelerator
from stages.backends.train.optimizer import effective_rate, open_optimizer, open_rate_schedule
from stages.backends.train.state import load_state, save_state
from stages.backends.train.transfer import send
from stages.contracts.lora_names import UNET
from stages.contracts.settings import Machine
from stages.contracts.train_settings import Train
from stages.contracts.training import Checkpoint, Examples, Step
from stages.runtime.errors import UserError


class Run:
    """The model, its optimizer and the encoded pictures; several processes share each step's samples."""

    def __init__(self, train: Train, machine: Machine, examples: Examples) -> None:
        self.train, self.threads = train, max(1, machine.threads // machine.processes)
        torch.set_num_threads(self.threads)
        self.accelerator = open_accelerator(train.precision, machine.device)
        pipeline = open_pipeline(train.base, torch.float32)
        check_sizes(train, pipeline)
        encoder = Encoder(pipeline.vae.to(self.accelerator.device), train)
        prior = examples.prior if train.prior_batch and train.prior_weight else ()
        self.own = encoder.encode(examples.train, "encode photos", flip=train.flip)
        self.prior = encoder.encode(prior, "encode regularization images")
        holdout = encoder.encode(examples.holdout, "encode holdout photos")
        pipeline.vae = None  # everything is encoded: its memory is the UNet's now
        self.model = LoraModel(pipeline, train, self.accelerator)
        known = [picture.caption for picture in (*self.own, *self.prior, *holdout)]
        self.model.remember_prompts([*known, ""] if train.captions.dropout else known)
        if machine.compile:
            compile_blocks(self.model.unet)
        self._open_optimizer()
        length = self.model.schedule.length
        offset = train.loss.noise_offset
        self.draws = [(Draw("own", train.batch, train.seed, length, offset, train.captions), self.own)]
        if self.prior:
            self.draws.append((Draw("prior", train.prior_batch, train.seed, length, offset), self.prior))
        self.ahead: dict[int, list[Batch]] = {}  # drawn while the device was still at the step before
        self.tests = holdout_batches(holdout, train.batch, train.seed, length)

    def _open_optimizer(self) -> None:
        text = [p for name, parameters in self.model.parameters.items() if name != UNET for p in parameters]
        unet = self.model.parameters[UNET]
        self.trained = [*unet, *text]
        opened = open_optimizer(self.train.optimizer, unet, text, self.accelerator.device)
        self.optimizer = self.accelerator.prepare(opened)
        self.rates = open_rate_schedule(opened, self.train.schedule, self.train.warmup_steps, self.train.steps)
        self.average = EMAModel(self.trained, decay=self.train.ema) if self.train.ema else None

    @property
    def leads(self) -> bool:
        """Whether this process is the one that writes."""
        return bool(self.accelerator.is_main_process)

    def _batches(self, turn: int) -> list[Batch]:
        """This process's part of a forward pass: the photos, then the regularization images."""
        if turn in self.ahead:
            return self.ahead.pop(turn)
        samples = [sample for draw, pictures in self.draws for sample in draw.samples(pictures, turn)]
        return collate(samples[self.accelerator.process_index :: self.accelerator.num_processes])

    def _turns(self, step: int) -> range:
        """The forward passes of a step."""
        return range((step - 1) * self.train.accumulate + 1, step * self.train.accumulate + 1)

    def advance(self, step: int) -> Step:
        """One optimizer step; ``step`` counts from 1.  The device is waited for when all of it has been asked for.

        Raises:
            UserError: when the loss is not a number any more; the weights are not to be used then.
        """
        torch.set_num_threads(self.threads)  # who draws samples in this process may have changed it
        losses = self._learn(step)
        if step < self.train.steps:
            self.ahead = {turn: self._batches(turn) for turn in self._turns(step + 1)}
        self._share_gradients()
        if self.train.optimizer.max_grad_norm:
            self.accelerator.clip_grad_norm_(self.trained, self.train.optimizer.max_grad_norm)
        self.optimizer.step()
        rate, d = effective_rate(self.optimizer.optimizer)
        self.rates.step()
        self.optimizer.zero_grad()
        if self.average is not None:
            self.average.step(self.trained)
        own, prior = self._tell(losses)
        if not math.isfinite(own + prior):
            raise UserError("train", f"the loss is {own + prior} at step {step}", "lower the rate, or use bfloat16")
        due = step % self.train.holdout_every == 0 or step == self.train.steps
        held = self.holdout_loss() if due else None
        return Step(step, own, prior if self.prior else None, held, rate, d)

    def _learn(self, step: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """Add up the gradients of a step; the loss of each batch's samples, still on the device, and which are photos.

        The loss is mean(photos) + prior_weight * mean(regularization images): prior preservation (Ruiz et al. 2022,
        arXiv:2208.12242, equation 2).
        """
        train, told = self.train, []
        for batch in (batch for turn in self._turns(step) for batch in self._batches(turn)):
            losses = self.model.losses(batch)
            shares = torch.where(batch.own, 1 / train.batch, train.prior_weight / max(1, train.prior_batch))
            self.accelerator.backward((losses * send(shares, losses.device)).sum() / train.accumulate)
            told.append((losses.detach().float(), batch.own))
        return told

    def _tell(self, losses: list[tuple[torch.Tensor, torch.Tensor]]) -> tuple[float, float]:
        """The step's mean loss on photos and on regularization images, of all processes."""
        train, sums = self.train, torch.zeros(2)
        flat = torch.cat([torch.zeros(0, device=self.accelerator.device), *(told for told, _ in losses)]).cpu()
        for told, (_, own) in zip(flat.split([len(own) for _, own in losses]), losses, strict=True):
            sums += torch.stack([told[own].sum(), told[~own].sum()])
        sums = self.accelerator.reduce(sums.to(self.accelerator.device), "sum").cpu()
        photos, images = (sums / train.accumulate).tolist()
        return photos / train.batch, images / max(1, train.prior_batch)

    def _share_gradients(self) -> None:
        """Add up what the processes found; each saw its own part of the step's samples."""
        if self.accelerator.num_processes == 1:
            return
        found = [parameter for parameter in self.trained if parameter.requires_grad]
        for parameter in found:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        flat = torch.cat([parameter.grad.flatten() for parameter in found])  # type: ignore[union-attr]
        total, start = self.accelerator.reduce(flat, "sum"), 0
        for parameter in found:
            parameter.grad = total[start : start + parameter.numel()].view_as(parameter)
            start += parameter.numel()

    @torch.no_grad()
    def holdout_loss(self) -> float | None:
        """Mean loss of the holdout photos at fixed noise: what tells learning from memorising."""
        if not self.tests:
            return None
        with self._averaged():
            return torch.cat([self.model.losses(batch) for batch in self.tests]).mean().item()

    def checkpoint(self, step: int) -> Checkpoint:
        """The LoRA as it is saved."""
        with self._averaged():
            return Checkpoint(step, self.model.export())

    @contextmanager
    def _averaged(self) -> Iterator[None]:
        """With ``ema``: the moving average in place of the weights."""
        if self.average is None:
            yield
            return
        self.average.store(self.trained)
        self.average.copy_to(self.trained)
        try:
            yield
        finally:
            self.average.restore(self.trained)

    def save(self, folder: Path, step: int) -> None:
        """Save everything that the step after ``step`` depends on."""
        scaler = self.accelerator.scaler
        state: dict[str, Any] = {
            "step": step, "lora": [parameter.detach().cpu() for parameter in self.trained],
            "optimizer": self.optimizer.optimizer.state_dict(), "rates": self.rates.state_dict(),
            "scaler": None if scaler is None else scaler.state_dict(),
            "average": None if self.average is None else self.average.state_dict(),
        }  # fmt: skip
        save_state(folder, state)

    def resume(self, folder: Path) -> int:
        """Go on from the state in ``folder``; the step that it was saved after, 0 where there is none.

        Raises:
            UserError: when the state is damaged.
        """
        state = load_state(folder)
        if state is None:
            return 0
        with torch.no_grad():
            for parameter, saved in zip(self.trained, state["lora"], strict=True):
                parameter.copy_(saved)
        self.optimizer.optimizer.load_state_dict(state["optimizer"])
        self.rates.load_state_dict(state["rates"])
        if self.accelerator.scaler is not None:
            self.accelerator.scaler.load_state_dict(state["scaler"])
        if self.average is not None:
            self.average.load_state_dict(state["average"])
            self.average.to(self.accelerator.device)
        return int(state["step"])
