"""The one door for a backend of the user's own: ``module:Class``."""

import importlib
import sys
from pathlib import Path
from typing import Any

from stages.runtime.errors import UserError


def load_class(key: str, door: str) -> Any:
    """The class that ``module:Class`` names; the module may lie in the workspace.

    Args:
        key: the setting that names it, for the error message, e.g. ``caption.backend``.
        door: ``module:Class``.

    Raises:
        UserError: when there is no such module or no such class in it.
    """
    module_name, _, class_name = door.partition(":")
    workspace = str(Path.cwd())
    if workspace not in sys.path and "" not in sys.path:
        sys.path.append(workspace)  # `python -m` has it there already, the `pistachio` command has not
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
            raise  # the module is there and lacks something itself: that is its bug
        raise UserError(key, f"{door!r}: no module {error.name!r}", "put it beside params.yaml or install it") from None
    if not hasattr(module, class_name):
        raise UserError(key, f"{door!r}: module {module_name!r} has no {class_name!r}")
    return getattr(module, class_name)
