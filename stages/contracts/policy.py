"""The section ``policy``: which prompts and pictures are refused, beside what no setting can allow."""

import re
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field

from stages.contracts.section import Section
from stages.runtime.errors import UserError


def _a_rule(rule: str) -> str:
    if not rule.strip(" /"):
        raise ValueError("empty: it would refuse everything")
    if is_pattern(rule):
        try:
            pattern = re.compile(rule[1:-1])
        except re.error as error:
            raise ValueError(f"no regular expression ({error})") from None
        if pattern.match(""):
            raise ValueError("it fits an empty text, so it would refuse everything")
    return rule


def is_pattern(rule: str) -> bool:
    """Whether ``rule`` is written as a regular expression: between slashes."""
    return len(rule) > 1 and rule.startswith("/") and rule.endswith("/")


Rule = Annotated[str, AfterValidator(_a_rule)]


class Policy(Section):
    """What is not drawn, beside prompts about minors, which no setting allows.  It forbids; it changes no picture."""

    refuse: tuple[Rule, ...] = Field(
        (), description="words and phrases that no prompt may hold, whatever their case and marks; or /regex/"
    )
    classifier: Path | None = Field(
        None, description="folder of a safety classifier (diffusers' StableDiffusionSafetyChecker); null: none looks"
    )
    threshold: float = Field(
        0.0, description="the classifier's: cosine above its own limits from which on a picture is refused; lower: more"
    )
    log_prompts: bool = Field(
        True, description="logs/refusals.jsonl keeps refused prompts in full; false: their hashes alone"
    )


class Refused(UserError):
    """A prompt that the policy refuses: ``rule`` names which rule (minors, refuse, negative), ``reason`` says why."""

    def __init__(self, rule: str, reason: str) -> None:
        self.rule, self.reason = rule, reason
        super().__init__("the prompt", f"refused: {reason} (rule: {rule})", "say it otherwise (docs/publishing.md)")
