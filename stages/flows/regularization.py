"""Class images for prior preservation (Ruiz et al. 2022, arXiv:2208.12242): drawn, copied or fetched."""

import shutil
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path

from PIL import Image

from stages.contracts.captions import (
    caption_names,
    clean_text,
    find_caption,
    names_word,
    photo_names,
    read_caption,
    write_caption,
)
from stages.contracts.generation import Generator, ImageRequest
from stages.contracts.regularization import ClassImage, write_index
from stages.contracts.settings import Regularize
from stages.flows.downloads import fetch_all, read_addresses
from stages.runtime.errors import UserError
from stages.runtime.files import replacing_folder
from stages.runtime.pictures import list_pictures, read_picture, write_png
from stages.runtime.progress import tell_resumed, track
from stages.runtime.provenance import hash_file
from stages.runtime.seeds import derive_seed

SUFFIX = {"JPEG": ".jpg", "PNG": ".png", "WEBP": ".webp", "BMP": ".bmp", "TIFF": ".tif"}


@dataclass(frozen=True)
class ClassPicture:
    """A picture that will be a class image: where it lies now, and what it will be called."""

    path: Path
    file: str
    caption: str


def deal_requests(settings: Regularize, class_word: str) -> list[ImageRequest]:
    """``count`` pictures to draw, dealt over the class prompts in turn.

    A picture's seed comes from its prompt and its number under that prompt: one prompt more leaves the others' alone.

    Raises:
        UserError: when the base model or the prompts are not set, or a prompt cannot be filled in.
    """
    if not settings.count:
        return []
    if settings.base is None:
        raise UserError("regularize.base", "not set", "the folder of the model that draws, or regularize.source=none")
    if not settings.prompts:
        raise UserError("regularize.prompts", "empty", "give class prompts, e.g. 'a photo of a {class_word}'")
    prompts = [_fill_in(prompt, class_word) for prompt in settings.prompts]
    used: Counter[str] = Counter()
    requests = []
    for _, prompt in zip(range(settings.count), cycle(prompts), strict=False):
        seed = derive_seed(settings.seed, "regularize", prompt, used[prompt])
        used[prompt] += 1
        requests.append(
            ImageRequest(
                prompt=prompt, seed=seed, base=settings.base, lora=None, guidance=settings.guidance,
                sampler=settings.sampler, steps=settings.steps, width=settings.resolution, height=settings.resolution,
            )
        )  # fmt: skip
    return requests


def _fill_in(prompt: str, class_word: str) -> str:
    try:
        return clean_text(prompt.format(class_word=class_word))
    except (KeyError, IndexError, ValueError, AttributeError) as error:
        what = f"{prompt!r} cannot be filled in ({type(error).__name__}: {error})"
        raise UserError(
            "regularize.prompts", what, "the placeholder is {class_word}; the trigger has no place here"
        ) from None


def draw_class_pictures(requests: Sequence[ImageRequest], generator: Generator, kept: Path) -> list[ClassPicture]:
    """Draw into ``kept`` what an interrupted run has not drawn there yet.

    Raises:
        UserError: when the generator does not have the sampler.
    """
    for sampler in sorted({request.sampler for request in requests} - generator.samplers):
        raise UserError(
            "regularize.sampler", f"{sampler!r} is not here", f"known: {', '.join(sorted(generator.samplers))}"
        )
    pictures = [
        ClassPicture(kept / f"{number:05d}.png", f"{number:05d}.png", request.prompt)
        for number, request in enumerate(requests)
    ]
    left = [(p, request) for p, request in zip(pictures, requests, strict=True) if not p.path.exists()]
    tell_resumed("regularize", len(pictures) - len(left), len(pictures))
    drawn = generator.generate([request for _, request in left])
    for (picture, _), pixels in zip(left, track(drawn, "regularize", len(left)), strict=True):
        write_png(picture.path, pixels)
    return pictures


def copy_class_pictures(folder: Path, class_word: str) -> list[ClassPicture]:
    """The pictures of a folder with the .txt captions beside them, or the class word where there is none.

    Raises:
        UserError: when there are none or one of them cannot be read.
    """
    paths = list_pictures(folder)
    pictures = []
    for path, name in zip(paths, photo_names(paths, folder), strict=True):
        read_picture(path)  # refused now, not hours later by the trainer
        caption = find_caption(path)
        pictures.append(ClassPicture(path, name, (read_caption(caption) if caption else "") or class_word))
    return pictures


def fetch_class_pictures(urls: Path, class_word: str, downloads: Path, workers: int) -> list[ClassPicture]:
    """The pictures of a list of lines ``sha256 url``, captioned with the class word; ``downloads`` keeps them.

    Raises:
        UserError: when the list is wrong, or a file cannot be fetched, is another one, or is no picture.
    """
    paths = fetch_all(read_addresses(urls), downloads, workers)
    return [ClassPicture(path, f"{path.name[:16]}{_suffix(path)}", class_word) for path in paths]


def _suffix(path: Path) -> str:
    read_picture(path)
    with Image.open(path) as image:
        kind = str(image.format)
    if kind not in SUFFIX:
        raise UserError(path, f"a picture of type {kind}", f"known types: {' '.join(SUFFIX)}")
    return SUFFIX[kind]


def refuse_trigger(captions: Iterable[str], trigger: str) -> None:
    """Refuse captions that would teach the trigger word with somebody else's face.

    Raises:
        UserError: when a caption names the trigger.
    """
    for caption in captions:
        if names_word(caption, trigger):
            raise UserError("regularize", f"the caption {caption!r} names the trigger {trigger!r}", "take it out")


def write_class_images(folder: Path, pictures: Sequence[ClassPicture]) -> None:
    """Copy the pictures to ``folder`` with one caption file each and the index, all or nothing."""
    captions = caption_names(picture.file for picture in pictures)
    with replacing_folder(folder) as beside:
        listed = []
        for picture in pictures:
            target = beside / picture.file
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(picture.path, target)
            write_caption(beside / captions[picture.file], picture.caption)
            listed.append(ClassImage(file=picture.file, caption=picture.caption, sha256=hash_file(target)))
        write_index(beside, listed)
