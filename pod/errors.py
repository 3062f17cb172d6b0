"""What a user can mend: where, what, what to do.  Printed as one line, exit code 2; anything else is a bug."""

import errno


class PodError(Exception):
    """``where`` names the file, key or address; ``what`` is wrong with it; ``todo`` mends it."""

    def __init__(self, where: object, what: str, todo: str = "") -> None:
        self.where, self.what, self.todo = str(where), what, todo
        super().__init__(f"{where}: {what}" + (f"; {todo}" if todo else ""))

    @property
    def line(self) -> str:
        """The message on one line."""
        return " ".join(str(self).split())


ROOM = "make room (df -h .), then run again"
RIGHTS = "make it writable, or set [pod] to another place"
SHAPE = "a file is where a folder should be, or the other way round: move it away, or mend the settings"
DISK = {
    errno.ENOSPC: ROOM, errno.EDQUOT: ROOM, errno.EROFS: RIGHTS, errno.EACCES: RIGHTS, errno.EPERM: RIGHTS,
    errno.ENOTDIR: SHAPE, errno.EISDIR: SHAPE, errno.EEXIST: SHAPE, errno.EIO: "look after the disk (dmesg)",
    errno.ENAMETOOLONG: "give it a shorter name",
}  # fmt: skip


def disk_error(error: OSError) -> PodError | None:
    """What a user can mend of an operating system's error; None when it is a bug's."""
    todo = DISK.get(error.errno or 0)
    if todo is None:
        return None
    return PodError("the disk" if error.filename is None else error.filename, error.strerror or str(error), todo)
