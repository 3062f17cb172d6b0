"""Versions: a candidate that passed the gate becomes a committed folder, a line of history and a git tag."""

import csv
import io
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

from filelock import FileLock, Timeout
from PIL import Image

from stages.contracts import settings
from stages.contracts.history import Promotion, append_promotion
from stages.contracts.paths import EVAL_IMAGES, EVAL_MONTAGE, HISTORY, PER_IMAGE, SCORECARD, VERSIONS
from stages.contracts.scorecard import Scorecard, read_scorecard
from stages.contracts.version_pictures import VersionPicture, write_version_pictures
from stages.flows.gate import find_objections, licences_of
from stages.runtime.errors import UserError
from stages.runtime.files import replacing_folder
from stages.runtime.pictures import read_picture
from stages.runtime.state import cache_folder

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
PATIENCE_S = 60.0  # another promotion takes a second or two
PICTURES = 24
PICTURE_BYTES = 300_000  # of all pictures together: a version is kept by git for ever
SCORES = (
    "face_detection_rate", "face_similarity_mean", "face_similarity_pass", "second_similarity_mean", "likeness",
    "second_likeness", "texture_score", "color_naturalness_score", "skin_realism_mean", "prompt_adherence_mean",
)  # fmt: skip


@dataclass(frozen=True)
class Promoted:
    """What a promotion left behind."""

    folder: Path
    row: Promotion
    pictures: int
    licences: dict[str, str]


def list_versions(versions: Path = VERSIONS) -> list[str]:
    """The names of the promoted versions, sorted."""
    if not versions.is_dir():
        return []
    return sorted(p.name for p in versions.iterdir() if NAME.fullmatch(p.name) and (p / SCORECARD.name).is_file())


def promote(
    name: str,
    thresholds: settings.Thresholds,
    policy: settings.Promotion | None = None,
    *,
    force: bool = False,
    why: str = "",
) -> Promoted:
    """Make what lies in metrics/ the version ``name``: a folder in metrics/versions and a line of history.

    ``flows.gate`` says what speaks against it.  ``force`` overrules that, and ``why`` goes on record.

    Raises:
        UserError: when the name is no name, the gate refuses, ``force`` lacks ``why``, or an artifact is missing.
    """
    if not NAME.fullmatch(name) or name == "none":
        todo = "letters, digits, '.', '_' and '-', beginning with a letter or digit; none is the word for no baseline"
        raise UserError("promote", f"{name!r} cannot name a version", todo)
    why = " ".join(why.split())
    if force != bool(why):
        raise UserError("promote", "--force and --why go together", "--force --why 'one sentence for the history'")
    scorecard, policy = read_scorecard(), policy or settings.Promotion()
    with _history_lock():
        objections = find_objections(name, scorecard, thresholds, policy, list_versions())
        if objections and not force:
            raise UserError(f"promote {name}", "; ".join(objections), "mend it, or overrule it with --force --why TEXT")
        folder = VERSIONS / name
        with replacing_folder(folder) as beside:
            pictures = _fill(beside)
        licences = licences_of(scorecard, policy)
        row = _history_row(name, scorecard, force, why, objections)
        row = row.model_copy(update={"use": policy.use, "licences": licences})
        append_promotion(row)
    return Promoted(folder=folder, row=row, pictures=pictures, licences=licences)


def _fill(folder: Path) -> int:
    if not PER_IMAGE.is_file():
        raise UserError(PER_IMAGE, "not found", "run `dvc repro eval`")
    shutil.copyfile(SCORECARD, folder / SCORECARD.name)
    shutil.copyfile(PER_IMAGE, folder / PER_IMAGE.name)
    if EVAL_MONTAGE.is_file():
        shutil.copyfile(EVAL_MONTAGE, folder / "montage.png")
    return _copy_pictures(folder / "pictures")


def _copy_pictures(folder: Path) -> int:
    """Small copies of pictures spread evenly over the evaluation, as large and as good as all together may be."""
    sources = _pictures_of_version()
    if not sources:
        return 0
    step = max(1.0, len(sources) / PICTURES)
    chosen = [sources[int(i * step)] for i in range(min(PICTURES, len(sources)))]
    images = [Image.fromarray(read_picture(path)) for path, _, _ in chosen]
    folder.mkdir()
    encoded: list[bytes] = []
    for side, quality in ((512, 90), (384, 85), (256, 80), (192, 75), (128, 70), (96, 60), (64, 40)):
        encoded = [_encode(image, side, quality) for image in images]
        if sum(map(len, encoded)) <= PICTURE_BYTES:
            break
    index = []
    for number, (data, (_, prompt_index, seed)) in enumerate(zip(encoded, chosen, strict=True)):
        index.append(VersionPicture(picture=f"{number:02d}.jpg", prompt_index=prompt_index, seed=seed))
        (folder / index[-1].picture).write_bytes(data)
    write_version_pictures(folder.parent, index)
    return len(encoded)


def _pictures_of_version() -> list[tuple[Path, int, int]]:
    """The pictures of set ``lora`` that are on this machine, with prompt and seed, in the order of per_image.csv."""
    with PER_IMAGE.open(newline="", encoding="utf-8") as stream:
        rows = [row for row in csv.DictReader(stream) if row.get("set") == "lora" and row.get("file")]
    places = [(EVAL_IMAGES / row["file"], int(row["prompt_index"]), int(row["seed"])) for row in rows]
    return [place for place in places if place[0].is_file()]


def _encode(image: Image.Image, side: int, quality: int) -> bytes:
    small = image.copy()
    small.thumbnail((side, side), Image.Resampling.LANCZOS)
    data = io.BytesIO()
    small.save(data, format="JPEG", quality=quality, optimize=True)
    return data.getvalue()


def _history_row(name: str, card: Scorecard, force: bool, why: str, objections: list[str]) -> Promotion:
    return Promotion(
        name=name, promoted_at=datetime.now(UTC).replace(microsecond=0),
        run_id=card.run_id, lora_version=card.lora_version,
        lora_sha256=card.lora_sha256, protocol=card.protocol, dataset_manifest_sha256=card.dataset_manifest_sha256,
        lora_dataset=card.lora_dataset,
        scores={score: getattr(card, score) for score in SCORES}, overall_score=card.overall_score,
        overall_grade=card.overall_grade, forced=force, why=why, overruled=objections,
    )  # fmt: skip


@contextmanager
def _history_lock() -> Iterator[None]:
    """One promotion at a time in one workspace; the lock lies outside it, so that git never sees it."""
    folder = cache_folder(None) / "locks"
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / f"history-{sha256(str(HISTORY.resolve()).encode()).hexdigest()[:16]}.lock")
    try:
        with lock.acquire(timeout=PATIENCE_S):
            yield
    except Timeout:
        raise UserError(
            HISTORY, f"another promotion has been at work for {PATIENCE_S:g} s", "wait for it, or end it"
        ) from None
