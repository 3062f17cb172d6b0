"""Errors that a user can mend: where, what, what to do.  Everything else is a bug and keeps its traceback."""


class UserError(Exception):
    """Bad input or settings; printed as one line, exit code 2.

    ``where`` names the file, key or folder; ``what`` says what is wrong with it; ``todo`` says how to mend it.
    """

    def __init__(self, where: object, what: str, todo: str = "") -> None:
        self.where, self.what, self.todo = str(where), what, todo
        super().__init__(f"{where}: {what}" + (f"; {todo}" if todo else ""))

    @property
    def line(self) -> str:
        """The message on one line, whatever characters a file name holds."""
        return " ".join(str(self).encode("utf-8", "backslashreplace").decode().split())
