"""Caption every photo, the trigger word first.

A hand-written .txt beside a photo wins; only photos without one are shown to the captioner.

reads: ${dataset.photos}, ${caption.model}
writes: data/captions
"""

from collections.abc import Sequence
from pathlib import Path

from stages.contracts.captions import caption_names, photo_names, put_trigger_first, write_caption
from stages.contracts.paths import CAPTIONS
from stages.contracts.settings import Caption, Dataset, Section, read_machine, read_params
from stages.flows.captioning import captioning, read_by_hand
from stages.runtime.entry import run_stage
from stages.runtime.files import replacing_folder
from stages.runtime.pictures import list_pictures
from stages.runtime.progress import track
from stages.runtime.provenance import require_unchanged, stamp_files


class Params(Section):
    """The sections of params.yaml that this stage depends on."""

    dataset: Dataset
    caption: Caption


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
    with captioning(left, params.caption, params.dataset, machine) as said:
        captions |= dict(track(said, "caption", len(left), "photo"))
    require_unchanged(params.dataset.photos, before)
    write_captions(CAPTIONS, names, [captions[photo] for photo in photos], params.dataset.trigger)


if __name__ == "__main__":
    run_stage(main)
