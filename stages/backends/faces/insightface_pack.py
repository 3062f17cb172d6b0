"""The face pack: detection, alignment and embedding as InsightFace does them, embeddings in fixed padded batches."""

import logging
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from insightface.app import FaceAnalysis
from insightface.utils import face_align

from stages.backends.faces.sessions import batches, providers, session_options
from stages.contracts.generation import Face
from stages.contracts.settings import FacePack, Machine
from stages.runtime.errors import UserError

MICRO_BATCH = 8
DETECTION_THRESHOLD = 0.5  # InsightFace's own


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
                providers=providers(machine), sess_options=session_options(machine),
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

    def faces(self, images: Sequence[np.ndarray]) -> list[Face | None]:
        """The largest face of each uint8 (H, W, 3) RGB picture; None where none is found."""
        bgr = [np.ascontiguousarray(image[..., ::-1]) for image in images]
        found = [self._largest(image) for image in bgr]
        present = [i for i, face in enumerate(found) if face is not None]
        crops = [self._aligned(bgr[i], found[i][1]) for i in present]
        judged: list[Face | None] = [None] * len(bgr)
        for i, embedding in zip(present, self._embed(crops), strict=True):
            box, landmarks, score, count = found[i]
            judged[i] = Face(box=box, landmarks=landmarks, score=score, embedding=embedding, count=count)
        return judged

    def _largest(self, bgr: np.ndarray) -> Any:
        """(box, landmarks, score, how many faces) of the largest box; the detector letterboxes the picture itself."""
        boxes, landmarks = self._detector.detect(bgr)
        if len(boxes) == 0:
            return None
        widest = int(np.argmax((boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])))
        box, score = boxes[widest, :4].astype(np.float32), float(boxes[widest, 4])
        return box, landmarks[widest].astype(np.float32), score, len(boxes)

    def _aligned(self, bgr: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the scikit-image call that InsightFace makes
            crop: np.ndarray = face_align.norm_crop(bgr, landmarks, image_size=self._recogniser.input_size[0])
        return crop

    def _embed(self, crops: list[np.ndarray]) -> list[np.ndarray]:
        """Unit embeddings of aligned BGR crops, in batches padded to one size: one arithmetic."""
        embedded: list[np.ndarray] = []
        for run in batches(len(crops), self._batch):
            batch = [crops[i] for i in run]
            padded = batch + [batch[-1]] * (self._batch - len(batch))
            vectors = self._recogniser.get_feat(padded)[: len(batch)].astype(np.float32)
            embedded.extend(vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12))
        return embedded
