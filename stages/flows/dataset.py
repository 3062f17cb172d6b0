"""What a dataset is made of: built into a manifest, compared with another one, and checked against the files."""

from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import imagehash
from PIL import Image
from pydantic import BaseModel, ConfigDict, Field

from stages.contracts.captions import caption_names, photo_names, read_caption
from stages.contracts.manifest import Manifest, Photo, Summary
from stages.contracts.settings import Dataset
from stages.flows.dataset_warnings import list_warnings
from stages.measures.duplicates import group_duplicates, holdout_size, split_groups
from stages.runtime.errors import UserError
from stages.runtime.pictures import list_pictures, read_picture
from stages.runtime.progress import track
from stages.runtime.provenance import hash_file

LEAST_TRAINING = 2  # photos without which there is nothing to train on


def build_manifest(photos: Path, captions: Path, dataset: Dataset, workers: int = 1) -> Manifest:
    """Hash, measure, group and split the photos of a folder.

    Args:
        photos: folder of pictures, read recursively.
        captions: folder of their captions, laid out as data/captions is; a photo without one is a warning.
        dataset: trigger, split and duplicate settings; its ``photos`` is not read.
        workers: threads that read pictures.

    Raises:
        UserError: when there are no pictures, one cannot be read, or they do not suffice for the split.
    """
    paths = list_pictures(photos)
    names = photo_names(paths, photos)
    holdout = holdout_size(len(names), dataset.holdout_fraction, dataset.holdout_min)
    _refuse_too_few(photos, len(names), holdout)
    files = caption_names(names)
    read = partial(_read_photo, photos, captions)
    with ThreadPoolExecutor(workers) as pool:
        found = pool.map(read, names, [files[name] for name in names])
        facts = list(track(found, "manifest", len(names), "photo"))
    images = _group_and_split(facts, holdout, dataset)
    training = sum(photo.split == "train" for photo in images)
    if training < LEAST_TRAINING:
        what = f"near-duplicates stay on one side, which leaves {training} photos for training"
        raise UserError(photos, what, "add different photos, or lower dataset.holdout_min or duplicate_distance")
    return Manifest(
        name=dataset.name, trigger=dataset.trigger, class_word=dataset.class_word, photos=photos.as_posix(),
        captions=captions.as_posix(), images=images, summary=summarize(images, dataset, list_orphans(captions, files)),
    )  # fmt: skip


def _refuse_too_few(photos: Path, count: int, holdout: int) -> None:
    if count - holdout < LEAST_TRAINING:
        what = (
            f"{count} photos, of which the holdout takes {holdout}: at least {LEAST_TRAINING} must remain for training"
        )
        raise UserError(photos, what, "add photos, or lower dataset.holdout_min and dataset.holdout_fraction")


def _read_photo(photos: Path, captions: Path, name: str, caption_file: str) -> dict[str, Any]:
    pixels = read_picture(photos / name)
    caption = captions / caption_file
    captioned = caption.is_file()
    return {
        "filename": name, "sha256": hash_file(photos / name), "size_bytes": (photos / name).stat().st_size,
        "width": pixels.shape[1], "height": pixels.shape[0], "phash": str(imagehash.phash(Image.fromarray(pixels))),
        "caption_file": caption_file if captioned else "", "caption_text": read_caption(caption) if captioned else "",
        "caption_sha256": hash_file(caption) if captioned else "",
    }  # fmt: skip


def _group_and_split(facts: Sequence[dict[str, Any]], holdout: int, dataset: Dataset) -> list[Photo]:
    digests = [fact["sha256"] for fact in facts]
    groups = group_duplicates([fact["phash"] for fact in facts], digests, dataset.duplicate_distance)
    kept = split_groups(groups, digests, holdout, dataset.seed)
    return [
        Photo(**fact, group=group, split="holdout" if held else "train")
        for fact, group, held in zip(facts, groups, kept, strict=True)
    ]


def list_duplicates(images: Sequence[Photo]) -> list[list[str]]:
    """The groups of more than one photo, as sorted file names."""
    groups: dict[int, list[str]] = {}
    for photo in images:
        groups.setdefault(photo.group, []).append(photo.filename)
    return [sorted(names) for names in groups.values() if len(names) > 1]


def list_orphans(captions: Path, files: dict[str, str]) -> list[str]:
    """Caption files that belong to no photo, sorted."""
    found = (path.relative_to(captions).as_posix() for path in captions.rglob("*.txt"))
    return sorted(set(found) - set(files.values()))


def summarize(images: Sequence[Photo], dataset: Dataset, orphans: Sequence[str] = ()) -> Summary:
    """The dataset at a glance, with what a careful reader would object to."""
    captions = Counter(photo.caption_text for photo in images if photo.caption_file)
    duplicates = list_duplicates(images)
    return Summary(
        total_images=len(images),
        total_captions=captions.total(),
        unique_captions=len(captions),
        caption_distribution=dict(sorted(captions.items(), key=lambda item: (-item[1], item[0]))),
        mean_image_size_bytes=sum(photo.size_bytes for photo in images) / len(images),
        resolution_set=sorted({f"{photo.width}x{photo.height}" for photo in images}),
        train_images=sum(photo.split == "train" for photo in images),
        holdout_images=sum(photo.split == "holdout" for photo in images),
        duplicates=duplicates,
        warnings=list_warnings(images, duplicates, dataset.trigger, dataset.class_word, orphans),
    )


class Change(BaseModel):
    """One photo's old and new value."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    filename: str
    before: str
    after: str


class Difference(BaseModel):
    """What differs between two manifests; every list is sorted by file name."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    settings: dict[str, tuple[str, str]] = Field(description="name, trigger, class_word that differ: before, after")
    added: list[str]
    removed: list[str]
    changed_bytes: list[Change] = Field(description="sha256 before and after")
    changed_captions: list[Change] = Field(description="caption text before and after")
    moved: list[Change] = Field(description="split before and after")

    @property
    def empty(self) -> bool:
        """Whether both manifests describe the same dataset."""
        return not any(getattr(self, name) for name in type(self).model_fields)


def _changes(pairs: Sequence[tuple[Photo, Photo]], field: str) -> list[Change]:
    values = ((a.filename, getattr(a, field), getattr(b, field)) for a, b in pairs)
    return [Change(filename=name, before=before, after=after) for name, before, after in values if before != after]


def compare_manifests(a: Manifest, b: Manifest) -> Difference:
    """What changed from dataset ``a`` to dataset ``b``, photo by photo, told by file name."""
    before, after = ({photo.filename: photo for photo in manifest.images} for manifest in (a, b))
    both = [(before[name], after[name]) for name in sorted(before.keys() & after.keys())]
    settings = {name: (getattr(a, name), getattr(b, name)) for name in ("name", "trigger", "class_word")}
    return Difference(
        settings={name: values for name, values in settings.items() if values[0] != values[1]},
        added=sorted(after.keys() - before.keys()),
        removed=sorted(before.keys() - after.keys()),
        changed_bytes=_changes(both, "sha256"),
        changed_captions=_changes(both, "caption_text"),
        moved=_changes(both, "split"),
    )


def verify_manifest(manifest: Manifest, root: Path = Path()) -> list[str]:
    """What the files no longer share with the manifest; an empty list when nothing rotted.

    Args:
        manifest: what the dataset was.
        root: the workspace that its photo and caption folders are relative to.

    Returns:
        One line per problem, sorted by kind and file.
    """
    photos, captions = root / manifest.photos, root / manifest.captions
    problems = []
    for photo in manifest.images:
        problems += _rot(photos / photo.filename, photo.sha256)
        if photo.caption_file:
            problems += _rot_of_caption(captions / photo.caption_file, photo)
    known = {photo.filename for photo in manifest.images}
    new = [name for name in _names_now(photos) if name not in known]
    problems += [f"{(photos / name).as_posix()}: not in the manifest" for name in new]
    sides = {(photo.group, photo.split) for photo in manifest.images}
    split = sorted(group for group, count in Counter(group for group, _ in sides).items() if count > 1)
    return problems + [f"group {group}: near-duplicates on both sides of the split" for group in split]


def _names_now(photos: Path) -> list[str]:
    try:
        return photo_names(list_pictures(photos), photos)
    except UserError:  # no folder or no pictures: every photo has been reported as missing
        return []


def _rot(path: Path, sha256: str) -> list[str]:
    try:
        found = hash_file(path)
    except FileNotFoundError:
        return [f"{path.as_posix()}: missing"]
    except OSError as error:
        return [f"{path.as_posix()}: cannot be read ({error.strerror})"]
    return [] if found == sha256 else [f"{path.as_posix()}: changed (sha256 {found[:12]}, manifest {sha256[:12]})"]


def _rot_of_caption(path: Path, photo: Photo) -> list[str]:
    problems = _rot(path, photo.caption_sha256)
    if not problems and read_caption(path) != photo.caption_text:
        return [f"{path.as_posix()}: the manifest's caption_text is another one"]
    return problems
