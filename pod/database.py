"""ComfyUI's user folder and its sqlite file: can they be written?"""

import os
import sqlite3
import stat
from contextlib import closing, suppress
from pathlib import Path

from pod.errors import PodError
from pod.table import RAN, SKIPPED

NAME = "comfyui.db"


def find_fault(comfyui: Path) -> str:
    """What keeps ComfyUI from writing its user folder and database; empty when nothing does."""
    user = comfyui / "user"
    if not user.is_dir():
        return f"{user} is not there"
    for place in (user, *user.glob("*/"), *user.glob(f"{NAME}*")):
        if not os.access(place, os.W_OK | (os.X_OK if place.is_dir() else os.R_OK)):
            return f"{place} cannot be written"
    database = user / NAME
    if not database.exists():
        return ""
    try:
        with closing(sqlite3.connect(database, timeout=5.0)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            answer = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
            connection.rollback()
    except sqlite3.Error as error:
        return f"{database}: {error}"
    return "" if answer == "ok" else f"{database}: {answer}"


def repair(comfyui: Path) -> tuple[str, str]:
    """Make the user folder and what lies in it writable for this user; status and why.

    Raises:
        PodError: when it is not this user's to change, or the database is damaged.
    """
    fault = find_fault(comfyui)
    if not fault:
        return SKIPPED, "user/ and its database can be written"
    user = comfyui / "user"
    with suppress(OSError):
        user.mkdir(parents=True, exist_ok=True)
    for place in (user, *user.rglob("*")):
        with suppress(OSError):
            mode = place.stat().st_mode
            place.chmod(mode | stat.S_IRUSR | stat.S_IWUSR | (stat.S_IXUSR if place.is_dir() else 0))
    if still := find_fault(comfyui):
        todo = (
            f"chown -R $(id -u) {user}" if "cannot be written" in still else f"move {user / NAME} away: it is damaged"
        )
        raise PodError(user, still, todo)
    return RAN, fault
