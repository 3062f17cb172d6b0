"""A run's briefing: what of it should be remembered, and where that is written."""

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Kind = Literal["regression", "flag", "warning", "advice"]

FINDINGS = Path("docs/findings.md")
TASKS = Path("docs/tasks.md")


@dataclass(frozen=True)
class Finding:
    """One thing that a run taught, known again in another run by its key."""

    kind: Kind
    subject: str  # what it is about, without figures: two runs that say the same of it have one finding
    text: str  # what this run says
    task: str  # what to do about it

    @property
    def key(self) -> str:
        """The same whenever the same thing is found: figures and names of files are no part of it."""
        plain = re.sub(r"\S*\d\S*", "", self.subject.lower())
        words = re.findall(r"[^\W\d_]+", plain)
        digest = hashlib.sha256(" ".join(words).encode()).hexdigest()[:6]
        return f"{self.kind}:{'-'.join(words[:5])}-{digest}"


@dataclass(frozen=True)
class Briefing:
    """All findings of one run."""

    run: str  # its run_id
    version: str
    findings: tuple[Finding, ...]
