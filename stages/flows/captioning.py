"""Caption photos: what was written by hand wins, and what an interrupted run was told is not asked for again."""

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from stages.backends.caption import caption_groups, captioner_of, open_captioner
from stages.contracts.captions import clean_text, find_caption, names_word, read_caption, write_caption
from stages.contracts.generation import Captioner
from stages.contracts.settings import Caption, Dataset, Machine
from stages.measures.captions import drop_fragments
from stages.runtime.errors import UserError
from stages.runtime.pictures import read_bytes, read_picture
from stages.runtime.progress import tell_resumed
from stages.runtime.provenance import describe_code, hash_json, hash_path
from stages.runtime.state import work_folder


def read_by_hand(photos: Sequence[Path]) -> dict[Path, str]:
    """The captions that lie beside photos as .txt files, by photo.

    Raises:
        UserError: when one of them is not UTF-8 text.
    """
    found = {photo: find_caption(photo) for photo in photos}
    return {photo: read_caption(path) for photo, path in found.items() if path is not None}


@contextmanager
def captioning(
    photos: Sequence[Path], caption: Caption, dataset: Dataset, machine: Machine
) -> Iterator[Iterator[tuple[Path, str]]]:
    """Every photo with its caption, ``caption.drop`` taken out; what the captioner said is kept until the block ends.

    Raises:
        UserError: when the captioner is not usable, a fragment to drop names the trigger, or a photo cannot be read.
    """
    refuse_trigger(caption.drop, dataset.trigger, "caption.drop")
    if not photos:
        yield iter(())
        return
    captioner = open_captioner(caption, dataset, machine)
    with work_folder(machine.state_dir, "caption", fingerprint(captioner, caption, dataset, machine)) as kept:
        said = ask(photos, captioner, caption.micro_batch, kept)
        yield ((photo, drop_fragments(text, caption.drop, dataset.trigger, dataset.class_word)) for photo, text in said)


def refuse_trigger(fragments: Sequence[str], trigger: str, where: str) -> None:
    """Refuse to drop what every caption needs.

    Raises:
        UserError: when a fragment names the trigger.
    """
    for fragment in fragments:
        if names_word(fragment, trigger):
            raise UserError(where, f"{fragment!r} names the trigger {trigger!r}, which stays", "leave the trigger out")


def fingerprint(captioner: Captioner, caption: Caption, dataset: Dataset, machine: Machine) -> str:
    """What unfinished captions belong to: settings, the model's bytes, the code, and the kind of machine."""
    settings = [caption.model_dump(mode="json", exclude={"drop"}), dataset.model_dump(mode="json")]
    model = hash_path(caption.model) if caption.model and caption.backend != "template" else ""
    return hash_json([settings, model, describe_code(captioner_of(captioner)), machine.device, machine.threads])


def ask(photos: Sequence[Path], captioner: Captioner, group: int, kept: Path) -> Iterator[tuple[Path, str]]:
    """Yield every photo with what the captioner says of it, reading ``group`` photos at a time.

    Each answer is written to ``kept`` under the photo's sha256 as it comes; a photo whose answer lies there already, or
    that is there twice, is not asked about again.

    Raises:
        UserError: when a photo cannot be read.
    """
    places = {photo: kept / f"{hashlib.sha256(read_bytes(photo)).hexdigest()}.txt" for photo in photos}
    left = {place: photo for photo, place in places.items() if not place.exists()}
    done = sum(place not in left for place in places.values())
    tell_resumed("caption", done, len(photos), "photo")
    answers = _answers(list(left.items()), captioner, group)
    for photo, place in places.items():
        if place in left and not place.exists():
            write_caption(place, next(answers))
        yield photo, read_caption(place)


def _answers(left: Sequence[tuple[Path, Path]], captioner: Captioner, group: int) -> Iterator[str]:
    groups = ([read_picture(photo) for _, photo in left[start : start + group]] for start in range(0, len(left), group))
    yield from (clean_text(text) for text in caption_groups(captioner, groups))
