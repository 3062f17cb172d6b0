"""The prompt policy: what is refused before anything is drawn, and the log of refusals."""

from stages.contracts.policy import Policy, Refused
from stages.contracts.settings import Machine


class PromptPolicy:
    """Refuses prompts."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy

    def check(self, text: str, negative_prompt: str = "") -> None:
        """Say nothing, or refuse.

        Args:
            text: the prompt as it will be drawn.
            negative_prompt: what the picture must not show; it may name minors, but not adults.

        Raises:
            Refused: with rule and reason; the refusal is in logs/refusals.jsonl by then.
        """
        found = self.find_objection(text, negative_prompt)
        if found is not None:
            raise found

    def find_objection(self, text: str, negative_prompt: str = "") -> Refused | None:
        """Why a prompt is refused, without a trace in the log; None when it is not."""
        return None


def open_policy(policy: Policy, machine: Machine) -> PromptPolicy:
    """The policy of this workspace.  ``machine``: where the rules may need a model, as none does yet."""
    return PromptPolicy(policy)
