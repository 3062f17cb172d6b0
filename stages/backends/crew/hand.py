"""A worker's side: one process that keeps what it has opened."""

import os
import platform
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from stages.backends.crew.task import Item, Task, require_same_files
from stages.runtime.entry import quieten
from stages.runtime.errors import UserError
from stages.runtime.provenance import describe_code


class Hand:
    """Does one item at a time; bad input comes back as the ``UserError`` itself, a bug is raised."""

    def __init__(self, folder: Path, code: str) -> None:
        """``folder`` is the workspace, ``code`` what ``describe_code`` says where the work comes from."""
        self.folder, self.code = folder, code
        self.opened: dict[str, Callable[[Any], Any]] = {}

    def prepare(self) -> UserError | None:
        """Enter the workspace."""
        quieten()
        try:
            os.chdir(self.folder)
        except OSError as error:
            todo = "clone and `dvc pull` it there too, or share one volume"
            return UserError(self.folder, f"is not there on the worker {platform.node()} ({error.strerror})", todo)
        if str(self.folder) not in sys.path:
            sys.path.append(str(self.folder))  # classes of the user's own
        if describe_code() != self.code:
            what = f"the worker {platform.node()} runs other code, or other versions of what computes"
            return UserError("machine.ray_address", what, "install the same commit and constraints.txt there")
        return None

    def work(self, task: Task, item: Item) -> Any:
        """What ``task`` makes of an item."""
        try:
            require_same_files(item, platform.node())
            if task.key not in self.opened:
                self.opened[task.key] = task.open(*task.arguments)
            return self.opened[task.key](item.value)
        except UserError as error:
            return error
