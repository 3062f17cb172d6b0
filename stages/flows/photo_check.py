"""What in a photo folder would stop caption, manifest or train, found before DVC deletes what they made."""

import hashlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import imagehash
from PIL import Image

from stages.contracts.captions import read_caption
from stages.contracts.settings import Dataset
from stages.flows.dataset import refuse_too_few
from stages.measures.duplicates import group_duplicates, holdout_size, split_groups
from stages.runtime.errors import UserError, disk_error
from stages.runtime.pictures import decode_picture, no_pictures, read_bytes, survey

ORPHAN = ("a caption of no photo", "rename it after its photo, or take it out (notes may be .md)")


def list_photo_problems(dataset: Dataset, workers: int) -> list[str]:
    """One line per photo or caption that cannot be used, sorted by file, then what is wrong with all together.

    Every photo is decoded whole.  Photos of one moment are not looked for: that takes a model, and the manifest stage
    says which setting to change.

    Args:
        dataset: the photo folder and how it is split.
        workers: threads that read and decode.
    """
    folder = dataset.photos
    try:
        found = survey(folder)
    except UserError as error:
        return [str(error)]
    except OSError as error:
        return [str(disk_error(error) or UserError(folder, f"cannot be read ({error.strerror})"))]
    owned = _captions_by_hand([*found.pictures, *(Path(problem.where) for problem in found.problems)])
    with ThreadPoolExecutor(workers) as pool:
        looked = list(pool.map(_look, found.pictures))
    texts = [_read_text(path) if path in owned else UserError(path, *ORPHAN) for path in found.texts]
    problems = [*found.problems, *(error for error in [*looked, *texts] if isinstance(error, UserError))]
    lines = [str(error) for error in sorted(problems, key=lambda error: error.where)]
    good = [hashes for hashes in looked if not isinstance(hashes, UserError)]
    return lines + [str(error) for error in _too_few(dataset, good)]


def _look(path: Path) -> tuple[str, str] | UserError:
    """A photo's perceptual hash and the hash of its bytes, or what is wrong with it."""
    try:
        data = read_bytes(path)
        return str(imagehash.phash(Image.fromarray(decode_picture(data, path)))), hashlib.sha256(data).hexdigest()
    except UserError as error:
        return error


def _read_text(path: Path) -> UserError | None:
    try:
        read_caption(path)
    except UserError as error:
        return error
    except OSError as error:
        return UserError(path, f"cannot be read ({error.strerror})")
    return None


def _captions_by_hand(photos: Sequence[Path]) -> set[Path]:
    """Where captions of these photos may lie; a .txt elsewhere is one that no photo would get."""
    return {path.with_suffix(".txt") for path in photos} | {path.with_name(f"{path.name}.txt") for path in photos}


def _too_few(dataset: Dataset, hashes: Sequence[tuple[str, str]]) -> list[UserError]:
    """What the split would refuse."""
    count = len(hashes)
    size = holdout_size(count, dataset.holdout_fraction, dataset.holdout_min)
    try:
        if not count:
            raise no_pictures(dataset.photos)
        refuse_too_few(dataset.photos, count, size)
        digests = [digest for _, digest in hashes]
        groups = group_duplicates([phash for phash, _ in hashes], digests, dataset.duplicate_distance)
        held = sum(split_groups(groups, digests, size, dataset.seed))
        refuse_too_few(dataset.photos, count, held)
    except UserError as error:
        return [error]
    return []
