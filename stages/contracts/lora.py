"""models/lora/: the LoRA files of one training, what their headers say, and the dataset that they were made from."""

import hashlib
import json
import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from stages.contracts.paths import LORA
from stages.runtime.errors import UserError
from stages.runtime.files import replacing

SUFFIX = ".safetensors"
DATASET = "dataset_manifest.json"  # beside the files: the manifest's bytes
MANIFEST_KEY = "pistachio.manifest_sha256"
VERSION_KEY = "pistachio.version"
UNKNOWN = "unknown"  # the dataset of a LoRA from elsewhere
UNKNOWN_STEP = 0  # the only checkpoint of a LoRA whose header has no ss_steps
_DTYPES = {np.dtype(np.float16): "F16", np.dtype(np.float32): "F32"}


@dataclass(frozen=True)
class Header:
    """The header of a LoRA file: kohya's metadata, and the names of its tensors."""

    metadata: dict[str, str]
    tensors: tuple[str, ...]

    @property
    def step(self) -> int | None:
        """After how many steps it was saved; None where the file does not say."""
        text = self.metadata.get("ss_steps", "")
        return int(text) if text.isdecimal() else None

    @property
    def manifest_sha256(self) -> str | None:
        """sha256 of the manifest that it was trained from; None for a LoRA from elsewhere."""
        return self.metadata.get(MANIFEST_KEY)

    @property
    def dataset(self) -> str:
        """sha256 of the manifest that it was trained from, or ``unknown``."""
        return self.manifest_sha256 or UNKNOWN

    @property
    def version(self) -> str | None:
        """Which recipe made it (train.version); None for a LoRA from elsewhere."""
        return self.metadata.get(VERSION_KEY)


def describe_step(step: int) -> str:
    """A checkpoint's step as a reader sees it."""
    return UNKNOWN if step == UNKNOWN_STEP else str(step)


def final_path(name: str, folder: Path = LORA) -> Path:
    """The file of the last step."""
    return folder / f"{name}{SUFFIX}"


def step_path(name: str, step: int, folder: Path = LORA) -> Path:
    """The file of an earlier step, named as kohya sd-scripts names it."""
    return folder / f"{name}-step{step:08d}{SUFFIX}"


def find_checkpoints(name: str, folder: Path = LORA) -> dict[int, Path]:
    """Every saved checkpoint of ``name`` by its step, ascending; the last is the final file.

    A final file whose header has no steps, as a LoRA from elsewhere may be, is its own only checkpoint: UNKNOWN_STEP.

    Raises:
        UserError: when the final file is missing or its header cannot be read.
    """
    final = final_path(name, folder)
    last = read_header(final).step
    if last is None:
        return {UNKNOWN_STEP: final}
    pattern = re.compile(re.escape(name) + r"-step(\d{8})" + re.escape(SUFFIX))
    matches = (pattern.fullmatch(path.name) for path in folder.iterdir())
    found = {int(match[1]): folder / match[0] for match in matches if match}
    return dict(sorted((found | {last: final}).items()))


def read_header(path: Path) -> Header:
    """Read a LoRA file's header.

    Raises:
        UserError: when the file is missing or not in the safetensors format.
    """
    try:
        with path.open("rb") as stream:
            (length,) = struct.unpack("<Q", stream.read(8))
            header = json.loads(stream.read(min(length, 100_000_000)))
        metadata = header.pop("__metadata__", {})
        return Header(dict(metadata), tuple(sorted(header)))
    except FileNotFoundError:
        raise UserError(path, "not found", "run `dvc repro train`") from None
    except (OSError, struct.error, ValueError, AttributeError, TypeError) as error:
        raise UserError(path, f"not a safetensors file ({error})") from None


def write_lora(path: Path, tensors: Mapping[str, np.ndarray], metadata: Mapping[str, str]) -> None:
    """Write a safetensors file, atomically: the same tensors and metadata are the same bytes.

    The safetensors package shuffles the metadata, so the header is written here: sorted, padded to eight bytes, and
    with the tensors' hash that kohya's tools and the model-spec ask for.
    """
    names = sorted(tensors)
    body = b"".join(np.ascontiguousarray(tensors[name]).tobytes() for name in names)
    digest = hashlib.sha256(body).hexdigest()
    described = {**metadata, "modelspec.hash_sha256": f"0x{digest}", "sshs_model_hash": digest}
    header: dict[str, Any] = {"__metadata__": dict(sorted(described.items()))}
    start = 0
    for name in names:
        array = tensors[name]
        header[name] = {"dtype": _DTYPES[array.dtype], "shape": list(array.shape),
                        "data_offsets": [start, start + array.nbytes]}  # fmt: skip
        start += array.nbytes
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with replacing(path) as beside:
        beside.write_bytes(struct.pack("<Q", len(text)) + text + body)
