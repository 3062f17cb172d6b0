"""Pack what cannot be made again into one archive: settings, metrics, history, captions, workflows, and what there was.

In it: conf/, params.yaml, dvc files, metrics/ with versions and history, captions and manifest, findings, the ledger,
the workflows and the prompts of ComfyUI, local changes of custom nodes; and the lists of LoRAs (name, size, sha256) and
of custom nodes (address, commit).  Photos, models and LoRA files are DVC's (`dvc push`); --loras packs the LoRAs too.

The file is named after the sha256 of its content: what did not change is not packed again.

  python -m pod backup                      logs/backups/NAME-HASH.tar.gz
  python -m pod backup --output /mnt/safe   another folder: a disk that outlives the pod
  python -m pod backup --verify FILE        every byte against the manifest
"""

import argparse
import time
from pathlib import Path

from pod.archive import Damaged, Source, body_hash, describe, read_archive, write_archive
from pod.errors import PodError
from pod.files import locked
from pod.gather import PATCHES, WORKSPACE, BackupSettings, gather_comfyui, gather_workspace, list_loras, list_nodes
from pod.settings import Places, read_settings
from pod.table import FAIL, PASS, RAN, SKIPPED, WARN, Row, print_table


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Where it goes, or which one to verify."""
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--output", type=Path, help="folder of the archive; default [backup] folder")
    parser.add_argument("--loras", action="store_true", help="pack the LoRA files, not only their list")
    where.add_argument("--verify", type=Path, metavar="FILE", help="check an archive and write nothing")


def run(arguments: argparse.Namespace) -> int:
    """0 when the archive is whole, 1 when it is damaged."""
    if arguments.verify is not None and arguments.loras:
        raise PodError("--loras", "packs, and --verify packs nothing", "say one of them")
    if arguments.verify is not None:
        return print_table([verify(arguments.verify)], arguments.json)
    places = read_settings("pod", Places, arguments.config)
    settings = read_settings("backup", BackupSettings, arguments.config)
    with locked(places.at(places.state) / "backup.lock", "a backup"):
        rows = back_up(places, settings, arguments.output, arguments.loras)
    return print_table(rows, arguments.json)


def verify(path: Path) -> Row:
    """Whether every byte of an archive is as its manifest says.

    Raises:
        PodError: when there is no such file.
    """
    if not path.is_file():
        raise PodError(path, "there is no such file", "name an archive of `pod backup`")
    try:
        manifest = read_archive(path)
    except Damaged as error:
        return Row(FAIL, path.name, f"damaged: {error}", "take another backup; restore nothing from this one")
    files, size = manifest["body"]["files"], sum(entry["size"] for entry in manifest["body"]["files"])
    detail = f"{len(files)} files, {size} bytes, made {manifest['made_at']}, content {manifest['sha256'][:12]}"
    return Row(PASS, path.name, detail, numbers={"files": len(files), "bytes": size, "sha256": manifest["sha256"]})


def back_up(places: Places, settings: BackupSettings, output: Path | None = None, loras: bool = False) -> list[Row]:
    """Write the archive unless the same content lies there already; what went in, row by row."""
    workspace = places.workspace
    if not (workspace / "params.yaml").is_file():
        raise PodError(
            workspace.resolve(), "no workspace: params.yaml is not there", "cd to it, or set [pod] workspace"
        )
    sources = gather_workspace(workspace, settings)
    rows = [Row(PASS, "workspace", f"{len(sources)} files")]
    server, told = gather_comfyui(places)
    known, nodes = list_loras(workspace, settings), []
    for node, patch in list_nodes(places.at(places.comfyui)):
        nodes.append(node)
        if patch:
            sources[f"{PATCHES}{node['name']}.patch"] = Source(data=patch)
    if loras:
        sources |= {WORKSPACE + lora["path"]: Source(workspace / lora["path"]) for lora in known}
    sources |= server
    lost = [node["name"] for node in nodes if not node["address"]]
    rows += [*told, Row(PASS, "LoRAs", f"{len(known)} listed" + (" and packed" if loras else ""))]
    detail = f"{len(nodes)} listed" + (f"; {', '.join(lost)}: no git address, not to be had again" if lost else "")
    rows.append(Row(WARN if lost else PASS, "custom nodes", detail))
    body = describe(sources, {"loras": known, "nodes": nodes})
    name = f"{workspace.resolve().name}-{body_hash(body)[:12]}.tar.gz"
    path = (output or places.at(settings.folder)) / name
    if path.is_file() and verify(path).status == PASS:
        return [*rows, Row(SKIPPED, "archive", f"{path}: the same content is there, 0 changed")]
    write_archive(path, sources, body, time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()))
    done = verify(path)
    return [*rows, Row(RAN, "archive", f"{path}: {done.detail}", numbers={"path": str(path), **done.numbers})]
