"""Guardrails: what went wrong once and must not again.  Each module looks at one thing and says a line per problem."""

import time
from dataclasses import dataclass
from pathlib import Path

from stages.flows.guardrails.hashes import changed_photos, version_problems
from stages.flows.guardrails.packages import package_problems
from stages.flows.guardrails.pages import budget_problems, old_facts
from stages.flows.guardrails.policy import policy_problems
from stages.flows.guardrails.references import Refusal, reference_problems
from stages.flows.guardrails.scripts import script_problems
from stages.runtime.errors import UserError


@dataclass(frozen=True)
class Guarded:
    """What the guardrails found: a problem stops, a warning does so where it is asked to."""

    problems: list[str]
    warnings: list[str]


def find_problems_of(root: Path, refuse: Refusal, *, files: bool = True) -> Guarded:
    """Ask every guardrail about ``root``: a workspace, or the repository of the code.

    Args:
        root: that folder.
        refuse: why a command line of ``pistachio`` cannot be typed.
        files: hash photos and captions too.
    """
    problems = script_problems(root)
    if problems:  # what cannot be read cannot be looked into
        return Guarded(problems, [])
    problems = package_problems(root / "constraints.txt") + reference_problems(root, refuse) + budget_problems(root)
    if (root / "conf").is_dir():
        problems += policy_problems(root)
    warnings = old_facts(root, time.time())
    try:
        warnings += changed_photos(root) if files else []
        problems += version_problems(root)
    except UserError as error:  # an artifact of another version of the code: DVC makes it again
        warnings.append(str(error))
    return Guarded(problems, warnings)
