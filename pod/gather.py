"""What a backup keeps: the workspace's files, ComfyUI's workflows and history, which LoRAs and nodes there were."""

import json
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any
from urllib.parse import quote

from pod.archive import Source
from pod.errors import PodError
from pod.files import sha256_file
from pod.settings import Places
from pod.table import PASS, SKIPPED, WARN, Row

WORKSPACE, WORKFLOWS, PATCHES = "workspace/", "comfyui/workflows/", "comfyui/patches/"
HISTORY = "logs/comfyui_history.jsonl"  # as `pistachio comfyui history export` writes it
SAVED = Path("user/default/workflows")  # in ComfyUI's folder
ANSWER_S = 20.0
GIT_S = 60.0


@dataclass(frozen=True)
class BackupSettings:
    """Table [backup]: paths and patterns relative to the workspace."""

    folder: Path = Path("logs/backups")
    keep: tuple[str, ...] = ()
    leave: tuple[str, ...] = ()  # patterns of file names that never go in: secrets, half-written files
    loras: tuple[str, ...] = ("models/lora",)


def gather_workspace(workspace: Path, settings: BackupSettings) -> dict[str, Source]:
    """The files that ``keep`` names, by their name in the archive.  A link that leaves the workspace is refused.

    Raises:
        PodError: for such a link, or a pattern that leaves it.
    """
    root, found = workspace.resolve(), {}
    for pattern in settings.keep:
        parts = PurePosixPath(pattern).parts
        if not parts or ".." in parts or PurePosixPath(pattern).is_absolute() or PureWindowsPath(pattern).drive:
            raise PodError(
                "backup.keep", f"{pattern!r} names nothing inside the workspace", "such as conf or metrics/*"
            )
        for path in sorted(workspace.glob(pattern)):
            for file in [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file()):
                if any(PurePosixPath(file.name).match(left) for left in settings.leave):
                    continue
                if not file.resolve().is_relative_to(root):
                    raise PodError(file, "is a link that leaves the workspace", "copy what it names, or leave it out")
                found[WORKSPACE + file.relative_to(workspace).as_posix()] = Source(file)
    return found


def list_loras(workspace: Path, settings: BackupSettings) -> list[dict[str, Any]]:
    """Name, size and sha256 of every LoRA file; the files themselves are DVC's."""
    files = (file for folder in settings.loras for file in (workspace / folder).rglob("*.safetensors"))
    return [
        {"path": file.relative_to(workspace).as_posix(), "size": file.stat().st_size, "sha256": sha256_file(file)}
        for file in sorted(files)
    ]


def list_nodes(comfyui: Path) -> Iterator[tuple[dict[str, Any], bytes]]:
    """Every custom node: name, commit and address, and what of it is not in that commit, as a patch."""
    folder = comfyui / "custom_nodes"
    for path in sorted(folder.iterdir()) if folder.is_dir() else []:
        if not path.is_dir() or path.name.startswith(("_", ".")):
            continue
        if not (path / ".git").exists():  # git would answer for a repository around it
            yield {"name": path.name, "commit": "", "address": "", "changed": False}, b""
            continue
        patch = git(path, "diff", "--binary", "HEAD")
        yield {
            "name": path.name, "commit": git(path, "rev-parse", "HEAD").decode().strip(),
            "address": git(path, "remote", "get-url", "origin").decode().strip(), "changed": bool(patch),
        }, patch  # fmt: skip


def git(folder: Path, *words: str) -> bytes:
    """What git prints; nothing where it fails or is not installed."""
    try:
        done = subprocess.run(["git", "-C", str(folder), *words], capture_output=True, check=False, timeout=GIT_S)
    except (OSError, subprocess.TimeoutExpired):
        return b""
    return done.stdout if done.returncode == 0 else b""


def gather_comfyui(places: Places) -> tuple[dict[str, Source], list[Row]]:
    """Workflows and history of the server; where it does not answer, the workflows that lie on the disk."""
    try:
        names = ask(places.comfyui_url, "/userdata?dir=workflows&recurse=true", missing=[])
        found = {WORKFLOWS + name: _workflow(places.comfyui_url, name) for name in sorted(_clean(names))}
        told = ask(places.comfyui_url, "/history", missing={})
    except (urllib.error.URLError, OSError, ValueError) as error:
        folder = places.at(places.comfyui) / SAVED
        files = sorted(folder.rglob("*.json")) if folder.is_dir() else []
        found = {WORKFLOWS + file.relative_to(folder).as_posix(): Source(file) for file in files}
        why = getattr(error, "reason", error)
        detail = f"{places.comfyui_url} does not answer ({why}); {len(files)} workflows from its disk, no history of it"
        return found, [Row(WARN, "ComfyUI", detail)]
    history, new = merge_history(places.at(Path(HISTORY)), told)
    if history:
        found[WORKSPACE + HISTORY] = Source(data=history)
    detail = f"{len(names)} workflows, {len(told)} prompts of which {new} were not exported yet"
    return found, [Row(PASS if names or told else SKIPPED, "ComfyUI", detail)]


def _clean(names: list[str]) -> list[str]:
    clean = [str(name).replace("\\", "/") for name in names]
    return [name for name in clean if ".." not in PurePosixPath(name).parts and not PurePosixPath(name).is_absolute()]


def _workflow(url: str, name: str) -> Source:
    with urllib.request.urlopen(f"{url}/userdata/{quote(f'workflows/{name}', safe='')}", timeout=ANSWER_S) as answer:
        return Source(data=answer.read())


def ask(url: str, path: str, missing: Any) -> Any:
    """A server's JSON answer; ``missing`` where it knows no such thing."""
    try:
        with urllib.request.urlopen(url + path, timeout=ANSWER_S) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as error:
        if error.code == 404:
            return missing
        raise


def merge_history(path: Path, told: dict[str, Any]) -> tuple[bytes, int]:
    """The exported history with what the server knows beyond it, as bytes, and how many prompts that is.

    Raises:
        PodError: when the exported file is not such a file.
    """
    before = path.read_bytes() if path.is_file() else b""
    try:
        known = {json.loads(line)["prompt_id"] for line in before.splitlines()}
    except (ValueError, KeyError, TypeError):
        raise PodError(path, "not a history of ComfyUI, one JSON object a line", "move it away") from None
    order = sorted(told.items(), key=lambda item: item[1]["prompt"][0])
    new = [json.dumps({"prompt_id": key, **entry}, sort_keys=True) for key, entry in order if key not in known]
    return before + "".join(f"{line}\n" for line in new).encode(), len(new)
