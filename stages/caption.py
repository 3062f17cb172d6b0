"""Caption every photo, the trigger word first.

A hand-written .txt beside a photo wins; only photos without one are shown to the captioner.

reads: ${dataset.photos}, ${caption.model}
writes: data/captions
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

from stages.backends.caption import open_captioner
from stages.contracts.captions import (
    caption_names,
    find_caption,
    photo_names,
    put_trigger_first,
    read_caption,
    write_caption,
)
from stages.contracts.generation import Captioner
from stages.contracts.paths import CAPTIONS
from stages.contracts.settings import Caption, Dataset, Section, read_machine, read_params
from stages.runtime.entry import run_stage
from stages.runtime.files import replacing_folder
from stages.runtime.pictures import list_pictures, read_picture
from stages.runtime.progress import track
from stages.runtime.provenance import require_unchanged, stamp_files


class Params(Section):
    """The sections of params.yaml that this stage depends on."""

    dataset: Dataset
    caption: Caption


def read_by_hand(photos: Sequence[Path]) -> dict[Path, str]:
    """The captions that lie beside photos as .txt files, by photo.

    Raises:
        UserError: when one of them is not UTF-8 text.
    """
    found = {photo: find_caption(photo) for photo in photos}
    return {photo: read_caption(path) for photo, path in found.items() if path is not None}


def caption_photos(photos: Sequence[Path], captioner: Captioner, group: int) -> Iterator[tuple[Path, str]]:
    """Yield every photo with its caption, reading ``group`` photos at a time, so that memory stays small."""
    for start in range(0, len(photos), group):
        paths = photos[start : start + group]
        yield from zip(paths, captioner.captions([read_picture(path) for path in paths]), strict=True)


def write_captions(folder: Path, names: Sequence[str], texts: Sequence[str], trigger: str) -> None:
    """Write one caption file per photo name into ``folder``, all or nothing."""
    files = caption_names(names)
    with replacing_folder(folder) as beside:
        for name, text in zip(names, texts, strict=True):
            write_caption(beside / files[name], put_trigger_first(text, trigger))


def main() -> None:
    params, machine = read_params(Params), read_machine()
    before = stamp_files(params.dataset.photos)
    photos = list_pictures(params.dataset.photos)
    names = photo_names(photos, params.dataset.photos)
    captions = read_by_hand(photos)
    left = [photo for photo in photos if photo not in captions]
    if left:
        captioner = open_captioner(params.caption, params.dataset, machine)
        said = caption_photos(left, captioner, params.caption.micro_batch)
        captions |= dict(track(said, "caption", len(left), "photo"))
    require_unchanged(params.dataset.photos, before)
    write_captions(CAPTIONS, names, [captions[photo] for photo in photos], params.dataset.trigger)


if __name__ == "__main__":
    run_stage(main)
