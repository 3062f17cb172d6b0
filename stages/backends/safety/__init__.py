"""Safety judges: does a picture show what must not leave the house?  Nothing heavy is imported until one is opened."""

from stages.contracts.generation import SafetyJudge
from stages.contracts.policy import Policy
from stages.contracts.settings import Machine


def open_safety_judge(policy: Policy, machine: Machine) -> SafetyJudge | None:
    """The classifier of ``policy``; None where it names none.

    Raises:
        UserError: when the folder holds no such classifier.
    """
    if policy.classifier is None:
        return None
    from stages.backends.safety.stable_diffusion import StableDiffusionJudge

    return StableDiffusionJudge(policy.classifier, machine)
