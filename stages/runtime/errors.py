"""Errors that a user can mend: where, what, what to do.  Everything else is a bug and keeps its traceback."""

import errno


class UserError(Exception):
    """Bad input or settings; printed as one line, exit code 2.

    ``where`` names the file, key or folder; ``what`` says what is wrong with it; ``todo`` says how to mend it.
    """

    def __init__(self, where: object, what: str, todo: str = "") -> None:
        self.where, self.what, self.todo = str(where), what, todo
        super().__init__(f"{where}: {what}" + (f"; {todo}" if todo else ""))

    def __reduce__(self) -> tuple[type["UserError"], tuple[str, str, str]]:
        """Sent to another process, it stays what it is."""
        return UserError, (self.where, self.what, self.todo)

    @property
    def line(self) -> str:
        """The message on one line that a terminal can show, whatever characters a file name holds."""
        return one_line(str(self))


def one_line(text: str) -> str:
    """``text`` without line breaks; what cannot be shown (control characters, bytes that are no text) is escaped."""
    shown = "".join(c if c.isprintable() or c.isspace() else c.encode("unicode_escape").decode() for c in text)
    return " ".join(shown.split())


ROOM = "make room (df -h .), then run again"
RIGHTS = "make it writable, or work in another folder"
DISK = {
    errno.ENOSPC: ROOM, errno.EDQUOT: ROOM, errno.EFBIG: "raise the limit on file sizes (ulimit -f)",
    errno.EROFS: RIGHTS, errno.EACCES: RIGHTS, errno.EPERM: RIGHTS, errno.EIO: "look after the disk (dmesg)",
    errno.ENAMETOOLONG: "give the file a shorter name", errno.EMFILE: "raise the limit on open files (ulimit -n)",
    errno.ENFILE: "close other programs", errno.ESTALE: "mount the network folder again",
}  # fmt: skip


def disk_error(error: OSError) -> UserError | None:
    """What a user can mend of an operating system's error; None when it is a bug's."""
    todo = DISK.get(error.errno or 0)
    if todo is None:
        return None
    return UserError("the disk" if error.filename is None else error.filename, error.strerror or str(error), todo)
