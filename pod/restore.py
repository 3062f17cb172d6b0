"""Unpack a backup: verified first, then whole or not at all, and never over other bytes without --force.

Files of the workspace go back to their places; ComfyUI's workflows to its own folder where it is installed, else to
logs/comfyui/workflows (`pistachio comfyui workflows push` brings them to a server).  Then the lists are compared: LoRAs
that are missing here (`dvc pull` brings them) and custom nodes; --nodes clones those at their commits.

  python -m pod restore FILE --dry-run      what would be written
  python -m pod restore FILE
  python -m pod restore FILE --into DIR     another folder than the workspace
"""

import argparse
import os
import shutil
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from pod.archive import Damaged, read_archive
from pod.errors import PodError
from pod.files import sha256_file
from pod.gather import PATCHES, SAVED, WORKFLOWS, WORKSPACE, git
from pod.settings import Places, read_settings
from pod.table import FAIL, PASS, RAN, SKIPPED, WARN, Row, print_table

CLONE_S = 600.0
MOST_NAMED = 5


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which archive, and where to."""
    parser.add_argument("file", type=Path, help="an archive of `pod backup`")
    parser.add_argument("--into", type=Path, help="default: [pod] workspace")
    parser.add_argument("--force", action="store_true", help="replace files that differ")
    parser.add_argument("--nodes", action="store_true", help="clone custom nodes that are missing")
    parser.add_argument("--dry-run", action="store_true", help="verify, compare and write nothing")


def run(arguments: argparse.Namespace) -> int:
    """0 when everything is restored, 1 when the archive is damaged or files differ."""
    if arguments.dry_run and (arguments.force or arguments.nodes):
        raise PodError("--dry-run", "writes nothing, --force and --nodes do", "say one of them")
    places = read_settings("pod", Places, arguments.config)
    if not arguments.file.is_file():
        raise PodError(arguments.file, "there is no such file", "name an archive of `pod backup`")
    into = arguments.into or places.workspace
    comfyui = places.at(places.comfyui)
    rows = restore(arguments.file, into, comfyui, force=arguments.force, dry=arguments.dry_run, nodes=arguments.nodes)
    return print_table(rows, arguments.json)


def restore(path: Path, into: Path, comfyui: Path, *, force: bool, dry: bool = False, nodes: bool = False) -> list[Row]:
    """Verify ``path``, then put its files in their places."""
    try:
        body = read_archive(path)["body"]
    except Damaged as error:
        return [Row(FAIL, path.name, f"damaged: {error}", "take another backup; nothing was written")]
    if not dry:
        undo_leftovers(into)
    targets = {entry["path"]: target(entry["path"], into, comfyui) for entry in body["files"]}
    wanted = {entry["path"]: entry for entry in body["files"] if targets[entry["path"]] is not None}
    states = {name: _state(entry, targets[name], (into, comfyui)) for name, entry in wanted.items()}
    differ = sorted(name for name, state in states.items() if state == "differs")
    blocked = sorted(name for name, state in states.items() if state == "blocked")
    rows = [Row(PASS, path.name, f"{len(body['files'])} files, every byte as the manifest says")]
    if blocked:
        return [*rows, Row(FAIL, "files", f"a folder or a link that leaves is in the way of {_named(blocked)}")]
    if differ and not force:
        detail = f"{len(differ)} differ here: {_named(differ)}; nothing was written"
        return [*rows, Row(FAIL, "files", detail, "--force replaces them")]
    todo = {name: targets[name] for name, state in states.items() if state != "same"}
    same = len(states) - len(todo)
    if dry or not todo:
        detail = f"{len(todo)} would be written, {len(differ)} of them replaced, {same} are the same"
        rows.append(Row(SKIPPED, "files", detail if todo else f"0 changed, {same} are the same"))
    else:
        _put(path, into, todo)
        rows.append(Row(RAN, "files", f"{len(todo)} written, {len(differ)} of them replaced, {same} were the same"))
    return [*rows, _compare_loras(body, into), *_compare_nodes(path, body, comfyui, clone=nodes and not dry)]


def target(name: str, into: Path, comfyui: Path) -> Path | None:
    """Where a file of the archive goes; None: it is used, not unpacked."""
    if name.startswith(WORKSPACE):
        return into / name.removeprefix(WORKSPACE)
    if name.startswith(WORKFLOWS):
        home = comfyui / SAVED if comfyui.is_dir() else into / "logs/comfyui/workflows"
        return home / name.removeprefix(WORKFLOWS)
    return None


def _state(entry: Mapping[str, Any], path: Path | None, roots: tuple[Path, Path]) -> str:
    """new, same, differs, or blocked: by a folder, or by a link that leaves the folders that are restored to."""
    assert path is not None
    real = path.parent.resolve()
    if path.is_dir() or not any(real.is_relative_to(root.resolve()) for root in roots):
        return "blocked"
    if any(parent.is_file() for parent in path.parents):
        return "blocked"
    if not path.exists() and not path.is_symlink():
        return "new"
    same = path.is_file() and path.stat().st_size == entry["size"] and sha256_file(path) == entry["sha256"]
    return "same" if same else "differs"


def _named(names: list[str]) -> str:
    shown = ", ".join(name.removeprefix(WORKSPACE) for name in names[:MOST_NAMED])
    return shown + (f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else "")


def _put(path: Path, into: Path, todo: Mapping[str, Path | None]) -> None:
    """Unpack beside everything, then exchange file by file; whatever fails is undone."""
    stage = into / f".restore.{os.getpid()}.part"
    into.mkdir(parents=True, exist_ok=True)
    (stage / "old").mkdir(parents=True)
    (stage / "new").mkdir()
    numbers = {name: str(number) for number, name in enumerate(sorted(todo))}

    def take(entry: dict[str, Any], stream: IO[bytes]) -> None:
        if entry["path"] in numbers:
            file = stage / "new" / numbers[entry["path"]]
            with file.open("wb") as out:
                shutil.copyfileobj(stream, out)
                out.flush()
                os.fsync(out.fileno())
            file.chmod(0o755 if entry["executable"] else 0o644)

    try:
        read_archive(path, take)
        for name, number in numbers.items():
            _exchange(stage, number, (todo[name] or Path()).absolute())
    except BaseException as error:
        undo(stage)
        if isinstance(error, Damaged | OSError):
            raise PodError(into, f"was not restored ({error}); nothing is changed", "mend that, run again") from None
        raise
    over = stage.with_suffix(".done")
    os.replace(stage, over)  # from here on there is nothing to undo
    shutil.rmtree(over, ignore_errors=True)


def _exchange(stage: Path, number: str, place: Path) -> None:
    """Move one file to its place; the name of the place lies beside what was there, for `undo`."""
    place.parent.mkdir(parents=True, exist_ok=True)
    (stage / "old" / f"{number}.place").write_text(str(place), encoding="utf-8")
    if place.exists() or place.is_symlink():
        _move(place, stage / "old" / number)
    _move(stage / "new" / number, place)


def _move(source: Path, place: Path) -> None:
    try:
        os.replace(source, place)
    except OSError:  # another disk: ComfyUI's folder may lie on one
        beside = place.with_name(f".{place.name}.{os.getpid()}.part")
        shutil.copy2(source, beside, follow_symlinks=False)
        os.replace(beside, place)
        source.unlink()


def undo(stage: Path) -> None:
    """Bring back what a restore that did not end had moved away, and take away what it had put there."""
    for note in sorted((stage / "old").glob("*.place")):
        place, old = Path(note.read_text(encoding="utf-8")), note.with_suffix("")
        if old.exists() or old.is_symlink():
            _move(old, place)
        elif not (stage / "new" / old.name).exists():  # it was put in its place, and nothing had been there
            place.unlink(missing_ok=True)
        with suppress(OSError):
            for folder in place.parents:
                folder.rmdir()  # stops at the first that holds anything
    shutil.rmtree(stage, ignore_errors=True)


def undo_leftovers(into: Path) -> None:
    """Undo what a restore that was killed left half done."""
    for stage in into.glob(".restore.*.part"):
        undo(stage)
    for over in into.glob(".restore.*.done"):
        shutil.rmtree(over, ignore_errors=True)


def _compare_loras(body: Mapping[str, Any], into: Path) -> Row:
    loras = body["loras"]
    wrong = [
        lora["path"] for lora in loras
        if not (into / lora["path"]).is_file() or sha256_file(into / lora["path"]) != lora["sha256"]
    ]  # fmt: skip
    if wrong:
        return Row(WARN, "LoRAs", f"{len(wrong)} of {len(loras)} are not here: {_named(wrong)}", "dvc pull models/lora")
    return Row(PASS, "LoRAs", f"{len(loras)}, all as listed")


def _compare_nodes(path: Path, body: Mapping[str, Any], comfyui: Path, *, clone: bool) -> list[Row]:
    rows = []
    for node in body["nodes"]:
        folder = comfyui / "custom_nodes" / node["name"]
        if not folder.exists() and clone and node["address"]:
            rows.append(_clone(path, node, folder))
            continue
        here = git(folder, "rev-parse", "HEAD").decode().strip() if (folder / ".git").exists() else ""
        known = node["commit"] or "no commit"
        if folder.exists() and here == node["commit"]:
            rows.append(Row(PASS, node["name"], known[:12]))
        else:
            is_here = f"here is {here[:12] or 'another copy'}" if folder.exists() else "not here"
            rows.append(
                Row(WARN, node["name"], f"was at {known[:12]}, {is_here}", "" if folder.exists() else "--nodes")
            )
    return rows


def _clone(path: Path, node: Mapping[str, Any], folder: Path) -> Row:
    """Clone a node beside its place at its commit, with the changes that were made to it, and move it there."""
    beside = folder.with_name(f".{folder.name}.{os.getpid()}.part")
    patches: list[bytes] = []

    def take(entry: dict[str, Any], stream: IO[bytes]) -> None:
        if entry["path"] == f"{PATCHES}{node['name']}.patch":
            patches.append(stream.read())

    read_archive(path, take)
    folder.parent.mkdir(parents=True, exist_ok=True)
    steps: list[tuple[list[str], bytes | None]] = [
        (["git", "clone", "--quiet", "--no-checkout", "--", node["address"], str(beside)], None),
        (["git", "-C", str(beside), "checkout", "--quiet", "--detach", node["commit"]], None),
        *((["git", "-C", str(beside), "apply", "--binary", "-"], patch) for patch in patches),
    ]
    try:
        for command, given in steps:
            subprocess.run(command, input=given, capture_output=True, check=True, timeout=CLONE_S)
        os.replace(beside, folder)
    except subprocess.CalledProcessError as error:
        said = error.stderr.decode(errors="replace").strip().splitlines()
        return Row(FAIL, node["name"], f"{node['address']} at {node['commit'][:12]}: {' '.join(said[-1:])}")
    except (OSError, subprocess.TimeoutExpired) as error:
        return Row(FAIL, node["name"], str(error))
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return Row(RAN, node["name"], f"cloned at {node['commit'][:12]}" + (", with its local changes" if patches else ""))
