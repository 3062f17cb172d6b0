"""Run a peer's training script as it is, in the peer's own environment, and tell how long its steps took.

    PYTHON bench/timed_script.py REPORT WARM_UP LEAST SECONDS SCRIPT [the script's own options]

Nothing of the script is changed, nothing of this project is imported.  Two calls are watched: every optimizer's step,
and the loss that accelerate sends backwards.  After WARM_UP steps each one is timed, the device idle at both ends,
until there are LEAST and SECONDS are over; then REPORT is written and the process ends amid the script's training.
"""

import importlib.util
import json
import os
import runpy
import sys
import time
from pathlib import Path
from typing import Any

import torch
from torch.optim.optimizer import register_optimizer_step_post_hook


class Watch:
    """The times of the steps, from the end of the warm-up on."""

    def __init__(self, report: Path, warm_up: int, least: int, seconds: float) -> None:
        self.report, self.warm_up, self.least, self.seconds = report, warm_up, least, seconds
        self.begun = self.last = time.perf_counter()
        self.first = 0.0  # seconds until the first step was done
        self.steps = 0
        self.taken: list[float] = []
        self.losses: list[torch.Tensor] = []

    def see_step(self, *_: Any) -> None:
        """An optimizer has stepped."""
        cuda = torch.cuda.is_available()
        if cuda:
            torch.cuda.synchronize()
        now = time.perf_counter()
        self.steps += 1
        self.first = self.first or now - self.begun
        if self.steps > self.warm_up:
            self.taken.append(now - self.last)
        elif self.steps == self.warm_up and cuda:
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
        if len(self.taken) >= self.least and sum(self.taken) >= self.seconds:
            self._end()
        self.last = time.perf_counter()

    def _end(self) -> None:
        told: dict[str, Any] = {"taken_s": self.taken, "first_step_after_s": self.first,
                                "losses": [float(loss) for loss in self.losses]}  # fmt: skip
        if torch.cuda.is_available():
            left, total = torch.cuda.mem_get_info()
            told |= {"allocated": torch.cuda.max_memory_allocated(), "reserved": torch.cuda.max_memory_reserved(),
                     "device": total - left}  # fmt: skip
        self.report.write_text(json.dumps(told), encoding="utf-8")
        os._exit(0)  # nothing of the rest of the script is wanted, no file that it would write


def watch(seen: Watch) -> None:
    """Put eyes on the calls; behind them everything is the libraries' own."""
    from accelerate import Accelerator

    register_optimizer_step_post_hook(seen.see_step)
    backward = Accelerator.backward

    def see_loss(self: Any, loss: torch.Tensor, **named: Any) -> None:
        seen.losses.append(loss.detach())
        backward(self, loss, **named)

    Accelerator.backward = see_loss


def stand_in_for_torchvision() -> None:
    """Where an environment has no torchvision to go with its torch: PIL's own operations, at the same price."""
    if importlib.util.find_spec("torchvision"):
        return
    import transformers  # noqa: F401  # looks for torchvision, and would ask the stand-in for more than a script does

    spec = importlib.util.spec_from_file_location("stand_in", Path(__file__).with_name("torchvision_standin.py"))
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules["stand_in"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.install()


def main() -> None:
    """Read the command line, and become the script."""
    report, warm_up, least, seconds, script, *options = sys.argv[1:]
    watch(Watch(Path(report), int(warm_up), int(least), float(seconds)))
    sys.argv, sys.path[0] = [script, *options], str(Path(script).parent)
    stand_in_for_torchvision()
    runpy.run_path(script, run_name="__main__")


if __name__ == "__main__":
    main()
