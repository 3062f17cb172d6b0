"""Faces found and embedded by the project's judge, against a loop of InsightFace's own FaceAnalysis.get."""

import logging
import time
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from insightface.app import FaceAnalysis

from bench.harness import Case
from miniature.places import DEVELOPMENT, WEIGHTS
from miniature.render import render, sample_identity, sample_scene
from stages.backends.faces import open_face_judge
from stages.contracts.generation import FaceJudge
from stages.contracts.settings import FacePack, Machine
from stages.runtime.pictures import read_pictures, write_png

DOES = "faces of 500 pictures found and embedded, against a loop of FaceAnalysis.get; 64 and 512 px"
PICTURES = 500
SIDES = (64, 512)  # px: the miniature's pictures, and larger than what the detector is shown
DETECTION = 128  # px, the miniature's profile
TOGETHER = 16  # pictures handed over at once, as a sweep does
PACK = WEIGHTS / "faces" / "models" / "miniature"
TOLERANCE = "boxes within 0.001 px, cosine of the embeddings of the largest face at least 0.99999"
Found = tuple[np.ndarray, np.ndarray] | None  # box (4,) px and unit embedding (D,) of the largest face


def write_pictures(folder: Path, side: int, count: int) -> list[Path]:
    """``count`` pictures of development people, one face each; those that lie there already are kept."""
    paths = [folder / f"{side}" / f"{number:04d}.png" for number in range(count)]
    for number, path in enumerate(paths):
        if not path.exists():
            person = sample_identity(DEVELOPMENT.start + number % len(DEVELOPMENT))
            write_png(path, render(person, sample_scene(number), side).image)
    return paths


def run_ours(judge: FaceJudge, paths: list[Path], workers: int) -> list[Found]:
    """As `pistachio score` does."""
    found: list[Found] = []
    pictures = read_pictures(paths, workers, TOGETHER)
    while group := list(islice(pictures, TOGETHER)):
        found += [None if face is None else (face.box, face.embedding) for face in judge.faces(group)]
    return found


def run_peer(app: Any, paths: list[Path]) -> list[Found]:
    """As InsightFace's README does, and the largest face of each picture."""
    found: list[Found] = []
    for path in paths:
        faces = app.get(cv2.imread(str(path)))
        areas = [(f.bbox[2] - f.bbox[0]) * (f.bbox[3] - f.bbox[1]) for f in faces]
        best = faces[int(np.argmax(areas))] if faces else None
        found.append(None if best is None else (best.bbox, best.normed_embedding))
    return found


def differ(ours: list[Found], peer: list[Found]) -> str:
    """What is not the same within the tolerance; empty when all is."""
    for number, (mine, theirs) in enumerate(zip(ours, peer, strict=True)):
        if mine is None or theirs is None:
            if mine is not theirs:
                return f"picture {number}: a face for one of the two"
        elif np.abs(mine[0] - theirs[0]).max() > 1e-3 or float(mine[1] @ theirs[1]) < 0.99999:
            return f"picture {number}: {mine[0]} and {theirs[0]}, cosine {float(mine[1] @ theirs[1]):.6f}"
    return ""


def time_networks(app: Any) -> dict[str, float]:
    """Milliseconds of a picture in each network alone, on one thread: what both sides must pay."""
    import onnxruntime

    told = {}
    for name, model in (("detection_ms", app.det_model), ("embedding_ms", app.models["recognition"])):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.log_severity_level = 1, 3
        session = onnxruntime.InferenceSession(model.model_file, options, providers=["CPUExecutionProvider"])
        side = DETECTION if name == "detection_ms" else model.input_size[0]
        given = {session.get_inputs()[0].name: np.zeros((1, 3, side, side), np.float32)}
        taken = []
        for _ in range(100):
            start = time.perf_counter()
            session.run(None, given)
            taken.append(1000 * (time.perf_counter() - start))
        told[name] = round(float(np.median(taken)), 2)
    return told


def prepare(folder: Path) -> list[Case]:
    """Pictures of 64 and of 512 px, one pack and one detector size for both sides."""
    logging.getLogger("insightface").setLevel(logging.ERROR)
    machine = Machine()
    judge = open_face_judge(FacePack(path=PACK, licence="the miniature's", detection_size=DETECTION), machine)
    app = FaceAnalysis(name=str(PACK.resolve()), providers=["CPUExecutionProvider"])
    app.prepare(ctx_id=-1, det_size=(DETECTION, DETECTION))

    def build_case(side: int) -> Case:
        paths = write_pictures(folder, side, PICTURES)
        return Case(
            lambda: run_ours(judge, paths, machine.workers), lambda: run_peer(app, paths), differ, TOLERANCE,
            len(paths), "pictures", f"{side} px", 4.0, peers={"insightface": {"version": version("insightface")}},
            figures=lambda: {"detector_px": DETECTION, "threads": machine.threads} | time_networks(app),
        )  # fmt: skip

    return [build_case(side) for side in SIDES]
