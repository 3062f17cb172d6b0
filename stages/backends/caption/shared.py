"""Captions by the workers of a Ray cluster, each with the model; they say what the model says in one process."""

from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np

from stages.backends.caption import captioner_class, open_captioner_here
from stages.backends.crew import as_worker, open_crew
from stages.backends.crew.task import Item, Task, hash_files
from stages.contracts.settings import Caption, Dataset, Machine
from stages.runtime.errors import UserError
from stages.runtime.provenance import describe_code


class SharedCaptioner:
    """See contracts.generation.Captioner; the model is opened on the workers alone."""

    def __init__(self, caption: Caption, dataset: Dataset, machine: Machine) -> None:
        """Look whether class and model are there.

        Raises:
            UserError: when they are not.
        """
        if caption.model is not None and not caption.model.is_dir():
            raise UserError(caption.model, "no such folder", "set caption.model to the folder of the captioning model")
        self.kind = captioner_class(caption)
        self.caption, self.machine = caption, machine
        arguments = (caption, dataset, as_worker(machine), describe_code(self.kind))
        self.task = Task("captioning", open_captioning, arguments)

    def captions(self, images: Sequence[np.ndarray]) -> Iterator[str]:
        """Yield one caption per uint8 (H, W, 3) RGB picture."""
        size = self.caption.micro_batch
        return self.caption_groups(list(images[start : start + size]) for start in range(0, len(images), size))

    def caption_groups(self, groups: Iterable[list[np.ndarray]]) -> Iterator[str]:
        """The same of many groups, which are read somewhat ahead.

        Raises:
            UserError: what a worker says.
        """
        paths = {self.caption.model} if self.caption.model is not None else set()
        items = (Item(group, hash_files(paths)) for group in groups)
        for said in open_crew(self.machine).do(self.task, items):
            yield from said


def open_captioning(
    caption: Caption, dataset: Dataset, machine: Machine, code: str
) -> Callable[[list[np.ndarray]], list[str]]:
    """On a worker: what captions a group.

    Raises:
        UserError: when the backend is a class of the user's own, and its file another one than ``code`` says.
    """
    captioner = open_captioner_here(caption, dataset, machine)
    if describe_code(type(captioner)) != code:
        raise UserError("caption.backend", "is another class on a worker than here", "bring the same file there")

    def say(images: list[np.ndarray]) -> list[str]:
        return [text for text, _ in zip(captioner.captions(images), images, strict=True)]

    return say
