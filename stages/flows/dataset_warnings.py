"""What a careful reader would object to in a dataset: which files, what is wrong with them, and what to do."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from statistics import median

from stages.contracts.captions import names_word
from stages.contracts.manifest import Photo
from stages.contracts.settings import Dataset
from stages.measures.captions import find_fragments

SHARED_CAPTION = 0.2  # share of the photos that one caption may have
FEWEST_HOLDOUT = 10  # references below which likeness and skin measures are loose
MIXED_SIDES = 4  # largest over smallest short side
MIXED_ASPECTS = 2.5  # widest over tallest aspect ratio, each width / height
SMALLEST_FACE = 0.02  # share of the photo; of a square of 1024 px it is a face of 145 px
NAMED = 5  # file names in one warning


def list_warnings(
    images: Sequence[Photo],
    duplicates: Sequence[Sequence[str]],
    moments: Sequence[Sequence[str]],
    dataset: Dataset,
    orphans: Sequence[str],
) -> list[str]:
    """One sentence per objection, in a fixed order; an empty list for a dataset without any."""
    return [
        *_few_references(images),
        *_alike(images, duplicates, moments),
        *_sizes(images, dataset.smallest_side),
        *_blurred(images, dataset.blurred_below),
        *_faces(images),
        *_missing_captions(images, dataset.trigger, orphans),
        *_alike_captions(images, dataset.trigger, dataset.class_word),
    ]


def _name(files: Iterable[str]) -> str:
    names = list(files)
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more


def _warn(what: str, files: Sequence[str], todo: str) -> list[str]:
    return [f"{what} ({len(files)}): {_name(files)}; {todo}"] if files else []


def _few_references(images: Sequence[Photo]) -> list[str]:
    count = sum(photo.split == "holdout" for photo in images)
    if count >= FEWEST_HOLDOUT:
        return []
    return [
        f"few holdout photos ({count}): with fewer than {FEWEST_HOLDOUT} references, measures are loose; "
        "add photos or raise dataset.holdout_min"
    ]


def _alike(
    images: Sequence[Photo], duplicates: Sequence[Sequence[str]], moments: Sequence[Sequence[str]]
) -> Iterator[str]:
    digests = {photo.filename: photo.sha256 for photo in images}
    for names in duplicates:
        kind = "the same file" if len({digests[name] for name in names}) == 1 else "nearly the same picture"
        yield f"{len(names)} photos are {kind}: {_name(names)}; keep one of them"
    for names in moments:
        yield f"{len(names)} photos show one moment: {_name(names)}; keep the best, or add other moments"


def _sizes(images: Sequence[Photo], smallest: int) -> Iterator[str]:
    tiny = [photo.filename for photo in images if min(photo.width, photo.height) < smallest]
    yield from _warn(f"photos smaller than {smallest} px", tiny, "they are enlarged; use the originals")
    by_side = sorted(images, key=lambda photo: min(photo.width, photo.height))
    low, high = (min(photo.width, photo.height) for photo in (by_side[0], by_side[-1]))
    if high > MIXED_SIDES * low:
        ends = f"{by_side[0].filename}, {by_side[-1].filename}"
        yield f"sizes are mixed: short sides from {low} to {high} px ({ends}); use photos of like resolution"
    by_aspect = sorted(images, key=lambda photo: photo.width / photo.height)
    tall, wide = by_aspect[0], by_aspect[-1]
    if wide.width / wide.height > MIXED_ASPECTS * tall.width / tall.height:
        ends = f"{tall.filename} ({tall.width}x{tall.height}), {wide.filename} ({wide.width}x{wide.height})"
        yield f"aspect ratios are mixed: from {ends}; training cuts squares, so crop them round the face"


def _blurred(images: Sequence[Photo], below: float) -> list[str]:
    """Photos far less sharp than the others; what sharpness comes to depends on the face, so there is no number."""
    alike = [photo for photo in images if photo.faces != 0]  # of the others the whole photo was measured
    bar = below * median([photo.sharpness for photo in alike] or [0.0])
    blurred = [photo.filename for photo in alike if photo.sharpness < bar]
    return _warn(f"photos with under {below:g} of the median sharpness", blurred, "replace what is blurred")


def _faces(images: Sequence[Photo]) -> Iterator[str]:
    lost = [photo.filename for photo in images if photo.faces == 0]
    crowd = [photo.filename for photo in images if (photo.faces or 0) > 1]
    small = [photo.filename for photo in images if photo.face_share is not None and photo.face_share < SMALLEST_FACE]
    yield from _warn("photos without a face that the face pack finds", lost, "remove them, or crop to the face")
    yield from _warn("photos with several faces", crowd, "crop to the person, or the others are learnt too")
    yield from _warn(f"photos whose face is under {SMALLEST_FACE:.0%} of them", small, "crop to the person")


def _missing_captions(images: Sequence[Photo], trigger: str, orphans: Sequence[str]) -> Iterator[str]:
    bare = [photo.filename for photo in images if not photo.caption_file]
    captioned = [photo for photo in images if photo.caption_file]
    silent = [photo.filename for photo in captioned if not names_word(photo.caption_text, trigger)]
    empty = [photo.filename for photo in captioned if photo.caption_text.lower() in ("", trigger.lower())]
    yield from _warn("photos without a caption", bare, "run `dvc repro caption`")
    yield from _warn(f"captions that do not name the trigger {trigger!r}", silent, "put it first")
    yield from _warn("captions that say nothing beside the trigger", empty, "say what changes from photo to photo")
    yield from _warn("caption files of no photo", orphans, "rename them after their photos, or remove them")


def _alike_captions(images: Sequence[Photo], trigger: str, class_word: str) -> list[str]:
    captions = {photo.filename: photo.caption_text for photo in images if photo.caption_file}
    total = len(captions)
    large = []
    for text, count in Counter(captions.values()).most_common():
        if count > 1 and count > SHARED_CAPTION * total:
            names = _name(name for name, caption in captions.items() if caption == text)
            large.append(
                f"{count} of {total} captions are identical: {text!r} ({names}); say what changes from photo to photo"
            )
    if large:
        return large  # what identical captions have in common needs no second warning
    return [
        f"{f.fragment!r} stands in {f.count} of {total} captions: the trigger will not learn it; leave it out"
        for f in find_fragments(list(captions.values()), trigger, class_word)
    ]
