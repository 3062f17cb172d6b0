"""Several processes that do one stage together: started here, or by the user with `accelerate launch -m`."""

import ctypes
import os
import signal
import sys

RANK = "RANK"  # set by torch.distributed and by accelerate
PR_SET_PDEATHSIG = 1  # linux/prctl.h


def follows() -> bool:
    """Whether this process works for another one that leads and writes."""
    return int(os.environ.get(RANK, "0")) > 0


def spread(module: str, processes: int) -> None:
    """Become ``processes`` processes of ``python -m module``, unless this is one of several already."""
    if RANK in os.environ:
        end_with_parent()
        return
    if processes > 1:
        os.environ.setdefault("OMP_NUM_THREADS", "1")
        launch = ["torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
        os.execv(sys.executable, [sys.executable, "-m", *launch, "-m", module])


def end_with_parent() -> None:
    """On Linux: this process must not go on when who started it was killed."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
