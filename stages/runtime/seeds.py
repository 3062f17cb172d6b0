"""Seeds that are named for their use, so that adding one random choice never moves another."""

import hashlib


def derive_seed(seed: int, *names: object) -> int:
    """A seed in [0, 2**63) for the use ``names`` under the master ``seed``: the same on every machine and run."""
    text = "\x1f".join([str(seed), *map(str, names)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1
