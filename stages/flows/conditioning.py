"""The photo that InstantID and IPAdapter see: never one that pictures are compared with."""

from pathlib import Path

from stages.contracts.manifest import Manifest
from stages.contracts.settings import ComfyUI, Dataset
from stages.runtime.errors import UserError
from stages.runtime.provenance import hash_file

FRONTAL = 15.0  # degrees of yaw to either side


def choose_reference(comfyui: ComfyUI, dataset: Dataset, manifest: Manifest) -> Path | None:
    """The photo that conditions the face: the one that is set, else the training photo with the largest frontal face.

    None where no training photo is known to show a face: whoever needs one says so.

    Raises:
        UserError: when the photo that is set is not there, or is a holdout photo: its likeness would be measured
            against itself.
    """
    if comfyui.reference is not None:
        return _own(comfyui.reference, manifest)
    faces = [photo for photo in manifest.side("train") if photo.face_share]
    if not faces:
        return None
    frontal = [photo for photo in faces if photo.yaw is not None and abs(photo.yaw) <= FRONTAL]
    best = max(frontal or faces, key=lambda photo: (photo.face_share or 0.0, photo.filename))
    return dataset.photos / best.filename


def _own(path: Path, manifest: Manifest) -> Path:
    if not path.is_file():
        raise UserError("comfyui.reference", f"{path} is not there", "name a training photo, or set it to null")
    sha256 = hash_file(path)
    same = next((photo for photo in manifest.side("holdout") if photo.sha256 == sha256), None)
    if same is not None:
        what = f"{path} is the holdout photo {same.filename}, with which pictures are compared"
        raise UserError("comfyui.reference", what, "name a training photo, or set it to null")
    return path
