"""The table of `pistachio models list`."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from stages.reports.terminal import print_table, say


def print_models(states: Sequence[Mapping[str, Any]]) -> None:
    """The models of conf/models (``flows.models.State``)."""
    rows = []
    for state in states:
        size = f"{state['size'] / 1e9:.2f} GB" + ("" if state["pinned"] == state["files"] else " +")
        present = "yes" if state["present"] == state["files"] else f"{state['present']} of {state['files']} files"
        present = present if state["present"] else "no"
        verified = "yes" if state["verified"] else "not yet" if state["present"] else ""
        rows.append((state["name"], state["licence"], size, present, verified, str(Path(state["folder"]).parent)))
    print_table("", ("name", "licence", "size", "present", "verified", "in"), rows, right=("size",))
    unpinned = [state["name"] for state in states if state["pinned"] < state["files"]]
    if unpinned:
        say(f"+ and files that are not pinned: {', '.join(unpinned)}")
