"""Caption any folder of photos, outside the pipeline: beside the photos, or into another folder."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from stages.contracts.captions import (
    caption_names,
    find_caption,
    photo_names,
    put_trigger_first,
    read_caption,
    write_caption,
)
from stages.contracts.paths import PARAMS
from stages.contracts.settings import Caption, Dataset, Machine, Section, parse, read_params
from stages.flows.captioning import captioning
from stages.runtime.errors import UserError
from stages.runtime.pictures import list_pictures


class _Said(Section):
    """The sections of params.yaml that are read, each of which may be absent."""

    dataset: Dataset | None = None
    caption: Caption = Caption()
    machine: Machine = Machine()


@dataclass(frozen=True)
class Chosen:
    """What a folder is captioned with."""

    caption: Caption
    dataset: Dataset
    machine: Machine


def choose_captioning(
    folder: Path, *, backend: str | None = None, model: Path | None = None, trigger: str | None = None,
    class_word: str | None = None, params: Path = PARAMS,
) -> Chosen:  # fmt: skip
    """Captioner and words: what is given here, else what params.yaml says, else the schema's default.

    Raises:
        UserError: when params.yaml is wrong, a value given here is, or nobody names the trigger or the class word.
    """
    said = read_params(_Said, params) if params.exists() else _Said()
    words = {"trigger": trigger, "class_word": class_word}
    dataset: dict[str, Any] = said.dataset.model_dump() if said.dataset else {"name": "folder"}
    dataset |= {"photos": folder.resolve()} | {key: word for key, word in words.items() if word is not None}
    missing = " and ".join(f"--{key.replace('_', '-')}" for key in words if key not in dataset)
    if missing:
        raise UserError(missing, "not given", "say what captions name, or start in a folder with params.yaml")
    caption = (
        said.caption.model_dump() | ({"backend": backend} if backend else {}) | ({"model": model} if model else {})
    )
    where = "command line"
    return Chosen(parse(Caption, caption, where), parse(Dataset, dataset, where), said.machine)


@dataclass(frozen=True)
class Place:
    """A photo, its caption file, and what is to be done: ask the captioner, copy the one beside the photo, nothing."""

    photo: Path
    file: Path
    todo: Literal["caption", "copy", "keep"]


def plan_captions(folder: Path, output: Path | None, *, overwrite: bool = False, recursive: bool = True) -> list[Place]:
    """What captioning ``folder`` will do, photo by photo; a caption that is there is kept unless ``overwrite``.

    Args:
        folder: the photos.
        output: where captions go, in the folder's own layout; None: beside the photos.
        overwrite: ask the captioner about every photo.
        recursive: photos in subfolders too.

    Raises:
        UserError: when there are no photos, or ``output`` is not a folder.
    """
    photos = list_pictures(folder, recursive=recursive)
    if output is not None and output.exists() and not output.is_dir():
        raise UserError(output, "is not a folder", "give --output a folder")
    names = photo_names(photos, folder)
    files = caption_names(names)
    pairs = list(zip(photos, (Path(files[name]) for name in names), strict=True))
    if output is None or output.resolve() == folder.resolve():
        return [_plan(photo, folder / file, overwrite) for photo, file in pairs]
    return [_plan_elsewhere(photo, output / file, overwrite) for photo, file in pairs]


def _plan(photo: Path, file: Path, overwrite: bool) -> Place:
    found = find_caption(photo)
    if found is None:
        return Place(photo, file, "caption")
    if not overwrite:
        return Place(photo, found, "keep")
    # a.jpg.txt is read before a.txt, so writing the other one would change nothing.
    return Place(photo, found if found.name == f"{photo.name}.txt" else file, "caption")


def _plan_elsewhere(photo: Path, file: Path, overwrite: bool) -> Place:
    if overwrite:
        return Place(photo, file, "caption")
    if file.exists():
        return Place(photo, file, "keep")
    return Place(photo, file, "caption" if find_caption(photo) is None else "copy")


def caption_folder(plan: list[Place], chosen: Chosen) -> Iterator[tuple[Path, str]]:
    """Do what is planned, each caption as it comes; yield every file that was written with its text.

    Raises:
        UserError: when the captioner is not usable, or a photo or caption cannot be read or written.
    """
    trigger = chosen.dataset.trigger
    for place in plan:
        found = find_caption(place.photo) if place.todo == "copy" else None
        if found is not None:
            yield place.file, _write(place.file, read_caption(found), trigger)
    files = {place.photo: place.file for place in plan if place.todo == "caption"}
    with captioning(list(files), chosen.caption, chosen.dataset, chosen.machine) as said:
        for photo, text in said:
            yield files[photo], _write(files[photo], text, trigger)


def _write(file: Path, text: str, trigger: str) -> str:
    caption = put_trigger_first(text, trigger)
    try:
        write_caption(file, caption)
    except OSError as error:
        raise UserError(file, f"cannot be written ({error.strerror})", "give --output another folder") from None
    return caption
