"""What a dataset is made of: built into a manifest, compared with another one, and checked against the files."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from stages.contracts.captions import caption_names, photo_names, read_caption
from stages.contracts.manifest import Manifest, Photo, Summary
from stages.contracts.settings import Dataset
from stages.flows.dataset_warnings import list_warnings
from stages.flows.photo_facts import Facts, Viewers, gather_facts
from stages.measures.coverage import FRAMING, POSE, advise, count_coverage
from stages.measures.duplicates import (
    find_nearest,
    group_duplicates,
    group_moments,
    holdout_size,
    split_groups,
)
from stages.measures.pose import SIDES, name_side
from stages.runtime.errors import UserError
from stages.runtime.pictures import Listing, list_pictures, survey
from stages.runtime.progress import track
from stages.runtime.provenance import hash_file

LEAST_TRAINING = 2  # photos without which there is nothing to train on


def build_manifest(
    photos: Path, captions: Path, dataset: Dataset, workers: int = 1, viewers: Viewers | None = None
) -> Manifest:
    """Hash, measure, group and split the photos of a folder.

    Args:
        photos: folder of pictures, read recursively.
        captions: folder of their captions, laid out as data/captions is; a photo without one is a warning.
        dataset: trigger, split and duplicate settings; its ``photos`` is not read.
        workers: threads that read pictures.
        viewers: who finds the faces and the shots of one moment; None: nobody, and perceptual hashes alone group.

    Raises:
        UserError: when there are no pictures, one cannot be read, or they do not suffice for the split.
    """
    names = photo_names(list_pictures(photos), photos)
    holdout = holdout_size(len(names), dataset.holdout_fraction, dataset.holdout_min)
    refuse_too_few(photos, len(names), holdout)
    files = caption_names(names)
    found = gather_facts(photos, captions, files, dataset.smallest_side, viewers, workers)
    images = _group_and_split(list(track(found, "manifest", len(names), "photo")), holdout, dataset)
    _refuse_lopsided(photos, images)
    return Manifest(
        name=dataset.name, trigger=dataset.trigger, class_word=dataset.class_word, photos=photos.as_posix(),
        captions=captions.as_posix(), images=images,
        summary=summarize(images, dataset, list_orphans(captions, files), viewers),
    )  # fmt: skip


def refuse_too_few(photos: Path, count: int, holdout: int) -> None:
    """Refuse a dataset that the split would leave too little of.

    Raises:
        UserError: when ``holdout`` of ``count`` photos leave too few to train on.
    """
    if count - holdout < LEAST_TRAINING:
        what = (
            f"{count} photos, of which the holdout takes {holdout}: at least {LEAST_TRAINING} must remain for training"
        )
        raise UserError(photos, what, "add photos, or lower dataset.holdout_min and dataset.holdout_fraction")


def _refuse_lopsided(photos: Path, images: Sequence[Photo]) -> None:
    training = sum(photo.split == "train" for photo in images)
    if training < LEAST_TRAINING:
        largest = max(Counter(photo.group for photo in images).values())
        what = (
            f"photos of one moment stay on one side of the split, which leaves {training} photos for training "
            f"(the largest group holds {largest} of {len(images)})"
        )
        todo = "add different photos, or lower dataset.holdout_min or duplicate_distance, or raise moment_similarity"
        raise UserError(photos, what, todo)


def _group_and_split(facts: Sequence[Facts], holdout: int, dataset: Dataset) -> list[Photo]:
    fields = [fact.fields for fact in facts]
    digests = [found["sha256"] for found in fields]
    pictures = group_duplicates([found["phash"] for found in fields], digests, dataset.duplicate_distance)
    groups, likeness = pictures, [dict[str, Any]() for _ in facts]
    embeddings = [fact.embedding for fact in facts if fact.embedding is not None]
    if len(embeddings) == len(facts):
        embeddings_ND = np.stack(embeddings)
        likeness = [
            {"nearest": fields[other]["filename"], "nearest_similarity": round(similarity, 3)}
            for other, similarity in find_nearest(embeddings_ND)
        ]
        if dataset.moment_similarity is not None:
            groups = group_moments(pictures, embeddings_ND, dataset.moment_similarity)
    kept = split_groups(groups, digests, holdout, dataset.seed)
    return [
        Photo(**found, **like, picture=picture, group=group, split="holdout" if held else "train")
        for found, like, picture, group, held in zip(fields, likeness, pictures, groups, kept, strict=True)
    ]


def list_duplicates(images: Sequence[Photo]) -> list[list[str]]:
    """The pictures that more than one file holds, as sorted file names."""
    files: dict[int, list[str]] = {}
    for photo in images:
        files.setdefault(photo.picture, []).append(photo.filename)
    return [sorted(names) for names in files.values() if len(names) > 1]


def list_moments(images: Sequence[Photo]) -> list[list[str]]:
    """The moments of which there is more than one picture, as sorted file names."""
    groups: dict[int, list[Photo]] = {}
    for photo in images:
        groups.setdefault(photo.group, []).append(photo)
    several = (shots for shots in groups.values() if len({shot.picture for shot in shots}) > 1)
    return [sorted(shot.filename for shot in shots) for shots in several]


def list_orphans(captions: Path, files: dict[str, str]) -> list[str]:
    """Caption files that belong to no photo, sorted."""
    found = (path.relative_to(captions).as_posix() for path in captions.rglob("*.txt"))
    return sorted(set(found) - set(files.values()))


def measure_coverage(images: Sequence[Photo], viewers: Viewers) -> dict[str, dict[str, int]]:
    """How many photos show each pose, framing and kind of every aspect that CLIP is asked about."""
    pose, asks = viewers.pose, viewers.asks
    framings = tuple(name for name, _ in viewers.limits.framing)
    labels = {POSE: SIDES, FRAMING: framings} | {a: tuple(label for label, _ in some) for a, some in asks.items()}
    sides = [{} if p.yaw is None else {POSE: name_side(p.yaw, pose.half, pose.profile)} for p in images]
    return count_coverage([photo.aspects | side for photo, side in zip(images, sides, strict=True)], labels)


def summarize(
    images: Sequence[Photo], dataset: Dataset, orphans: Sequence[str] = (), viewers: Viewers | None = None
) -> Summary:
    """The dataset at a glance, with what a careful reader would object to and what is lacking."""
    coverage = measure_coverage(images, viewers) if viewers else {}
    captions = Counter(photo.caption_text for photo in images if photo.caption_file)
    duplicates, moments = list_duplicates(images), list_moments(images)
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
        moments=moments,
        warnings=list_warnings(images, duplicates, moments, dataset, orphans),
        coverage=coverage,
        advice=advise(coverage, viewers.limits) if viewers else [],
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
    regrouped: list[Change] = Field(description="the photos that it shared a group with, before and after")

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
        regrouped=_regrouped(a, b),
    )


def _regrouped(a: Manifest, b: Manifest) -> list[Change]:
    """Photos of both manifests whose group holds others of both than it did; group numbers mean nothing."""
    both = {photo.filename for photo in a.images} & {photo.filename for photo in b.images}
    before, after = (_partners(manifest, both) for manifest in (a, b))
    return [
        Change(filename=name, before=", ".join(before[name]), after=", ".join(after[name]))
        for name in sorted(both)
        if before[name] != after[name]
    ]


def _partners(manifest: Manifest, names: set[str]) -> dict[str, list[str]]:
    groups: dict[int, list[str]] = {}
    for photo in manifest.images:
        if photo.filename in names:
            groups.setdefault(photo.group, []).append(photo.filename)
    return {name: sorted(set(group) - {name}) for group in groups.values() for name in group}


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
    problems += _strangers(manifest, photos, captions)
    sides = {(photo.group, photo.split) for photo in manifest.images}
    split = sorted(group for group, count in Counter(group for group, _ in sides).items() if count > 1)
    return problems + [f"group {group}: photos of one moment on both sides of the split" for group in split]


def _strangers(manifest: Manifest, photos: Path, captions: Path) -> list[str]:
    """Photos and captions that the manifest does not know, and what in the folder cannot be read at all."""
    photo_files = {photo.filename for photo in manifest.images}
    caption_files = {photo.caption_file for photo in manifest.images}
    found = survey(photos) if photos.is_dir() else Listing([], [], [])  # all are reported as missing
    names = [name for path in found.pictures if (name := path.relative_to(photos).as_posix()) not in photo_files]
    texts = [path.relative_to(captions).as_posix() for path in sorted(captions.rglob("*.txt"))]
    new = [(photos / name) for name in names] + [captions / name for name in texts if name not in caption_files]
    return [f"{path.as_posix()}: not in the manifest" for path in new] + [str(problem) for problem in found.problems]


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
