"""What a stage asks before it begins: does the subject card allow it, and does the policy allow its prompts?

Neither is a dependency in dvc.yaml: both can forbid a result and never change one, so that revoking a card, or a
new word on the owner's list, trains nothing anew.
"""

from collections.abc import Sequence

from stages.contracts.protocol import fill
from stages.contracts.settings import Dataset, read_machine, read_policy, read_promotion
from stages.flows.policy import open_policy
from stages.flows.subject import require_subject


def permit(dataset: Dataset, prompts: Sequence[str] = (), negative_prompt: str = "") -> None:
    """Say nothing, or stop the stage before it reads, draws or writes anything.

    Raises:
        UserError: when the subject card does not allow promotion.use of this dataset.
        Refused: when the policy refuses a prompt; the refusal is logged.
    """
    require_subject(dataset, read_promotion().use)
    permit_prompts(dataset, prompts, negative_prompt)


def permit_prompts(dataset: Dataset, prompts: Sequence[str], negative_prompt: str = "") -> None:
    """The same without a subject: for pictures that show nobody in particular.

    Raises:
        Refused: when the policy refuses a prompt; the refusal is logged.
    """
    policy = open_policy(read_policy(), read_machine())
    for prompt in prompts:
        policy.check(fill(prompt, dataset), negative_prompt)
