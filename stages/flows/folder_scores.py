"""Any folder of pictures, scored against any folder of reference pictures by the face pack."""

from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
from pydantic import BaseModel, ConfigDict, Field
from rich.console import Console
from rich.progress import Progress

from stages.contracts.generation import FaceJudge
from stages.contracts.paths import PARAMS
from stages.contracts.settings import FacePack, Judges, Machine, Section, Thresholds, parse, read_params
from stages.measures.identity import pass_rate, similarities
from stages.runtime.errors import UserError
from stages.runtime.pictures import list_pictures, read_pictures

TOGETHER = 16  # pictures held in memory at once; never changes a number


class Scoring(Section):
    """The sections of params.yaml that scoring a folder reads, each of which may be absent."""

    thresholds: Thresholds = Thresholds()
    judges: Judges | None = None
    machine: Machine = Machine()


@dataclass(frozen=True)
class Chosen:
    """What a folder is scored with."""

    threshold: float
    pack: FacePack
    machine: Machine


def choose_scoring(
    threshold: float | None, pack: Path | None, detection_size: int | None, params: Path = PARAMS
) -> Chosen:
    """Threshold and pack: what is given here, else what params.yaml says, else the schema's default.

    Raises:
        UserError: when params.yaml is wrong, a value given here is, or nobody names a pack.
    """
    said = read_params(Scoring, params) if params.exists() else Scoring()
    faces = said.judges.faces if said.judges else None
    if pack is None and faces is None:
        raise UserError("--pack", "no face pack is named", "give --pack FOLDER, or start in a folder with params.yaml")
    values = faces.model_dump() if faces else {}
    if pack is not None and (faces is None or pack.resolve() != faces.path.resolve()):
        values |= {"path": pack, "licence": "not stated: the pack was given on the command line"}
    if detection_size is not None:
        values["detection_size"] = detection_size
    chosen = said.thresholds.face_pass if threshold is None else threshold
    return Chosen(chosen, parse(FacePack, values, "command line"), said.machine)


class PictureScore(BaseModel):
    """One picture."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    file: str = Field(description="relative to the folder")
    face_found: bool
    similarity: float = Field(description="mean raw cosine to the references; 0 where no face is found")
    passed: bool


class FolderScores(BaseModel):
    """A folder's pictures and what they come to.  A face that is not found counts as a failure."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    references: int = Field(description="reference pictures in which a face was found")
    references_without_face: list[str]
    threshold: float
    similarity_mean: float
    pass_rate: float
    detection_rate: float
    licence: str = Field(description="of the judge's weights")
    pictures: list[PictureScore]


def score_folder(
    folder: Path, references: Path, judge: FaceJudge, *, threshold: float, licence: str, workers: int = 1
) -> FolderScores:
    """Score every picture under ``folder`` against all faces under ``references``.

    Args:
        folder: pictures, read recursively.
        references: pictures of the person.
        judge: finds and embeds faces.
        threshold: raw cosine from which on a picture passes, -1..1.
        licence: of the judge's weights, copied into the result.
        workers: threads that read pictures.

    Raises:
        UserError: when a folder is missing or holds no pictures, one cannot be read, or no reference shows a face.
    """
    paths, reference_paths = list_pictures(folder), list_pictures(references)
    known = _embed(reference_paths, judge, workers)
    faces = [embedding for embedding in known if embedding is not None]
    if not faces:
        what = f"no face found in any of its {len(known)} pictures"
        raise UserError(references, what, "give pictures that show the face, or another --detection-size")
    embeddings = _embed(paths, judge, workers)
    similarity_N = similarities(embeddings, np.stack(faces))
    found_N = np.array([embedding is not None for embedding in embeddings])
    # A threshold at or below 0 must not let pictures without a face pass.
    passed_N = found_N & (similarity_N >= threshold)
    pictures = [
        PictureScore(file=path.relative_to(folder).as_posix(), face_found=bool(f), similarity=float(s), passed=bool(p))
        for path, f, s, p in zip(paths, found_N, similarity_N, passed_N, strict=True)
    ]
    lost = [p.relative_to(references).as_posix() for p, e in zip(reference_paths, known, strict=True) if e is None]
    return FolderScores(
        references=len(faces), references_without_face=lost, threshold=threshold, licence=licence,
        similarity_mean=float(similarity_N.mean()), pass_rate=pass_rate(passed_N, 1.0),
        detection_rate=float(found_N.mean()), pictures=pictures,
    )  # fmt: skip


def _embed(paths: list[Path], judge: FaceJudge, workers: int) -> list[np.ndarray | None]:
    embeddings: list[np.ndarray | None] = []
    # No heartbeat: a person scores a folder while a stage is at work, and the heartbeat is the stage's.
    shown = Console(stderr=True)
    with Progress(console=shown, transient=True, disable=not shown.is_terminal) as progress:
        task = progress.add_task("finding faces", total=len(paths))
        pictures = read_pictures(paths, workers, TOGETHER)
        while group := list(islice(pictures, TOGETHER)):
            embeddings += [face.embedding if face else None for face in judge.faces(group)]
            progress.advance(task, len(group))
    return embeddings
