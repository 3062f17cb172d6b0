"""What in a photo folder would stop caption, manifest or train, found before DVC deletes what they made."""

from collections.abc import Sequence
from pathlib import Path

from stages.contracts.captions import read_caption
from stages.contracts.settings import Dataset
from stages.flows.dataset import refuse_too_few
from stages.flows.photo_prints import Print, gather_prints
from stages.measures.duplicates import group_duplicates, holdout_size, split_groups
from stages.runtime.errors import UserError, disk_error
from stages.runtime.pictures import no_pictures, survey

ORPHAN = ("a caption of no photo", "rename it after its photo, or take it out (notes may be .md)")


def list_photo_problems(dataset: Dataset, workers: int, state_dir: Path | None = None) -> list[str]:
    """One line per photo or caption that cannot be used, sorted by file, then what is wrong with all together.

    Every photo is read to its end, but for those that were and have not changed since.  Photos of one moment are not
    looked for: that takes a model, and the manifest stage says which setting to change.

    Args:
        dataset: the photo folder and how it is split.
        workers: threads that read and decode.
        state_dir: ``machine.state_dir``, where it is kept which photos were read.
    """
    folder = dataset.photos
    try:
        found = survey(folder)
    except UserError as error:
        return [str(error)]
    except OSError as error:
        return [str(disk_error(error) or UserError(folder, f"cannot be read ({error.strerror})"))]
    owned = _captions_by_hand([*found.pictures, *(Path(problem.where) for problem in found.problems)])
    looked = gather_prints(found.pictures, workers, state_dir)
    texts = [_read_text(path) if path in owned else UserError(path, *ORPHAN) for path in found.texts]
    problems = [*found.problems, *(error for error in [*looked, *texts] if isinstance(error, UserError))]
    lines = [str(error) for error in sorted(problems, key=lambda error: error.where)]
    good = [photo for photo in looked if not isinstance(photo, UserError)]
    return lines + [str(error) for error in _too_few(dataset, good)]


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


def _too_few(dataset: Dataset, prints: Sequence[Print]) -> list[UserError]:
    """What the split would refuse."""
    count = len(prints)
    size = holdout_size(count, dataset.holdout_fraction, dataset.holdout_min)
    try:
        if not count:
            raise no_pictures(dataset.photos)
        refuse_too_few(dataset.photos, count, size)
        digests = [photo.sha256 for photo in prints]
        groups = group_duplicates([photo.phash for photo in prints], digests, dataset.duplicate_distance)
        held = sum(split_groups(groups, digests, size, dataset.seed))
        refuse_too_few(dataset.photos, count, held)
    except UserError as error:
        return [error]
    return []
