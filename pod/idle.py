"""Stop a machine that nobody uses: no open session, an idle GPU, an empty queue, no heartbeat, for some minutes."""

import os
import subprocess
import time
from collections.abc import Callable

from pod.comfyui import read_queue
from pod.errors import PodError
from pod.files import read_json
from pod.ledger import close_lost, read_ledger
from pod.meter import Meter, smi

ANSWER_S = 5.0


def stop_when_idle(
    meter: Meter, minutes: float, clock: Callable[[], float] = time.time, sleep: Callable[[float], None] = time.sleep
) -> int:
    """Watch until the machine was idle for ``minutes``, then run the configured command; its exit code.

    Raises:
        PodError: when there is no command, or no time to wait.
    """
    if not meter.settings.idle_stop:
        raise PodError(
            "cost.idle_stop", "no command is set", 'idle_stop = ["runpodctl", "stop", "pod", "$RUNPOD_POD_ID"]'
        )
    if minutes <= 0:
        raise PodError("--idle-stop", f"{minutes:g} minutes", "say more than 0")
    since, said = clock(), ""
    while True:
        now = clock()
        busy = why_busy(meter, now)
        if busy:
            since = now
        if busy != said:
            print(f"busy: {busy}" if busy else "idle", flush=True)
            said = busy
        if now - since >= minutes * 60:
            break
        sleep(meter.settings.poll_s)
    command = [os.path.expandvars(word) for word in meter.settings.idle_stop]
    print(f"idle for {minutes:g} minutes: {' '.join(command)}", flush=True)
    try:
        return subprocess.call(command)
    except OSError as error:
        raise PodError("cost.idle_stop", f"{command[0]} cannot be started ({error.strerror})") from None


def why_busy(meter: Meter, now: float) -> str:
    """What keeps the machine from being idle; empty when nothing does.  What cannot be asked counts as busy."""
    close_lost(meter.ledger, meter.heartbeat)
    open_ones = [session.activity for session in read_ledger(meter.ledger) if session.end is None]
    if open_ones:
        return f"session {open_ones[-1]}"
    beat = read_json(meter.heartbeat)
    if isinstance(beat, dict) and now - float(beat.get("time") or 0) < 2 * meter.settings.poll_s:
        return f"heartbeat of {beat.get('stage')}"
    load = smi("utilization.gpu")
    if load is None:
        return "nvidia-smi does not answer"
    if any(_percent(line) >= meter.settings.busy_percent for line in load.splitlines()):
        return "GPU"
    waiting = queue_length(meter.places.comfyui_url)
    return f"ComfyUI's queue ({waiting})" if waiting else ""


def _percent(line: str) -> float:
    try:
        return float(line)
    except ValueError:  # [N/A]
        return 0.0


def queue_length(url: str) -> int:
    """Prompts that ComfyUI draws or has yet to draw; 0 where no ComfyUI answers."""
    try:
        queue = read_queue(url, ANSWER_S)
    except PodError:
        return 0
    return len(queue.running) + len(queue.pending)
