"""Files of the output folder, and of no other."""

import hashlib
import os
from pathlib import Path


def read_inside(folder: Path, path: Path, sha256: str) -> bytes | None:
    """The bytes of ``path``; None when it is not a file in ``folder`` with this SHA-256.

    Neither a link nor a file that somebody exchanged leaves the house: what is delivered is what was gated and marked.
    """
    try:
        if not path.parent.resolve(strict=True).is_relative_to(folder.resolve(strict=True)):
            return None
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
        with os.fdopen(descriptor, "rb") as stream:
            data = stream.read()
    except OSError:
        return None
    return data if hashlib.sha256(data).hexdigest() == sha256 else None
