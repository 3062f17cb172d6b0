"""The subject card: what stands against drawing this person, and everything that was made under the card.

data/subject.yaml is no dependency in dvc.yaml, on purpose.  It can forbid a result and never change one: as a
dependency, a corrected name would train anew.
"""

from datetime import date

from stages.contracts.paths import SUBJECT
from stages.contracts.settings import Dataset
from stages.contracts.subject import Subject, read_subject
from stages.runtime.errors import UserError
from stages.runtime.provenance import hash_file


def require_subject(dataset: Dataset, use: str) -> Subject:
    """The valid subject card of ``dataset`` for ``use`` (promotion.use).

    Raises:
        UserError: one line with everything that stands against it: no card, wrong or empty keys, another dataset,
            evidence that is missing or was changed, a use outside the scope, expired, revoked.
    """
    card = read_subject()
    problems = list_objections(card, dataset, use)
    if problems:
        raise UserError(SUBJECT, "; ".join(problems))
    return card


def list_subject_problems(dataset: Dataset, use: str) -> list[str]:
    """What ``require_subject`` would say, a line for each problem; empty when it would not."""
    try:
        return list_objections(read_subject(), dataset, use)
    except UserError as error:
        return [f"{error.what}; {error.todo}" if error.todo else error.what]


def list_objections(card: Subject, dataset: Dataset, use: str) -> list[str]:
    """Why a card that is right in itself does not allow ``use`` of ``dataset`` today; empty when it does."""
    problems = []
    if card.revoked is not None:
        problems.append(f"revoked: on {card.revoked.date} ({card.revoked.reason}); nothing is drawn any more")
    if card.expires is not None and card.expires < date.today():
        problems.append(f"expires: it did on {card.expires}; ask for consent anew and write the new date")
    if card.dataset != dataset.name:
        problems.append(
            f"dataset: {card.dataset!r}, but dataset.name is {dataset.name!r}; write this person's own card"
        )
    if use not in card.scope:
        agreed = ", ".join(card.scope)
        problems.append(f"scope: {agreed}, but promotion.use is {use}; ask for it, or set another promotion.use")
    return problems + _evidence(card)


def _evidence(card: Subject) -> list[str]:
    if card.evidence is None:
        return []
    if not card.evidence.is_file():
        return [f"evidence: {card.evidence} is not there; bring it, or leave the path out and keep evidence_sha256"]
    if hash_file(card.evidence) != card.evidence_sha256:
        return [f"evidence_sha256: {card.evidence} is another file than was signed; bring the signed one back"]
    return []
