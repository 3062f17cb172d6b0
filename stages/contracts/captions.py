"""data/captions/: one .txt per photo, how it is named and what stands in it."""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from stages.runtime.errors import UserError
from stages.runtime.files import write_text


def photo_names(photos: Iterable[Path], folder: Path) -> list[str]:
    """Names relative to the photo folder, with forward slashes, in the order of ``photos``.

    Raises:
        UserError: when a name is not text (bytes that are not UTF-8 cannot stand in JSON).
    """
    names = [photo.relative_to(folder).as_posix() for photo in photos]
    for name in names:
        try:
            name.encode("utf-8")
        except UnicodeEncodeError:
            raise UserError(folder / name, "the file name is not UTF-8", "rename the file") from None
    return names


def caption_names(photos: Iterable[str]) -> dict[str, str]:
    """The caption file of every photo: ``a b/c.jpg`` has ``a b/c.txt``.

    Photos that differ only in suffix (``c.jpg``, ``c.png``) keep theirs: ``c.jpg.txt``, ``c.png.txt``.
    """
    names = {photo: PurePosixPath(photo).with_suffix(".txt").as_posix() for photo in photos}
    while shared := {name for name, count in Counter(names.values()).items() if count > 1}:
        # More than one round only when a long name meets a short one: c.jpg, c.png and c.jpg.webp.
        names = {photo: f"{photo}.txt" if name in shared else name for photo, name in names.items()}
    return names


def clean_text(text: str) -> str:
    """``text`` on one line, single blanks, nothing around it; an accent is one character with its letter (NFC)."""
    return " ".join(unicodedata.normalize("NFC", text).split())


def word_pattern(word: str) -> re.Pattern[str]:
    """Finds ``word`` in clean text as a word of its own, in whatever case: SDXL's tokenizers know no capitals."""
    return re.compile(rf"(?<!\w){re.escape(clean_text(word))}(?!\w)", re.IGNORECASE)


def names_word(text: str, word: str) -> bool:
    """Whether ``word`` stands in ``text`` as a word of its own, in whatever case."""
    return word_pattern(word).search(clean_text(text)) is not None


def put_trigger_first(text: str, trigger: str) -> str:
    """``<trigger>, <text>`` unless the text names the trigger already; the trigger alone where there is no text."""
    text, trigger = clean_text(text), clean_text(trigger)
    if names_word(text, trigger):
        return text
    return f"{trigger}, {text}" if text else trigger


def read_caption(path: Path) -> str:
    """A caption file's text on one line.

    Raises:
        UserError: when it is not UTF-8 text.
    """
    try:
        return clean_text(path.read_text(encoding="utf-8-sig"))
    except UnicodeDecodeError:
        raise UserError(path, "not UTF-8 text", "save it as UTF-8") from None


def write_caption(path: Path, text: str) -> None:
    """Write a caption; the file holds the text and nothing else, so both have the same sha256."""
    write_text(path, text)


def find_caption(photo: Path) -> Path | None:
    """The hand-written caption beside a photo: ``<name>.jpg.txt``, else ``<name>.txt``, else None."""
    beside = (photo.with_name(f"{photo.name}.txt"), photo.with_suffix(".txt"))
    return next((path for path in beside if path.is_file()), None)
