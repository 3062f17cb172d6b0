"""A training step of ours against one of diffusers' own SDXL LoRA script: same base, photos, batch, rank, precision.

    git clone https://github.com/huggingface/diffusers
    python -m venv PEER && PEER/bin/pip install diffusers peft datasets tensorboard torch torchvision
    PISTACHIO_DIFFUSERS=diffusers PISTACHIO_DIFFUSERS_PYTHON=PEER/bin/python python -m bench train

Each as it is: the script encodes pictures and captions anew in every step, ours did so once.  Both wait between steps
in a process of their own and are timed from step to step.  That they compute the same is seen on the script's first
steps: our loop, given its batches and the LoRA that it began with, must tell its losses.
"""

import atexit
import json
import os
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from itertools import islice, product
from pathlib import Path
from typing import Any

import torch

from bench.harness import Case, Timed, require_peer
from bench.results_file import describe_peer
from miniature.places import DEVELOPMENT, WEIGHTS
from miniature.render import render, sample_identity, sample_scene
from stages.backends.train.batches import Batch
from stages.backends.train.loop import DiffusersTrainer
from stages.backends.train.run import Run
from stages.contracts.lora_metadata import PRECISIONS
from stages.contracts.settings import Machine
from stages.contracts.train_settings import Train
from stages.contracts.training import Event, Example, Examples, Step
from stages.runtime.pictures import write_png

DOES = "a training step on the miniature's base: ours against diffusers' SDXL LoRA script"
ROOT = Path(__file__).parents[1]
BASE = WEIGHTS / "base"
SCRIPT = Path("examples/text_to_image/train_text_to_image_lora_sdxl.py")
PHOTOS, PHOTO_PX, SIDE, BATCH, RANK, RATE, STEPS, CHECKED = 24, 96, 64, 8, 16, 1e-3, 10, 5
TOLERANCE = {"float32": 1e-4, "bfloat16": 0.01}
ENDLESS = 1_000_000
KINDS = {
    "convolution": ("aten::mkldnn_convolution", "aten::convolution_backward"),
    "matrix products": ("aten::mm", "aten::addmm", "aten::bmm", "aten::baddbmm"),
}


@dataclass(frozen=True)
class Photos:
    """The same pictures for both: a folder as the script reads it, and examples as ours does."""

    folder: Path
    examples: Examples


def draw_photos(folder: Path) -> Photos:
    """Photos of a development person with a caption each."""
    who, made = sample_identity(DEVELOPMENT.start), []
    for number in range(PHOTOS):
        path = folder / f"{number:02d}.png"
        write_png(path, render(who, sample_scene(number), PHOTO_PX).image)
        made.append(Example(path, f"amiranoor, a woman, photo number {number}"))
    lines = [json.dumps({"file_name": one.picture.name, "text": one.caption}) for one in made]
    (folder / "metadata.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return Photos(folder, Examples(tuple(made), (), ()))


def recipe(precision: str) -> Train:
    """What the script does, in our settings."""
    return Train.model_validate({
        "version": "bench", "base": BASE, "resolution": SIDE, "rank": RANK, "layers": "attention", "batch": BATCH,
        "prior_batch": 0, "steps": ENDLESS, "checkpoint_every": ENDLESS, "holdout_every": ENDLESS,
        "optimizer": {"name": "adamw", "learning_rate": RATE, "betas": (0.9, 0.999), "weight_decay": 0.01},
        "schedule": "constant", "precision": precision, "loss": {"weighting": "none"},
    })  # fmt: skip


class Script:
    """diffusers' script in a process of its own, one per precision, started when it is first needed."""

    def __init__(self, folder: Path, photos: Photos, precision: str) -> None:
        self.folder, self.photos, self.precision = folder, photos, precision
        todo = "git clone huggingface/diffusers and name the folder"
        self.clone = require_peer("PISTACHIO_DIFFUSERS", "a clone of diffusers", todo).resolve()
        todo = "name a Python with diffusers, peft, datasets and tensorboard"
        self.python = require_peer("PISTACHIO_DIFFUSERS_PYTHON", "the Python for its script", todo).absolute()
        self.process: subprocess.Popen[str] | None = None
        self.record = folder / f"{precision}.pt"

    def _start(self) -> subprocess.Popen[str]:
        options = {
            "pretrained_model_name_or_path": BASE, "train_data_dir": self.photos.folder, "caption_column": "text",
            "resolution": SIDE, "train_batch_size": BATCH, "max_train_steps": ENDLESS, "rank": RANK, "seed": 0,
            "checkpointing_steps": ENDLESS, "learning_rate": RATE, "lr_scheduler": "constant",
            "mixed_precision": PRECISIONS[self.precision], "output_dir": self.folder / f"out-{self.precision}",
        }  # fmt: skip
        words = [f"--{name}={value}" for name, value in options.items()]
        offline = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "HF_HOME": str(self.folder / "cache")}
        with (self.folder / f"{self.precision}.log").open("wb") as log:
            return subprocess.Popen(
                [self.python, "-m", "bench.diffusers_script", self.clone / SCRIPT, self.record, str(CHECKED), *words,
                 "--center_crop"],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True, cwd=self.folder,
                env=os.environ | offline | {"PYTHONPATH": str(ROOT)},
            )  # fmt: skip

    def answer(self) -> dict[str, Any]:
        """What it says next.

        Raises:
            RuntimeError: when it ended instead.
        """
        assert self.process is not None
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"the script ended: {(self.folder / f'{self.precision}.log').read_text()[-2000:]}")
        said: dict[str, Any] = json.loads(line)
        return said

    def __call__(self) -> Timed:
        """``STEPS`` steps of it."""
        if self.process is None:
            self.process = self._start()
            atexit.register(self.process.kill)
            self.answer()  # the steps that are recorded
        assert self.process.stdin is not None
        self.process.stdin.write(f"{STEPS}\n")
        self.process.stdin.flush()
        said = self.answer()
        return Timed(said["losses"], said["seconds"])

    def describe(self) -> dict[str, Any]:
        """Its versions, and what stands in for torchvision."""
        has = (
            subprocess.run([self.python, "-c", "import torchvision"], capture_output=True, check=False).returncode == 0
        )
        return describe_peer(self.clone, self.python) | {
            "torchvision": "its own" if has else "bench.torchvision_standin"
        }


@dataclass
class Ours:
    """Our training loop as the train stage runs it, stopped between steps."""

    folder: Path
    photos: Photos
    precision: str
    compiled: bool = False
    events: Iterator[Event] | None = None
    differences: list[float] = field(default_factory=list)

    @property
    def machine(self) -> Machine:
        """The script's threads, and no save of the state within what is timed."""
        return Machine(threads=torch.get_num_threads(), save_seconds=1e9, compile=self.compiled)

    def __call__(self) -> Timed:
        """``STEPS`` steps."""
        os.chdir(self.folder)  # TensorBoard's files go to the working directory
        if self.events is None:
            self.events = DiffusersTrainer(recipe(self.precision), self.machine).train(
                self.photos.examples, self.folder
            )
            next(self.events)
        start = time.perf_counter()
        losses = [step.loss for step in islice(self.events, STEPS) if isinstance(step, Step)]
        return Timed(losses, time.perf_counter() - start)

    def profile(self) -> dict[str, float]:
        """Shares of the processor's time in ``STEPS`` steps, by kind of work."""
        assert self.events is not None
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as seen:
            list(islice(self.events, STEPS))
        spent = {event.key: event.self_cpu_time_total for event in seen.key_averages()}
        found = {kind: sum(t for key, t in spent.items() if any(w in key for w in words)) / sum(spent.values())
                 for kind, words in KINDS.items()}  # fmt: skip
        optimizer = sum(e.cpu_time_total for e in seen.key_averages() if e.key.startswith("Optimizer.step"))
        return {kind: round(share, 3) for kind, share in found.items()} | {
            "optimizer, whole": round(optimizer / sum(spent.values()), 3)
        }

    def retrace(self, record: dict[str, Any]) -> list[float]:
        """Our losses on the batches that the script saw, from the LoRA that it began with."""
        run = Run(recipe(self.precision), self.machine, self.photos.examples)
        tokenizer, batches = run.model.prompts.pipeline.tokenizer, []
        known = {tuple(_tokens(tokenizer, one.caption)): one.caption for one in self.photos.examples.train}
        for (latents, noise, timesteps, ids), tokens in zip(record["batches"], record["tokens"], strict=True):
            captions = tuple(known[tuple(row)] for row in tokens.tolist())
            batches.append(
                Batch(latents, noise, timesteps, ids, captions, None, torch.ones(len(ids), dtype=torch.bool))
            )
        begun = record["lora"]
        with torch.no_grad():
            for name, parameter in run.model.unet.named_parameters():
                if parameter.requires_grad:
                    parameter.copy_(begun.pop(name))
        assert not begun, f"ours has no {sorted(begun)}"
        run._batches = lambda turn: batches[turn - 1 : turn]  # type: ignore[method-assign]
        return [run.advance(number).loss or 0.0 for number in range(1, len(batches) + 1)]

    def compare(self, script: Script, _ours: object, _theirs: object) -> str:
        """What differs between the script's recorded losses and ours on the same batches."""
        record = torch.load(script.record, map_location="cpu", weights_only=True)
        retraced = self.retrace(record)
        self.differences = [abs(a / b - 1) for a, b in zip(retraced, record["losses"], strict=True)]
        if max(self.differences) <= TOLERANCE[self.precision]:
            return ""
        return f"losses {retraced}, the script's {record['losses']}"


def _tokens(tokenizer: Any, caption: str) -> list[int]:
    length = tokenizer.model_max_length
    ids: list[int] = tokenizer(caption, padding="max_length", max_length=length, truncation=True).input_ids
    return ids


def prepare(folder: Path) -> list[Case]:
    """bfloat16 and float32, ours as it is and with ``machine.compile``; the script as its README starts it."""
    photos, cases = draw_photos(folder / "photos"), []
    scripts = {precision: Script(folder, photos, precision) for precision in TOLERANCE}
    for (precision, tolerance), compiled in product(TOLERANCE.items(), (False, True)):
        script, ours = scripts[precision], Ours(folder, photos, precision, compiled)
        name = f"{precision}, ours compiled" if compiled else precision
        cases.append(
            Case(
                ours, script, partial(ours.compare, script),
                f"losses of its first {CHECKED} steps within {tolerance:g}, on its batches, from its LoRA",
                STEPS, f"steps of batch {BATCH}", name, aim=1.5, peers={"diffusers": script.describe()},
                figures=partial(_figures, ours),
            )
        )  # fmt: skip
    return cases


def _figures(ours: Ours) -> dict[str, Any]:
    told = {"largest_loss_difference": max(ours.differences), "rank": RANK, "px": SIDE, "threads": ours.machine.threads}
    return told | {"shares": ours.profile()}
