"""What goes wrong while a training runs, said once, while there is still time to stop it."""

import statistics
import sys
import time
from collections import deque

from stages.contracts.train_settings import Train
from stages.contracts.training import Step
from stages.measures.learning import judge_rate

FIRST, WINDOW, SPILL = 20, 10, 3.0  # steps that set the pace, steps that are compared with it, how much slower


class Watch:
    """Watches Prodigy's rate, and on CUDA the time of a step: graphics memory that spills over is slow, not full."""

    def __init__(self, train: Train, device: str) -> None:
        self.train, self.on_gpu = train, device.startswith("cuda")
        self.said: set[str] = set()
        self.last = time.monotonic()
        self.pace: list[float] = []
        self.recent: deque[float] = deque(maxlen=WINDOW)

    def add(self, step: Step) -> None:
        """Look at one step."""
        warning = judge_rate(step.step, self.train.steps, step.learning_rate, step.d)
        if warning:
            self._say(warning)
        now = time.monotonic()
        self._time(now - self.last)
        self.last = now

    def _time(self, seconds: float) -> None:
        if len(self.pace) < FIRST:
            self.pace.append(seconds)
            return
        self.recent.append(seconds)
        usual, current = statistics.median(self.pace), statistics.median(self.recent)
        if self.on_gpu and len(self.recent) == WINDOW and current > SPILL * usual:
            self._say(
                f"a step takes {current:.1f} s, {current / usual:.0f} times as long as at the start: graphics memory "
                "may be spilling into the computer's; lower train.batch or set train.gradient_checkpointing"
            )

    def _say(self, warning: str) -> None:
        kind = warning.split(":")[0].split(" ")[0]
        if kind not in self.said:
            self.said.add(kind)
            print(f"train: warning: {warning}", file=sys.stderr)
