"""What can be seen in a photo without knowing the others: bytes, pixels and caption, faces and sharpness."""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from stages.backends.faces import open_face_judge
from stages.backends.text_image import open_text_image_judge
from stages.contracts.captions import read_caption
from stages.contracts.generation import Face, FaceJudge, TextImageJudge
from stages.contracts.measure_settings import CoverageLimits, Pose
from stages.contracts.settings import Judges, Machine
from stages.measures.coverage import FRAMING, name_aspect, name_framing
from stages.measures.pose import estimate_yaw
from stages.measures.sharpness import sharpness
from stages.runtime.looks import hash_look
from stages.runtime.pictures import decode_picture, read_bytes
from stages.runtime.provenance import hash_bytes, hash_file

TOGETHER = 8  # photos in memory at once; decides memory and speed, never a number


@dataclass(frozen=True)
class Viewers:
    """The judges that look at photos: who is on them, and what they show."""

    faces: FaceJudge
    text_image: TextImageJudge
    pose: Pose = field(default_factory=Pose)
    asks: Mapping[str, Sequence[tuple[str, str]]] = field(default_factory=dict)  # aspect -> labels and texts for CLIP
    limits: CoverageLimits = field(default_factory=CoverageLimits)


@dataclass(frozen=True)
class Facts:
    """One photo's fields of the manifest, but for those that other photos decide."""

    fields: dict[str, Any]
    embedding: np.ndarray | None  # float32 (D,), unit length; None: nobody looked


def open_viewers(judges: Judges, machine: Machine, limits: CoverageLimits | None = None) -> Viewers:
    """Open the face pack and CLIP; ``limits`` say what counts as a framing and as a sure answer.

    Raises:
        UserError: when the weights of one are missing.
    """
    faces, text_image = judges.faces, judges.text_image
    return Viewers(
        open_face_judge(faces, machine), open_text_image_judge(text_image, machine), faces.pose, text_image.asks,
        limits or CoverageLimits(),
    )  # fmt: skip


def gather_facts(
    photos: Path, captions: Path, files: Mapping[str, str], side: int, viewers: Viewers | None, workers: int
) -> Iterator[Facts]:
    """Yield the facts of every photo, in order.

    Args:
        photos: the photo folder.
        captions: the captions folder.
        files: photo name -> caption file, both relative to their folders.
        side: px to which photos are shrunk before their sharpness is measured.
        viewers: who looks at the photos; None: nobody.
        workers: threads that read and decode.

    Raises:
        UserError: when a photo or a caption cannot be read.
    """
    names = list(files)
    with ThreadPoolExecutor(workers) as pool:
        for start in range(0, len(names), TOGETHER):
            group = names[start : start + TOGETHER]
            read = list(pool.map(lambda name: _read(photos, captions, name, files[name]), group))
            pictures = [pixels for pixels, _ in read]
            faces: list[Face | None] = viewers.faces.faces(pictures) if viewers else [None] * len(group)
            embedded_ND = viewers.text_image.embed_images(pictures) if viewers else None
            answers = {} if viewers is None or embedded_ND is None else _ask(embedded_ND, viewers)
            for i, ((pixels, fields), face) in enumerate(zip(read, faces, strict=True)):
                seen = _look(pixels, face, side, looked=viewers is not None)
                if viewers is not None:
                    own = {aspect: found[i] for aspect, found in answers.items()}
                    seen |= _describe(pixels, face, fields["caption_text"], own, viewers)
                yield Facts(fields | seen, None if embedded_ND is None else embedded_ND[i])


def _read(photos: Path, captions: Path, name: str, caption_file: str) -> tuple[np.ndarray, dict[str, Any]]:
    path, caption = photos / name, captions / caption_file
    data = read_bytes(path)  # once: the hash is that of the bytes that were decoded, whatever happens to the file
    pixels = decode_picture(data, path)
    phash, width, height = hash_look(data, path, pixels)
    captioned = caption.is_file()
    return pixels, {
        "filename": name, "sha256": hash_bytes(data), "size_bytes": len(data),
        "width": width, "height": height, "phash": phash,
        "caption_file": caption_file if captioned else "", "caption_text": read_caption(caption) if captioned else "",
        "caption_sha256": hash_file(caption) if captioned else "",
    }  # fmt: skip


def _look(pixels: np.ndarray, face: Face | None, side: int, *, looked: bool) -> dict[str, Any]:
    found: dict[str, Any] = {"faces": 0 if looked else None}
    if face is not None:
        height, width = pixels.shape[:2]
        x0, y0, x1, y1 = np.clip(face.box, 0, (width, height, width, height)).tolist()
        box = tuple(round(side, 4) for side in (x0 / width, y0 / height, x1 / width, y1 / height))
        found = {"faces": face.count, "face_box": box, "face_share": round((x1 - x0) * (y1 - y0) / (width * height), 4)}
    return found | {"sharpness": round(sharpness(pixels, side, face.box if face else None), 1)}


def _ask(embeddings_ND: np.ndarray, viewers: Viewers) -> dict[str, np.ndarray]:
    """CLIP's probabilities float32 (N, L) for the labels of every aspect that it is asked about."""
    texts = {aspect: [text for _, text in labels] for aspect, labels in viewers.asks.items()}
    asked = {aspect: some for aspect, some in texts.items() if some and all(some)}
    return {aspect: viewers.text_image.choose(embeddings_ND, texts) for aspect, texts in asked.items()}


def _describe(
    pixels: np.ndarray, face: Face | None, caption: str, answers: Mapping[str, np.ndarray], viewers: Viewers
) -> dict[str, Any]:
    """Where the face looks, and what the photo shows of every aspect."""
    aspects = {
        aspect: name_aspect(caption, [label for label, _ in labels], answers.get(aspect), viewers.limits.sure)
        for aspect, labels in viewers.asks.items()
    }
    if face is None:
        return {"aspects": aspects}
    height = float(face.box[3] - face.box[1]) / pixels.shape[0]
    framing = {FRAMING: name_framing(height, viewers.limits.framing)}
    yaw = round(estimate_yaw(face.landmarks, viewers.pose.nose_depth), 1)
    return {"yaw": yaw, "aspects": framing | aspects}
