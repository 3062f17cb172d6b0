"""Look for what nearly every caption file of a folder says, and take it out."""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from stages.contracts.captions import find_caption, put_trigger_first, read_caption
from stages.contracts.settings import Dataset
from stages.flows.captioning import refuse_trigger
from stages.measures.captions import drop_fragments, find_fragments
from stages.runtime.errors import UserError
from stages.runtime.files import replacing
from stages.runtime.pictures import list_pictures


@dataclass(frozen=True)
class Edit:
    """One caption file, before and after."""

    file: Path
    before: str
    after: str


def read_captions(folder: Path) -> dict[Path, str]:
    """The captions of a folder by file: those beside its photos, or every .txt where there are no photos.

    Raises:
        UserError: when there is no such folder, no caption in it, or one is not UTF-8 text.
    """
    if not folder.is_dir():
        raise UserError(folder, "no such folder", "name one, or run `dvc repro caption`")
    try:
        files = {file for photo in list_pictures(folder) if (file := find_caption(photo))}
    except UserError:  # no photos: a folder of captions alone
        files = {file for file in folder.rglob("*.txt") if file.is_file() and not file.name.startswith(".")}
    if not files:
        raise UserError(folder, "holds no captions", "caption it: pistachio caption DIR")
    return {file: read_caption(file) for file in sorted(files)}


def plan_drop(
    captions: Mapping[Path, str], fragments: Sequence[str], dataset: Dataset, share: float | None = None
) -> tuple[list[str], list[Edit]]:
    """What goes, and what that changes; a caption that holds nothing of it stays as it is.

    Args:
        captions: texts by file.
        fragments: what is to go.
        dataset: trigger and class word.
        share: every finding of this share goes too, until none is left: taking one out may bring another about.

    Raises:
        UserError: when a fragment names the trigger.
    """
    trigger, gone = dataset.trigger, list(fragments)
    refuse_trigger(gone, trigger, "--drop")
    texts = [drop_fragments(text, gone, trigger, dataset.class_word) for text in captions.values()]
    while share is not None and (found := find_fragments(texts, trigger, dataset.class_word, share)):
        gone += [finding.fragment for finding in found]
        texts = [drop_fragments(text, gone, trigger, dataset.class_word) for text in texts]
    edits = (Edit(file, before, after) for (file, before), after in zip(captions.items(), texts, strict=True))
    return gone, [edit for edit in edits if edit.after != put_trigger_first(edit.before, trigger)]


def write_edits(edits: Sequence[Edit]) -> None:
    """Write every edit, or none when one cannot be written.

    Raises:
        UserError: when the disk is full or a folder cannot be written.
    """
    try:
        with ExitStack() as stack:  # all are written beside their places before the first is renamed
            for edit in edits:
                beside = stack.enter_context(replacing(edit.file))
                beside.write_text(edit.after, encoding="utf-8", newline="\n")
    except OSError as error:
        raise UserError(error.filename or "captions", f"cannot be written ({error.strerror})") from None
