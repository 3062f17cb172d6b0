"""Run diffusers' own training script as it is, but stop it between steps: what `bench.train` measures ours against.

    python -m bench.diffusers_script SCRIPT RECORD STEPS [the script's own options]

Nothing of the script is changed.  Three calls that it makes are watched: for its first STEPS steps, what it added to
which latents (DDPMScheduler.add_noise), the tokens that it read and the LoRA that it began with are saved as RECORD.
Then every line "N" on standard input lets it do N steps; a line with their seconds and losses answers.
"""

import json
import runpy
import sys
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch


class Pace:
    """Lets the script go on when it is told to."""

    def __init__(self, record: Path, steps: int) -> None:
        self.record, self.steps = record, steps
        self.seen: dict[str, Any] = {"lora": {}, "batches": [], "tokens": [], "losses": []}
        self.losses: list[float] = []
        self.left, self.start, self.watching = steps, time.perf_counter(), True

    def end_step(self, loss: float) -> None:
        """A step is done."""
        self.losses.append(loss)
        self.left -= 1
        if self.left:
            return
        if self.watching:
            torch.save(self.seen | {"losses": self.losses}, self.record)
            self.watching = False
        told = {"seconds": time.perf_counter() - self.start, "cpu": time.process_time(), "losses": self.losses}
        print(json.dumps(told), file=sys.__stdout__, flush=True)
        line = sys.stdin.readline()
        if not line.strip():
            sys.exit(0)
        self.left, self.losses, self.start = int(line), [], time.perf_counter()


def watch(pace: Pace) -> None:
    """Put eyes on the calls; behind them everything is the library's own."""
    from accelerate import Accelerator
    from diffusers import DDPMScheduler, UNet2DConditionModel
    from transformers import CLIPTextModel

    add_noise, log, text = DDPMScheduler.add_noise, Accelerator.log, CLIPTextModel.forward
    forward = UNet2DConditionModel.forward

    def see_noise(self: Any, latents: torch.Tensor, noise: torch.Tensor, timesteps: torch.Tensor) -> torch.Tensor:
        if pace.watching:
            pace.seen["batches"].append([tensor.float().clone() for tensor in (latents, noise)] + [timesteps.clone()])
        return add_noise(self, latents, noise, timesteps)

    def see_tokens(self: Any, input_ids: torch.Tensor, *rest: Any, **named: Any) -> Any:
        if pace.watching and len(pace.seen["tokens"]) < len(pace.seen["batches"]):  # the second encoder has one inside
            pace.seen["tokens"].append(input_ids.clone())
        return text(self, input_ids, *rest, **named)

    def see_lora(self: Any, *rest: Any, **named: Any) -> Any:
        if pace.watching:
            pace.seen["batches"][-1].append(named["added_cond_kwargs"]["time_ids"].float().clone())
            if not pace.seen["lora"]:
                pace.seen["lora"] = {
                    n: p.detach().float().clone() for n, p in self.named_parameters() if p.requires_grad
                }
        return forward(self, *rest, **named)

    def see_step(self: Any, values: dict[str, float], *rest: Any, **named: Any) -> None:
        log(self, values, *rest, **named)
        pace.end_step(values["train_loss"])

    places: tuple[tuple[Any, str, Any], ...] = (
        (DDPMScheduler, "add_noise", see_noise), (CLIPTextModel, "forward", see_tokens),
        (UNet2DConditionModel, "forward", see_lora), (Accelerator, "log", see_step),
    )  # fmt: skip
    for kind, name, seeing in places:
        setattr(kind, name, seeing)


def main() -> None:
    """Read the command line, and become the script."""
    script, record, steps, *options = sys.argv[1:]
    lacks_torchvision = find_spec("torchvision") is None
    watch(Pace(Path(record), int(steps)))
    if lacks_torchvision:  # after transformers has looked: it would ask the stand-in for more than the script does
        from bench.torchvision_standin import install

        install()
    sys.argv, sys.stdout = [script, *options], sys.stderr
    runpy.run_path(script, run_name="__main__")


if __name__ == "__main__":
    main()
