"""The prompt policy: what is refused before anything is drawn, and the log of refusals."""

import json
import os
import re
from datetime import UTC, datetime
from pathlib import Path

from stages.contracts.paths import REFUSALS
from stages.contracts.policy import Policy, Refused, is_pattern
from stages.contracts.settings import Machine
from stages.flows.minors import find_minor
from stages.flows.minors.readings import read
from stages.runtime.provenance import hash_bytes

LONGEST = 4_000  # characters; the encoders read some hundreds, and nobody could read what hides behind them
LOG_BYTES = 16_000_000  # then the log is put aside, once: strangers who ask `serve` must not fill the disk
# A negative prompt may name minors, but not push adults away.
NO_ADULTS = re.compile(
    r"\b(?:adults?|grown[\s-]?ups?|(?:grown|mature|older) (?:wom[ae]n|m[ae]n|person|people|female|male)|"
    r"erwachsene[nrs]?|"
    r"adultes?|adult[oaie]s?|volwassenen?|of legal age|over 18|18\+)(?![a-z])"
)


class PromptPolicy:
    """Refuses prompts: about minors always, beside that what the owner lists."""

    def __init__(self, policy: Policy, log: Path = REFUSALS) -> None:
        """``log``: where refusals are written; relative to the workspace."""
        self._policy, self._log = policy, log
        self._rules = [(rule, _pattern(rule)) for rule in policy.refuse]

    def check(self, text: str, negative_prompt: str = "") -> None:
        """Say nothing, or refuse.

        Args:
            text: the prompt as it will be drawn, {trigger} and {class_word} filled in.
            negative_prompt: what the picture must not show: it may name minors, but not adults.

        Raises:
            Refused: with rule and reason; the refusal is in the log by then.
        """
        found = self.find_objection(text, negative_prompt)
        if found is not None:
            self._write(found, text, negative_prompt)
            raise found

    def find_objection(self, text: str, negative_prompt: str = "") -> Refused | None:
        """Why a prompt is refused, without a trace in the log; None when it is not."""
        if max(len(text), len(negative_prompt)) > LONGEST:
            return Refused("length", f"longer than {LONGEST} characters")
        if minor := find_minor(text):
            return Refused("minors", f"speaks of a minor ({minor!r})")
        if unwanted := NO_ADULTS.search(read(negative_prompt).texts[0]):
            return Refused("negative", f"its negative prompt keeps adults away ({unwanted[0]!r})")
        readings = (text, *read(text).texts)
        listed = (rule for rule, pattern in self._rules if any(pattern.search(reading) for reading in readings))
        return next((Refused("refuse", f"{rule!r} stands in policy.refuse") for rule in listed), None)

    def _write(self, refused: Refused, text: str, negative_prompt: str) -> None:
        """Append one line: whole, even when several processes refuse at once; readable by the owner alone."""
        row: dict[str, str] = {
            "time": datetime.now(UTC).isoformat(timespec="seconds"), "rule": refused.rule,
            "prompt_sha256": hash_bytes(text.encode("utf-8", "surrogatepass")),
        }  # fmt: skip
        if self._policy.log_prompts:
            row |= {"reason": refused.reason, "prompt": text[:LONGEST], "negative_prompt": negative_prompt[:LONGEST]}
        self._log.parent.mkdir(parents=True, exist_ok=True)
        if self._log.exists() and self._log.stat().st_size > LOG_BYTES:
            os.replace(self._log, self._log.with_suffix(".old.jsonl"))
        line = json.dumps(row).encode() + b"\n"
        file = os.open(self._log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            os.write(file, line)
        finally:
            os.close(file)


def _pattern(rule: str) -> re.Pattern[str]:
    if is_pattern(rule):
        return re.compile(rule[1:-1], re.IGNORECASE)
    words = read(rule).texts[0].split()
    return re.compile(r"(?<!\w)" + r"[\W_]+".join(map(re.escape, words)) + r"(?!\w)")


def open_policy(policy: Policy, machine: Machine) -> PromptPolicy:
    """The policy of this workspace.  ``machine``: where a rule would compute; none of today's needs a model."""
    return PromptPolicy(policy)
