"""What was written down by hash is still that: photos and captions of the manifest, versions of the history."""

from pathlib import Path

from stages.contracts.history import read_history
from stages.contracts.manifest import read_manifest
from stages.contracts.paths import HISTORY, MANIFEST, VERSIONS
from stages.contracts.scorecard import read_scorecard
from stages.flows.dataset import verify_manifest


def changed_photos(root: Path) -> list[str]:
    """What the photos and captions no longer share with the manifest: the next `dvc repro` begins with them."""
    if not (root / MANIFEST).is_file():
        return []
    manifest = read_manifest(root / MANIFEST)
    if not (root / manifest.photos).is_dir():  # DVC has yet to bring them
        return []
    return verify_manifest(manifest, root)


def version_problems(root: Path) -> list[str]:
    """Versions whose scorecard is not that of their last promotion."""
    if not (root / HISTORY).is_file():
        return []
    last = {row.name: row for row in read_history(root / HISTORY)}
    problems = []
    for name, row in sorted(last.items()):
        path = VERSIONS / name / "scorecard.json"
        if not (root / path).is_file():
            problems.append(f"{path.as_posix()}: is not there, and {HISTORY.as_posix()} says that {name} was promoted")
            continue
        card = read_scorecard(root / path)
        if (card.run_id, card.lora_sha256) != (row.run_id, row.lora_sha256):
            problems.append(f"{path.as_posix()}: run {card.run_id}, the history says {row.run_id}")
    return problems
