"""What a user can mend: where, what, what to do.  Printed as one line, exit code 2; anything else is a bug."""


class PodError(Exception):
    """``where`` names the file, key or address; ``what`` is wrong with it; ``todo`` mends it."""

    def __init__(self, where: object, what: str, todo: str = "") -> None:
        self.where, self.what, self.todo = str(where), what, todo
        super().__init__(f"{where}: {what}" + (f"; {todo}" if todo else ""))

    @property
    def line(self) -> str:
        """The message on one line."""
        return " ".join(str(self).split())
