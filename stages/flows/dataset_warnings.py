"""What a careful reader would object to in a dataset."""

from collections import Counter
from collections.abc import Iterable, Sequence

from stages.contracts.captions import names_word
from stages.contracts.manifest import Photo
from stages.measures.captions import find_fragments

SHARED_CAPTION = 0.2  # share of the photos that one caption may have
SMALLEST_SIDE = 64  # px; the training resolution is not known here
FEWEST_HOLDOUT = 10  # references below which likeness and skin measures are loose
MIXED_SIDES = 4  # largest over smallest short side
NAMED = 5  # file names in one warning


def list_warnings(
    images: Sequence[Photo], duplicates: Sequence[Sequence[str]], trigger: str, class_word: str, orphans: Sequence[str]
) -> list[str]:
    """One sentence per objection, in a fixed order; an empty list for a dataset without any."""
    return [
        *_few_references(images),
        *_duplicates(images, duplicates),
        *_sizes(images),
        *_missing_captions(images, trigger, orphans),
        *_alike_captions(images, trigger, class_word),
    ]


def _name(files: Iterable[str]) -> str:
    names = list(files)
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more


def _few_references(images: Sequence[Photo]) -> list[str]:
    count = sum(photo.split == "holdout" for photo in images)
    if count >= FEWEST_HOLDOUT:
        return []
    return [f"few holdout photos ({count}): with fewer than {FEWEST_HOLDOUT} references, measures are loose"]


def _duplicates(images: Sequence[Photo], duplicates: Sequence[Sequence[str]]) -> list[str]:
    digests = {photo.filename: photo.sha256 for photo in images}
    warnings = []
    for names in duplicates:
        kind = "the same file" if len({digests[name] for name in names}) == 1 else "nearly the same picture"
        warnings.append(f"{len(names)} photos are {kind}: {_name(names)}")
    return warnings


def _sizes(images: Sequence[Photo]) -> list[str]:
    warnings = []
    tiny = [photo.filename for photo in images if min(photo.width, photo.height) < SMALLEST_SIDE]
    if tiny:
        warnings.append(f"photos smaller than {SMALLEST_SIDE} px ({len(tiny)}): {_name(tiny)}")
    sides = [min(photo.width, photo.height) for photo in images]
    if max(sides) > MIXED_SIDES * min(sides):
        warnings.append(f"sizes are mixed: short sides from {min(sides)} to {max(sides)} px")
    return warnings


def _missing_captions(images: Sequence[Photo], trigger: str, orphans: Sequence[str]) -> list[str]:
    bare = [photo.filename for photo in images if not photo.caption_file]
    captioned = [photo for photo in images if photo.caption_file]
    silent = [photo.filename for photo in captioned if not names_word(photo.caption_text, trigger)]
    empty = [photo.filename for photo in captioned if photo.caption_text.lower() in ("", trigger.lower())]
    found = (
        (bare, "photos without a caption"),
        (silent, f"captions that do not name the trigger {trigger!r}"),
        (empty, "captions that say nothing beside the trigger"),
        (orphans, "caption files of no photo"),
    )
    return [f"{what} ({len(files)}): {_name(files)}" for files, what in found if files]


def _alike_captions(images: Sequence[Photo], trigger: str, class_word: str) -> list[str]:
    captions = [photo.caption_text for photo in images if photo.caption_file]
    shared = [(text, count) for text, count in Counter(captions).most_common() if count > 1]
    large = [f"{count} of {len(captions)} captions are identical: {text!r}"
             for text, count in shared if count > SHARED_CAPTION * len(captions)]  # fmt: skip
    if large:
        return large  # what identical captions have in common needs no second warning
    return [
        f"{f.fragment!r} stands in {f.count} of {len(captions)} captions: the trigger will not learn it"
        for f in find_fragments(captions, trigger, class_word)
    ]
