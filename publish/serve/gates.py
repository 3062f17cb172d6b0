"""Who may be drawn and what may be asked: the subject card and the prompt policy, as the HTTP side asks them."""

from typing import Protocol


class Refusal(Exception):
    """The prompt policy refuses a text."""

    def __init__(self, rule: str, reason: str) -> None:
        self.rule, self.reason = rule, reason
        super().__init__(f"{rule}: {reason}")


class Gates(Protocol):
    """What must hold before anything is drawn or delivered."""

    def check_subject(self) -> None:
        """Nothing when the subject card allows drawing.

        Raises:
            UserError: when it is missing, revoked, expired, or of another dataset.
        """
        ...

    def check_text(self, text: str) -> None:
        """Nothing when the prompt policy has nothing against ``text``.

        Raises:
            Refusal: naming the rule.
        """
        ...
