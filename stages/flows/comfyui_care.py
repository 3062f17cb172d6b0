"""What a ComfyUI server keeps that a pod loses: editor workflows, history, custom nodes with their commits."""

import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import quote

from stages.backends.generate.comfyui.server import Server
from stages.runtime.errors import UserError
from stages.runtime.files import replacing, write_text

WORKFLOWS = "workflows"  # the folder of a user's data that the editor saves to


def pull_workflows(server: Server, folder: Path) -> Iterator[tuple[str, str]]:
    """Copy the editor's workflows from the server to ``folder``: each name with new, changed or same.

    Raises:
        Unreachable: when the server does not answer.
        UserError: when it does not give a workflow that it lists, or names one outside the folder.
    """
    for name in list_saved_workflows(server):
        if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
            raise UserError(server.url, f"names a workflow outside its folder ({name})", "rename it there")
        answer = server.get(f"/userdata/{quote(f'{WORKFLOWS}/{name}', safe='')}")
        if answer.status_code != 200:
            raise UserError(server.url, f"does not give the workflow {name} (HTTP {answer.status_code})")
        yield name, _write(folder / name, answer.content)


def list_saved_workflows(server: Server) -> list[str]:
    """Names of the editor's workflows on the server, sorted; empty where it has none."""
    if server.get("/userdata", dir=WORKFLOWS, recurse="true").status_code == 404:  # nothing was ever saved
        return []
    names = server.ask("/userdata", list, dir=WORKFLOWS, recurse="true")
    return sorted(str(name).replace("\\", "/") for name in names)  # as Windows names them


def push_workflows(server: Server, folder: Path, *, overwrite: bool) -> Iterator[tuple[str, str]]:
    """Copy ``folder``'s workflows to the server: each name with new, changed, same, or kept (other bytes are there).

    Raises:
        Unreachable: when the server does not answer.
        UserError: when there is nothing to copy, a file is not JSON, or the server refuses one.
    """
    files = sorted(folder.rglob("*.json"))
    if not files:
        raise UserError(folder, "holds no workflows", "pull them first, or name their folder")
    for path in files:
        name, data = path.relative_to(folder).as_posix(), path.read_bytes()
        try:
            json.loads(data)
        except ValueError as error:
            raise UserError(path, f"not JSON ({error})") from None
        address = f"/userdata/{quote(f'{WORKFLOWS}/{name}', safe='')}"
        there = server.get(address)
        if there.status_code == 200 and there.content == data:
            yield name, "same"
        elif there.status_code == 200 and not overwrite:
            yield name, "kept"
        else:
            answer = server.post(address, data, overwrite="true")
            if answer.status_code != 200:
                raise UserError(server.url, f"refuses the workflow {name} (HTTP {answer.status_code})")
            yield name, "changed" if there.status_code == 200 else "new"


def _write(path: Path, data: bytes) -> str:
    before = path.read_bytes() if path.is_file() else None
    if before == data:
        return "same"
    with replacing(path) as beside:
        beside.write_bytes(data)
    return "new" if before is None else "changed"


def export_history(server: Server, path: Path) -> tuple[int, int]:
    """Add what the server remembers to ``path``, one JSON line per prompt: how many are new, how many are there.

    The server forgets all of it when it is restarted; a prompt that is in the file already is not added again.

    Raises:
        Unreachable: when the server does not answer.
        UserError: when the file is not such a file.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        known = {json.loads(line)["prompt_id"] for line in lines}
    except (ValueError, KeyError, TypeError):
        raise UserError(path, "not a history of ComfyUI, one JSON object a line", "name another file") from None
    told = server.ask("/history", dict)
    entries = sorted(told.items(), key=lambda item: item[1]["prompt"][0])
    new = [json.dumps({"prompt_id": key, **entry}, sort_keys=True) for key, entry in entries if key not in known]
    if new:
        write_text(path, "".join(f"{line}\n" for line in [*lines, *new]))
    return len(new), len(lines) + len(new)


@dataclass(frozen=True)
class CustomNode:
    """One folder of custom_nodes."""

    name: str
    commit: str = ""  # empty: not a git repository, or not on this machine
    address: str = ""  # where it was cloned from
    changed: bool = False  # files differ from the commit


def list_custom_nodes(server: Server) -> list[CustomNode]:
    """The server's custom nodes; with commits where its disk is this machine's, else by name alone.

    Raises:
        Unreachable: when the server does not answer.
    """
    folders = [Path(path) for path in server.folders().get("custom_nodes", [])]
    here = [folder for folder in folders if folder.is_dir()]
    if here:
        found = (p for folder in here for p in folder.iterdir() if p.is_dir() and not p.name.startswith(("_", ".")))
        return [_read_node(path) for path in sorted(found)]
    modules = {str(info.get("python_module", "")) for info in server.ask("/object_info", dict).values()}
    names = {module.partition(".")[2] for module in modules if module.startswith("custom_nodes.")}
    return [CustomNode(name) for name in sorted(names)]


def _read_node(folder: Path) -> CustomNode:
    def git(*arguments: str) -> str:
        done = subprocess.run(["git", "-C", str(folder), *arguments], capture_output=True, text=True, check=False)
        return done.stdout.strip() if done.returncode == 0 else ""

    if not (folder / ".git").exists():  # git would answer for a repository around it
        return CustomNode(folder.name)
    return CustomNode(
        folder.name, git("rev-parse", "HEAD"), git("remote", "get-url", "origin"), bool(git("status", "--porcelain"))
    )
