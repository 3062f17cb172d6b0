"""The peers of `bench.gpu`: diffusers' and kohya's own SDXL LoRA scripts, unchanged, on the same base and pictures.

    git clone https://github.com/huggingface/diffusers; git clone https://github.com/kohya-ss/sd-scripts
    PISTACHIO_DIFFUSERS=diffusers PISTACHIO_DIFFUSERS_PYTHON=A/bin/python       # diffusers peft datasets tensorboard
    PISTACHIO_KOHYA=sd-scripts PISTACHIO_KOHYA_PYTHON=B/bin/python              # its requirements.txt

Each runs in its own environment with a torch for the card, and is timed from step to step (`timed_script`).  All train
rank 16 in bfloat16 with AdamW at a constant rate and PyTorch's fused attention, without checkpointing.  diffusers has
two scripts for this: one encodes pictures and captions anew in every step, the advanced one can remember them.
"""

import json
import os
import shutil
import statistics
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from bench.flops import count_training
from bench.gpu_cases import NotHereError, Place, Training, free, share
from bench.gpu_model import build_pipeline
from bench.harness import require_peer
from bench.results_file import describe_peer
from stages.backends.train.kohya import KohyaTrainer
from stages.backends.train.kohya_files import Place as KohyaPlace
from stages.backends.train.kohya_process import environment, last_words
from stages.contracts.settings import Kohya
from stages.runtime.errors import UserError
from stages.runtime.processes import end_with_parent

TIMED = Path(__file__).with_name("timed_script.py")
WARM_UP, LEAST, STEPS = 3, 3, 100_000
GIB = 2**30
ADVANCED = "examples/advanced_diffusion_training/train_dreambooth_lora_sdxl_advanced.py"
TEXT_TO_IMAGE = "examples/text_to_image/train_text_to_image_lora_sdxl.py"


@dataclass(frozen=True)
class Peer:
    """One script of a peer; ``layers`` says what it puts a LoRA into, in our words."""

    name: str
    of: str  # whose: what the aim names
    what: str  # is set beside batch, rank and precision
    layers: str = "attention"

    def ours(self, batch: int) -> Training:
        """The training of ours that does the same."""
        return Training(batch, layers=self.layers)


CACHED = Peer("diffusers, advanced DreamBooth script", "diffusers", "--cache_latents; one prompt, encoded once; sdpa")
PLAIN = Peer("diffusers, text-to-image script", "diffusers", "it can remember nothing; sdpa; 4 workers read pictures")
KOHYA = Peer("kohya's sd-scripts", "kohya", "--cache_latents --cache_text_encoder_outputs --sdpa --no_half_vae",
             "transformer")  # fmt: skip
PEERS = (CACHED, KOHYA, PLAIN)


def write_base(place: Place) -> Path:
    """The random base as a folder that peers read, made on the first call: bfloat16, text encoders of full depth.

    sd-scripts read the first text encoder's layer 11 and the second's last but one.
    """
    folder = place.folder.parent / "peers-base"
    if not folder.exists():
        import torch

        beside = folder.with_name("peers-base.part")
        shutil.rmtree(beside, ignore_errors=True)
        pipeline = build_pipeline(place.shape, torch.bfloat16, place.device, whole_texts=True)
        pipeline.save_pretrained(beside)
        for name in ("tokenizer", "tokenizer_2"):
            _write_vocabulary(beside / name)
        beside.rename(folder)
        del pipeline
        free(place.device)  # a peer shall have the card for itself
    return folder


def _write_vocabulary(folder: Path) -> None:
    """A tokenizer as transformers before 5 reads it, which sd-scripts pin."""
    model = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))["model"]
    (folder / "vocab.json").write_text(json.dumps(model["vocab"]), encoding="utf-8")
    lines = ["#version: 0.2", *(" ".join(pair) for pair in model["merges"])]
    (folder / "merges.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")


def _write_photos(place: Place, folder: Path) -> tuple[Path, Path]:
    """Two folders of the same pictures: with captions, as the first script reads them, and alone."""
    told, alone = folder / "captioned", folder / "alone"
    for one in (told, alone):
        shutil.rmtree(one, ignore_errors=True)
        one.mkdir(parents=True)
        for example in place.examples.train:
            shutil.copy(example.picture, one)
    lines = [json.dumps({"file_name": e.picture.name, "text": e.caption}) for e in place.examples.train]
    (told / "metadata.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return told, alone


def diffusers_command(peer: Peer, case: Training, place: Place, folder: Path) -> list[str]:
    """Python, script and options.

    Raises:
        UserError: when one of them is not at hand.
    """
    clone = require_peer("PISTACHIO_DIFFUSERS", "a clone of diffusers", "clone huggingface/diffusers and name it")
    todo = "name a Python with diffusers, peft, datasets, tensorboard and a torch for the card"
    python = require_peer("PISTACHIO_DIFFUSERS_PYTHON", "the Python for its scripts", todo)
    told, alone = _write_photos(place, folder)
    options: dict[str, Any] = {
        "pretrained_model_name_or_path": write_base(place), "resolution": place.shape.resolution,
        "train_batch_size": case.batch, "max_train_steps": STEPS, "checkpointing_steps": STEPS, "rank": case.rank,
        "learning_rate": 1e-4, "lr_scheduler": "constant", "mixed_precision": "bf16", "seed": 0,
        "output_dir": folder / "out",
    }  # fmt: skip
    if peer is CACHED:
        options |= {"instance_data_dir": alone, "instance_prompt": place.examples.train[0].caption}
        script, switches = ADVANCED, ["--center_crop", "--cache_latents"]
    else:
        workers = 4 if place.device.type == "cuda" else 0
        options |= {"train_data_dir": told, "caption_column": "text", "dataloader_num_workers": workers}
        script, switches = TEXT_TO_IMAGE, ["--center_crop"]
    return [str(python.absolute()), str((clone / script).resolve()), *_words(options), *switches]


def _words(options: dict[str, Any]) -> list[str]:
    return [f"--{name}={value}" for name, value in options.items()]


def kohya_command(case: Training, place: Place, folder: Path) -> list[str]:
    """Python, script and options as our own kohya backend starts it.

    Raises:
        UserError: when one of them is not at hand.
        NotHereError: for another shape than SDXL's.
    """
    scripts = require_peer("PISTACHIO_KOHYA", "a clone of sd-scripts", "clone kohya-ss/sd-scripts and name it")
    if place.shape.name != "SDXL":
        raise NotHereError("sd-scripts fit no other shape than SDXL's: not at toy size")
    python = os.environ.get("PISTACHIO_KOHYA_PYTHON")
    machine = place.machine.model_copy(update={"kohya": Kohya(folder=scripts, python=Path(python) if python else None)})
    changed = {"backend": "kohya", "base": write_base(place), "steps": 1000, "checkpoint_every": 1000}
    recipe = case.recipe(place).model_copy(update=changed)
    kohya = KohyaPlace(folder)
    kohya.prepare(recipe, place.examples)
    command = KohyaTrainer(recipe, machine)._command(kohya, None)
    return [word for word in command if word != "--save_state"]


def measure_peer(peer: Peer, case: Training, place: Place, more: tuple[str, ...] = ()) -> dict[str, Any]:
    """Steps of a peer's script: seconds, images per second, share of the counted limit, peak memory.

    Raises:
        NotHereError: when the peer is not at hand, or not made for this.
        RuntimeError: when its script ended before it was told to, with its last words.
    """
    folder = place.folder.parent / peer.of / peer.layers / str(case.batch)
    folder.mkdir(parents=True, exist_ok=True)
    try:
        if peer.of == "kohya":
            command = kohya_command(case, place, folder)
        else:
            command = diffusers_command(peer, case, place, folder)
    except UserError as error:
        raise NotHereError(str(error)) from None
    told = _run([*command, *more], place, folder)
    return _read_report(peer, case, place, told) | {"set": peer.what, "ours": case.name}


def _run(command: list[str], place: Place, folder: Path) -> dict[str, Any]:
    """Start the script under watch, and wait for its report."""
    python, script, *options = command
    report, log = folder / "report.json", folder / "log.txt"
    report.unlink(missing_ok=True)
    offline = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "HF_HOME": str(folder / "cache")}
    with log.open("wb") as stream:
        done = subprocess.run(
            [python, str(TIMED), str(report), str(WARM_UP), str(LEAST), str(place.seconds), script, *options],
            stdout=stream, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, cwd=folder, check=False,
            env=environment(place.machine) | offline, preexec_fn=end_with_parent,
        )  # fmt: skip
    if not report.exists():
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
        raise RuntimeError(f"the script ended with code {done.returncode}: {last_words(lines)}")
    told: dict[str, Any] = json.loads(report.read_text(encoding="utf-8"))
    return told


def _read_report(peer: Peer, case: Training, place: Place, told: dict[str, Any]) -> dict[str, Any]:
    taken = told["taken_s"]
    step = statistics.median(taken)
    counted = count_training(place.shape.name, case.rank, checkpointing=False, layers=peer.layers)
    figures: dict[str, Any] = {f"{n}_gib": round(told[n] / GIB, 2) for n in ("allocated", "reserved", "device")
                               if n in told}  # fmt: skip
    figures |= share(case.batch / step, counted, place.peak)
    return figures | {"step_s": round(step, 4), "slowest_step_s": round(max(taken), 4), "steps": len(taken),
                      "warm_up_s": round(told["first_step_after_s"], 1), "last_loss": told["losses"][-1]}  # fmt: skip


def list_peer_cases(place: Place, batch: int, rank: int) -> list[tuple[str, Callable[[], dict[str, Any]]]]:
    """One case per script, by name."""
    return [
        (f"{peer.name}, batch {batch} rank {rank}",
         partial(measure_peer, peer, replace(peer.ours(batch), rank=rank), place))
        for peer in PEERS
    ]  # fmt: skip


def judge_peers(rows: list[dict[str, Any]]) -> dict[str, str]:
    """The aims: our step of batch 4 faster than the fastest of each peer's that does the same work on the same card."""
    steps = {row["case"]: row["step_s"] for row in rows if "step_s" in row}
    words = {}
    for of in dict.fromkeys(peer.of for peer in PEERS):
        pairs = [(steps[case], steps.get(peer.ours(4).name)) for peer in PEERS if peer.of == of
                 for case in steps if case.startswith(peer.name)]  # fmt: skip
        ratios = [theirs / ours for theirs, ours in pairs if ours]
        told = "not measured" if not ratios else f"{'met' if min(ratios) > 1 else 'missed'} ({min(ratios):.2f} times)"
        words[f"a step faster than {of}"] = told
    return words


def describe_peers() -> dict[str, Any]:
    """Commit and versions of each that is at hand."""
    found = {}
    for of in ("DIFFUSERS", "KOHYA"):
        folder, python = (os.environ.get(f"PISTACHIO_{of}{end}", "") for end in ("", "_PYTHON"))
        if folder and python and Path(folder).is_dir() and Path(python).is_file():
            found[of.lower()] = describe_peer(Path(folder), Path(python))
    return found
