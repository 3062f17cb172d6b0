"""data/subject.yaml: who the photos show, that they are adult, and what they agreed to."""

import datetime
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from stages.contracts.paths import SUBJECT
from stages.contracts.section import Section, Use
from stages.contracts.settings import find_problems, parse, read_yaml
from stages.runtime.errors import UserError
from stages.runtime.provenance import hash_json

# What each key asks for, said when it is empty.
ASKED = {
    "kind": "synthetic (nobody is behind it) or consenting (a person who agreed)",
    "name": "a pseudonym is enough",
    "dataset": "the dataset.name that it is about",
    "adult": "true, when the person is an adult; nothing else is drawn",
    "scope": "what was agreed to: [non-commercial], [commercial] or both",
    "date": "when it was agreed, YYYY-MM-DD",
}
TODO = "fill it in (docs/publishing.md, The subject)"


class Revocation(Section):
    """When and why the card stopped allowing anything."""

    date: datetime.date
    reason: str = Field(min_length=1)


class Subject(Section):
    """The subject card."""

    kind: Literal["synthetic", "consenting"]
    name: str = Field(min_length=1, description="a pseudonym is enough: it is shown with every picture's origin")
    dataset: str = Field(min_length=1, description="dataset.name of the photos that it is about")
    adult: Literal[True] = Field(description="must be true; there is no way around it")
    scope: tuple[Use, ...] = Field(min_length=1, description="uses that were agreed to; promotion.use must be one")
    made_with: str | None = Field(None, description="synthetic: how the persona was made")
    evidence: Path | None = Field(None, description="document of the consent, where this machine has it")
    evidence_sha256: str | None = Field(None, pattern=r"^[0-9a-f]{64}$", description="of that document")
    date: datetime.date
    expires: datetime.date | None = Field(None, description="last day on which the card allows anything")
    revoked: Revocation | None = None

    @field_validator("adult", mode="before")
    @classmethod
    def _adult(cls, adult: object) -> object:
        if adult is not True:
            raise ValueError("must be true: only adults are drawn, and nothing overrules that")
        return adult

    @model_validator(mode="after")
    def _proven(self) -> Self:
        if self.kind == "consenting" and self.evidence_sha256 is None:
            raise ValueError("evidence_sha256: missing; a consenting person signed something: give its sha256")
        if self.kind == "synthetic" and not self.made_with and self.evidence_sha256 is None:
            raise ValueError("made_with: missing; say how the synthetic persona was made")
        if self.evidence is not None and self.evidence_sha256 is None:
            raise ValueError("evidence_sha256: missing; the sha256 of the evidence (sha256sum FILE)")
        if self.expires is not None and self.expires < self.date:
            raise ValueError("expires: before date")
        return self

    @property
    def sha256(self) -> str:
        """Of what was agreed, however the file is laid out.  Revoking leaves it: pictures still point to their card."""
        return hash_json(self.model_dump(mode="json", exclude={"revoked", "evidence"}))


def read_subject(path: Path = SUBJECT) -> Subject:
    """The card as it stands, valid or not for anything.

    Raises:
        UserError: when it is missing, or naming every key that is wrong or not filled in.
    """
    if not path.is_file():
        raise UserError(path, "not found: nothing is drawn without a subject card", TODO)
    values = read_yaml(path)
    problems = list_card_problems(values)
    if problems:
        raise UserError(path, "; ".join(problems), TODO)
    return parse(Subject, values, path)


def list_card_problems(values: dict[str, Any]) -> list[str]:
    """What is wrong with the card in itself, key by key."""
    empty = [key for key in ASKED if values.get(key) in (None, "", [])]
    problems = [f"{key}: not filled in ({ASKED[key]})" for key in empty]
    for line in find_problems(Subject, values):
        key, _, rest = line.partition(": ")
        if not key:  # of the card as a whole: its values would be printed behind
            problems.append(rest.partition(" (value ")[0])
        elif key.partition(".")[0] not in empty:
            problems.append(line)
    return problems
