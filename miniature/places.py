"""Where the miniature keeps things, and which identity seeds belong to what."""

import hashlib
import os
from pathlib import Path

WEIGHTS = Path(__file__).parent / "weights"
METRICS = Path(__file__).parent / "metrics.json"

# Identity seeds are dealt out once: nothing is measured on, or tuned with, an identity that something was trained on.
TRAINING = range(0, 1_000_000)
VALIDATION = range(1_000_000, 2_000_000)
DEVELOPMENT = range(2_000_000, 2_000_100)
PERSONA = 3_000_000 + int.from_bytes(hashlib.sha256(b"amiranoor").digest()[:4], "big")


def cache_folder() -> Path:
    """The user's cache folder of the miniature: shards and training states, safe to delete."""
    root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return root / "pistachio" / "miniature"


def part_folder(part: str) -> Path:
    """The cache folder of one part, created when missing."""
    folder = cache_folder() / part
    folder.mkdir(parents=True, exist_ok=True)
    return folder
