"""The hash that names an object."""

import hashlib
from typing import Literal

from stages.flows.storage import Copy

DIR = ".dir"  # the suffix of a listing: JSON, [{"md5": ..., "relpath": ...}, ...]
Verdict = Literal["sound", "damaged", "unreadable"]


def judge(copy: Copy, oid: str) -> Verdict:
    """Whether a copy is what its name says."""
    try:
        return "sound" if digest(copy) == oid.removesuffix(DIR) else "damaged"
    except OSError:  # a disk that cannot read it; a remote's errors are UserErrors
        return "unreadable"


def digest(copy: Copy) -> str:
    """md5 of a copy, as DVC names objects."""
    found = hashlib.md5(usedforsecurity=False)
    for chunk in copy.read():
        found.update(chunk)
    return found.hexdigest()
