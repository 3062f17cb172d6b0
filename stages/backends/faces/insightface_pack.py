"""The face pack: detection, alignment and embedding as InsightFace does them, embeddings in fixed padded batches.

Pictures are spread over the machine's threads, each network running on one: these networks are too small for several
threads to share one picture without waiting for each other longer than they compute.
"""

import logging
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

import cv2
import numpy as np
from insightface.app import FaceAnalysis
from insightface.utils import face_align

from stages.backends.faces.sessions import batches, providers, session_options
from stages.contracts.generation import Face
from stages.contracts.settings import FacePack, Machine
from stages.runtime.errors import UserError

MICRO_BATCH = 8
DETECTION_THRESHOLD = 0.5  # InsightFace's own

A = TypeVar("A")
B = TypeVar("B")


@dataclass(frozen=True)
class Found:
    """The largest face of a picture."""

    box: np.ndarray
    landmarks: np.ndarray
    score: float
    count: int  # faces in the picture
    crop: np.ndarray  # uint8 (side, side, 3) BGR, aligned


class InsightFacePack:
    """Finds the largest face with the pack's detector and embeds it with its recogniser."""

    def __init__(self, pack: FacePack, machine: Machine) -> None:
        """Load the pack.

        Raises:
            UserError: when the folder is missing or lacks a detector or a recogniser.
        """
        # FaceAnalysis would start to download a pack that is not there, and fails by a bare assertion on an empty one.
        if not pack.path.is_dir() or not list(pack.path.glob("*.onnx")):
            raise UserError(pack.path, "holds no .onnx files", "judges.faces.path is the folder of the pack itself")
        logging.getLogger("insightface").setLevel(logging.ERROR)
        device = 0 if machine.device.startswith("cuda") else -1
        try:
            app = FaceAnalysis(
                name=str(pack.path.resolve()), allowed_modules=["detection", "recognition"],
                providers=providers(machine), sess_options=session_options(machine, threads=1),
            )  # fmt: skip
        except AssertionError:
            raise UserError(pack.path, "the pack has no detector", "use a pack such as buffalo_l") from None
        if "recognition" not in app.models:
            raise UserError(pack.path, "the pack has no recogniser", "use a pack such as buffalo_l")
        size = pack.detection_size
        app.prepare(ctx_id=device, det_thresh=DETECTION_THRESHOLD, det_size=(size, size))
        self._detector: Any = app.det_model
        self._recogniser: Any = app.models["recognition"]
        declared = self._recogniser.input_shape[0]
        self._batch = declared if isinstance(declared, int) and declared > 0 else MICRO_BATCH
        self._threads = machine.threads

    def faces(self, images: Sequence[np.ndarray]) -> list[Face | None]:
        """The largest face of each uint8 (H, W, 3) RGB picture; None where none is found."""
        share = min(self._batch, -(-len(images) // self._threads)) or 1  # so that every thread has pictures
        groups = [images[run.start : run.stop] for run in batches(len(images), share)]
        return [face for faces in self._spread(self._see, groups) for face in faces]

    def _see(self, images: Sequence[np.ndarray]) -> list[Face | None]:
        """The faces of at most a batch of pictures: found one by one, embedded together."""
        found = [self._largest(image) for image in images]
        embedded = iter(self._embed([face.crop for face in found if face is not None]))
        return [
            None if face is None else Face(
                box=face.box, landmarks=face.landmarks, score=face.score, embedding=next(embedded), count=face.count
            )
            for face in found
        ]  # fmt: skip

    def _spread(self, work: Callable[[A], B], items: Sequence[A]) -> list[B]:
        """``work`` on every item, in order, by the machine's threads."""
        with warnings.catch_warnings():  # once, here: it changes the filters of all threads
            warnings.simplefilter("ignore")  # of the scikit-image call that InsightFace's alignment makes
            with ThreadPoolExecutor(self._threads) as pool:
                return list(pool.map(work, items))

    def _largest(self, image: np.ndarray) -> Found | None:
        """The ``Found`` of the largest box, None where there is none; the detector letterboxes the picture itself."""
        bgr = cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_RGB2BGR)
        boxes, landmarks = self._detector.detect(bgr)
        if len(boxes) == 0:
            return None
        widest = int(np.argmax((boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])))
        box, points = boxes[widest, :4].astype(np.float32), landmarks[widest].astype(np.float32)
        crop = face_align.norm_crop(bgr, points, image_size=self._recogniser.input_size[0])
        return Found(box, points, float(boxes[widest, 4]), len(boxes), crop)

    def _embed(self, crops: list[np.ndarray]) -> np.ndarray:
        """Unit embeddings float32 (N, D) of a batch of aligned BGR crops or fewer, padded to one size."""
        if not crops:
            return np.zeros((0, 1), np.float32)
        padded = crops + [crops[-1]] * (self._batch - len(crops))
        vectors = self._recogniser.get_feat(padded)[: len(crops)].astype(np.float32)
        unit: np.ndarray = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
        return unit
