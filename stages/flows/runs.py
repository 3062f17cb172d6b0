"""Any run of the history: a promoted version, another workspace, a git revision, or what lies in metrics/ now."""

import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from stages.contracts.paths import PER_IMAGE, REPLICAS, SCORECARD, VERSIONS
from stages.contracts.scorecard import Scorecard, read_scorecard
from stages.flows.comparison import Pictures, read_pictures_table
from stages.flows.versions import list_versions
from stages.runtime.errors import UserError


@dataclass(frozen=True)
class Run:
    """One run's scorecard and pictures' scores, and those of its replicas: the recipe with other training seeds."""

    name: str
    card: Scorecard
    pictures: Pictures
    replicas: tuple[Pictures, ...] = ()


def read_run(folder: Path, name: str | None, face_pass: float) -> Run:
    """The run whose scorecard.json and per_image.csv lie in ``folder``; without ``name`` it has its LoRA's.

    Raises:
        UserError: when a file is missing or spoilt, or a replica was measured under another protocol.
    """
    card = read_scorecard(folder / SCORECARD.name)
    pictures = read_pictures_table(folder / PER_IMAGE.name, face_pass)
    replicas = []
    for replica in list_replicas(folder):
        if read_scorecard(replica / SCORECARD.name).protocol != card.protocol:
            todo = f"remove it and run `pistachio replicate {name or card.lora_version}`"
            raise UserError(replica, "measured under another protocol than the version itself", todo)
        replicas.append(read_pictures_table(replica / PER_IMAGE.name, face_pass))
    return Run(name or card.lora_version, card, pictures, tuple(replicas))


def list_replicas(folder: Path) -> list[Path]:
    """The folders of a version's replicas, sorted."""
    return sorted(path.parent for path in (folder / REPLICAS).glob(f"*/{SCORECARD.name}"))


def check_protocols(baseline: Run, candidate: Run) -> None:
    """Refuse figures that were measured in different ways.

    Raises:
        UserError: naming both protocols.
    """
    ours, theirs = candidate.card.protocol[:12], baseline.card.protocol[:12]
    if baseline.card.protocol != candidate.card.protocol:
        what = f"measured under protocol {theirs}, {candidate.name} under {ours}"
        todo = "not comparable: evaluate the baseline again under this protocol and promote it, or say baseline: none"
        raise UserError(baseline.name, what, todo)


@contextmanager
def find_run(name: str) -> Iterator[Path]:
    """The folder that holds the scorecard.json and per_image.csv of the run that is called ``name``.

    ``name``: a promoted version, or a folder (a workspace; ``.`` is this one), or a git revision; tried in this order.

    Raises:
        UserError: when it is none of them, or a revision that holds no run.
    """
    for folder in (VERSIONS / name, Path(name) / SCORECARD.parent, Path(name)):
        if (folder != VERSIONS / name or name in list_versions()) and (folder / SCORECARD.name).is_file():
            yield folder
            return
    revision = _git("rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}").decode().strip()
    if not revision:
        known = ", ".join(list_versions()) or "none yet"
        todo = "name a version, a workspace's folder (. is this one) or a git revision"
        raise UserError("compare", f"no run {name!r} (versions: {known})", todo)
    with tempfile.TemporaryDirectory(prefix="pistachio-run-") as place:
        for path in (SCORECARD, PER_IMAGE):
            content = _git("show", f"{revision}:./{path.as_posix()}")
            if not content:
                raise UserError(f"{name} ({revision[:12]})", f"holds no {path}", "name a commit made after `dvc repro`")
            (Path(place) / path.name).write_bytes(content)
        yield Path(place)


def _git(*arguments: str) -> bytes:
    """What git says; nothing where it refuses, or is not there."""
    try:
        return subprocess.run(["git", *arguments], capture_output=True, check=False, timeout=60).stdout
    except FileNotFoundError:
        return b""
