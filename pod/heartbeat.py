"""A stalled step told from a slow one, by the heartbeat's time and step against its own pace."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pod.files import read_json

SLOW_FACTOR = 3.0


@dataclass(frozen=True)
class Patience:
    """How long silence may last."""

    beat_s: float  # a healthy stage writes at least this often, unless one step takes longer
    stall_s: float  # silence below this is never a stall
    stall_factor: float  # nor is silence below so many times the expected one
    quiet_s: float  # before the first beat, and between two stages


@dataclass
class Pace:
    """What is known of the stage that runs: its last beat and how long its steps take."""

    started: float  # of the pipeline; older beats are another run's
    beat: dict[str, Any] = field(default_factory=dict)
    step_s: float = 0.0  # of the last steps; 0: unknown

    def hear(self, path: Path) -> None:
        """Read the heartbeat file."""
        beat = read_json(path)
        if isinstance(beat, dict) and float(beat.get("time", 0)) >= self.started:
            self._learn(beat)

    def _learn(self, beat: dict[str, Any]) -> None:
        old = self.beat
        if old.get("stage") != beat.get("stage"):
            self.step_s = 0.0
        elif beat["time"] > old["time"] and beat["step"] > old["step"]:
            self.step_s = (beat["time"] - old["time"]) / (beat["step"] - old["step"])
        self.beat = beat

    def judge(self, now: float, patience: Patience) -> tuple[str, str]:
        """("moving" | "slow" | "stalled", why) at the time ``now``."""
        if not self.beat or self.beat["step"] >= self.beat["total"]:
            last = float(self.beat["time"]) if self.beat else self.started
            silence, where = now - last, f"after {self.beat['stage']}" if self.beat else "before the first stage"
            return _verdict(silence, patience.quiet_s, patience.quiet_s, f"{where}: silent for {silence:.0f} s")
        rate = float(self.beat.get("rate") or 0.0)
        expected = max(patience.beat_s, 1 / rate if rate else 0.0, self.step_s)
        limit = max(patience.stall_s, patience.stall_factor * expected)
        silence = now - float(self.beat["time"])
        what = f"{self.beat['stage']} at {self.beat['step']}/{self.beat['total']}: silent for {silence:.0f} s"
        slow = SLOW_FACTOR * expected
        return _verdict(silence, slow, limit, f"{what}, {expected:.0f} s expected, {limit:.0f} s are the limit")


def _verdict(silence: float, slow: float, limit: float, why: str) -> tuple[str, str]:
    if silence > limit:
        return "stalled", why
    return ("slow" if silence > slow else "moving"), why
