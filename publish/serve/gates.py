"""Who may be drawn and what may be asked, as the HTTP side asks it: the subject card and the prompt policy."""

from typing import Protocol

from publish.serve.job import Asked
from stages.contracts.policy import Policy
from stages.contracts.protocol import fill
from stages.contracts.section import Use
from stages.contracts.settings import Dataset, Machine


class Gates(Protocol):
    """What must hold before anything is drawn or delivered."""

    def check_subject(self) -> None:
        """Nothing when the subject card allows drawing.

        Raises:
            UserError: when it is missing, revoked, expired, or of another dataset.
        """
        ...

    def check_prompt(self, asked: Asked) -> None:
        """Nothing when the prompt policy has nothing against it.

        Raises:
            Refused: naming the rule.
        """
        ...


class WorkspaceGates:
    """The workspace's own subject card, read each time, and its policy."""

    def __init__(self, dataset: Dataset, use: Use, policy: Policy, machine: Machine) -> None:
        from stages.flows.policy import open_policy

        self._dataset, self._use = dataset, use
        self._policy = open_policy(policy, machine)

    def check_subject(self) -> None:
        """See Gates."""
        from stages.flows.subject import require_subject

        require_subject(self._dataset, self._use)

    def check_prompt(self, asked: Asked) -> None:
        """See Gates; the words stand for their meaning: {trigger} and {class_word} are filled in."""
        self._policy.check(fill(asked.prompt, self._dataset), fill(asked.negative_prompt or "", self._dataset))
