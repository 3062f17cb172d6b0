"""What was made under the subject card, and how a card is revoked: first the card, then the list."""

import json
import re
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from stages.contracts.history import read_history
from stages.contracts.lora import read_header
from stages.contracts.paths import EVAL_IMAGES, LORA, SCORECARD, SUBJECT, SWEEP_IMAGES, TAKEDOWN, VERSIONS
from stages.contracts.production import SIDECAR, PictureRecord
from stages.contracts.scorecard import read_scorecard
from stages.contracts.settings import Dataset
from stages.contracts.subject import Subject, read_subject
from stages.contracts.takedown import Made
from stages.flows.versions import list_versions
from stages.reports.takedown import render_takedown
from stages.runtime.errors import UserError
from stages.runtime.files import write_text
from stages.runtime.provenance import hash_file

PUBLISHED = Path("data/published.jsonl")
LEFT_OUT = frozenset({".git", ".dvc", ".venv", "node_modules", "__pycache__"})


def revoke(reason: str, path: Path = SUBJECT) -> Subject:
    """Write into the card that it is revoked, as of today; everything else in the file stays as it is.

    A card that is revoked already stays so, with its first date and reason.

    Raises:
        UserError: when there is no card, no reason, or the card has wrong keys.
    """
    reason = " ".join(reason.split())
    if not reason:
        raise UserError("--reason", "empty", "one sentence; it stands in the card")
    card = read_subject(path)
    if card.revoked is not None:
        return card
    text = re.sub(r"^revoked:.*\n?(?:[ \t]+.*\n?)*", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
    entry = f"revoked:\n  date: {date.today()}\n  reason: {json.dumps(reason, ensure_ascii=False)}\n"
    text = text.rstrip("\n") + "\n" + entry
    Subject.model_validate(yaml.safe_load(text))  # never write a card that nobody can read
    write_text(path, text)
    return read_subject(path)


def write_takedown(card: Subject, dataset: Dataset) -> tuple[Path, list[Made]]:
    """Write the takedown list; where it lies, and what stands in it."""
    made = list_made(card, dataset)
    write_text(TAKEDOWN, render_takedown(card, made))
    return TAKEDOWN, made


def list_made(card: Subject, dataset: Dataset) -> list[Made]:
    """Everything in this workspace that was made of the person: photos, LoRAs, versions, pictures.

    Pictures are those whose record names this card; what nobody recorded (copies elsewhere) cannot be listed.
    """
    return [*_photos(dataset), *_loras(), *_versions(card.dataset), *_measuring(), *_pictures(card.sha256)]


def _photos(dataset: Dataset) -> Iterator[Made]:
    yield Made(kind="photos", path=dataset.photos.as_posix(), there=dataset.photos.exists())


def _loras() -> Iterator[Made]:
    for file in sorted(LORA.glob("*.safetensors")):
        try:
            version = read_header(file).version
        except UserError:
            version = ""
        yield Made(kind="LoRA", path=file.as_posix(), note=f"{version or file.stem}, sha256 {hash_file(file)}")


def _versions(dataset: str) -> Iterator[Made]:
    promoted = {row.name: row.promoted_at.date() for row in read_history()}
    for name in list_versions():
        card = read_scorecard(VERSIONS / name / SCORECARD.name)
        if card.dataset == dataset:
            when = f"promoted on {promoted[name]}, " if name in promoted else ""
            yield Made(kind="version", path=(VERSIONS / name).as_posix(), note=f"{when}LoRA sha256 {card.lora_sha256}")


def _measuring() -> Iterator[Made]:
    for folder in (SWEEP_IMAGES, EVAL_IMAGES):
        pictures = len(list(folder.rglob("*.png")))
        if pictures:
            yield Made(kind="measuring", path=folder.as_posix(), note=f"{pictures} pictures")


def _pictures(subject_sha256: str) -> Iterator[Made]:
    """Pictures of batches and of serve, by the records beside them; then those of the index, wherever they went."""
    for file in sorted(_records(Path())):
        record = _read_record(file)
        if record is not None and record.origin.subject_sha256 == subject_sha256:
            state = "approved" if record.approved else "rejected"
            picture, note = file.with_name(record.file), f"{state}, batch {record.origin.batch}"
            yield Made(kind="batch", path=picture.as_posix(), note=note, there=picture.exists())
    rows = [json.loads(line) for line in _lines(PUBLISHED)]
    for row in {row["picture"]: row for row in rows}.values():  # stamped again: the last one counts
        if row["record"]["origin"]["subject_sha256"] == subject_sha256:
            note = f"file sha256 {row['file_sha256']}, stamped {row['stamped_at']}"
            yield Made(kind="published", path=row["picture"], note=note, there=Path(row["picture"]).exists())


def _lines(path: Path) -> Iterator[str]:
    """Lines of the index that are whole; one that a kill cut short names no picture."""
    for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else []:
        try:
            row: Any = json.loads(line)
        except ValueError:
            continue
        if isinstance(row, dict) and isinstance(row.get("picture"), str):
            yield line


def _records(folder: Path) -> Iterator[Path]:
    """Files beside a picture of the same name, in every folder of the workspace that is no program's own."""
    for place in folder.iterdir():
        if place.is_symlink() or place.name in LEFT_OUT:
            continue
        if place.is_dir():
            yield from _records(place)
        elif place.suffix == SIDECAR and (
            place.parent.name in ("approved", "rejected") or place.with_suffix(".png").exists()
        ):
            yield place


def _read_record(path: Path) -> PictureRecord | None:
    try:
        return PictureRecord.model_validate_json(path.read_bytes())
    except ValidationError:
        return None
