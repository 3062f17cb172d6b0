"""The second judge: any ONNX face embedder, described by a judge.json beside it."""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, Self

import cv2
import numpy as np
import onnxruntime
from insightface.utils import face_align
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from stages.backends.faces.sessions import batches, providers, session_options
from stages.contracts.generation import Face
from stages.contracts.settings import Machine
from stages.runtime.errors import UserError

MICRO_BATCH = 8


class Rules(BaseModel):
    """judge.json: how the network wants to see a face."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    alignment: Literal["box", "landmarks"] = Field(
        "box", description="an upright square round the face box, or the five landmarks where ArcFace wants them"
    )
    input_size: int = Field(ge=8, description="side of the square input, px; landmarks: a multiple of 112 or 128")
    margin: float = Field(1.0, gt=0, description="side of the crop in longer sides of the face box; landmarks: unused")
    mean: float = Field(description="subtracted from RGB in 0..255")
    std: float = Field(gt=0, description="then divided by")
    threshold: float | None = Field(None, description="cosine above which two pictures show one person, where known")

    @model_validator(mode="after")
    def _fits_alignment(self) -> Self:
        if self.alignment == "landmarks" and self.input_size % 112 and self.input_size % 128:
            raise ValueError("input_size: ArcFace's landmarks are known for multiples of 112 and 128")
        return self


def read_rules(path: Path) -> Rules:
    """Read judge.json.

    Raises:
        UserError: when it does not follow the schema.
    """
    try:
        return Rules.model_validate_json(path.read_bytes())
    except ValidationError as error:
        first = error.errors()[0]
        raise UserError(path, f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from None


def crop(image: np.ndarray, box: np.ndarray, margin: float, side: int) -> np.ndarray:
    """The judge's view (side, side, 3) of the face in ``box`` (4,) x0 y0 x1 y1 px.

    A square round the box's centre, ``margin`` times its longer side, whole pixels; beyond the picture, its edge.
    """
    x0, y0, x1, y1 = (float(value) for value in box)
    length = max(4, round(margin * max(x1 - x0, y1 - y0)))
    left, top = round((x0 + x1 - length) / 2), round((y0 + y1 - length) / 2)
    columns = np.clip(np.arange(left, left + length), 0, image.shape[1] - 1)
    rows = np.clip(np.arange(top, top + length), 0, image.shape[0] - 1)
    square = np.ascontiguousarray(image[rows[:, None], columns[None]])
    way = cv2.INTER_AREA if length > side else cv2.INTER_LINEAR
    return cv2.resize(square, (side, side), interpolation=way)


def align(image: np.ndarray, landmarks: np.ndarray, side: int) -> np.ndarray:
    """The judge's view (side, side, 3) of the face with ``landmarks`` (5, 2) px: ArcFace's (arXiv:1801.07698)."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the scikit-image call that InsightFace makes
        view: np.ndarray = face_align.norm_crop(image, landmarks, image_size=side)
    return view


class OnnxEmbedder:
    """Embeds the faces that the first judge has found."""

    def __init__(self, weights: Path, rules: Path, machine: Machine) -> None:
        """Load the weights and their rules.

        Raises:
            UserError: when the rules do not follow the schema.
        """
        self.rules = read_rules(rules)
        self._session = onnxruntime.InferenceSession(
            str(weights), session_options(machine), providers=providers(machine)
        )
        self._input = self._session.get_inputs()[0].name
        declared = self._session.get_inputs()[0].shape[0]
        self._batch = declared if isinstance(declared, int) and declared > 0 else MICRO_BATCH

    def _view(self, image: np.ndarray, face: Face) -> np.ndarray:
        if self.rules.alignment == "landmarks":
            return align(image, face.landmarks, self.rules.input_size)
        return crop(image, face.box, self.rules.margin, self.rules.input_size)

    def embed(self, images: Sequence[np.ndarray], faces: Sequence[Face | None]) -> list[np.ndarray | None]:
        """Unit embeddings float32 (D,) of uint8 (H, W, 3) RGB pictures; None where there is no face."""
        rules = self.rules
        present = [i for i, face in enumerate(faces) if face is not None]
        views = [self._view(images[i], face) for i in present if (face := faces[i])]
        embedded: list[np.ndarray | None] = [None] * len(faces)
        for run in batches(len(views), self._batch):
            batch = np.stack([views[k] for k in run]).astype(np.float32)
            padded = np.concatenate([batch, np.repeat(batch[-1:], self._batch - len(batch), axis=0)])
            pixels = np.ascontiguousarray(((padded - rules.mean) / rules.std).transpose(0, 3, 1, 2), dtype=np.float32)
            vectors = self._session.run(None, {self._input: pixels})[0][: len(batch)].astype(np.float32)
            vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
            for k, vector in zip(run, vectors, strict=True):
                embedded[present[k]] = vector
        return embedded
