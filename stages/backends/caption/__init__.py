"""Who writes captions: BLIP-2, Florence-2, a template, or a class of the user's own; here or on workers."""

from collections.abc import Iterable, Iterator

import numpy as np

from stages.contracts.generation import Captioner
from stages.contracts.settings import Caption, Dataset, Machine


def open_captioner(caption: Caption, dataset: Dataset, machine: Machine) -> Captioner:
    """The captioner that ``caption.backend`` names; with ``machine.ray_address`` one whose workers hold the model.

    A class of the user's own is called with these three arguments.

    Raises:
        UserError: when its model folder, its template or the class is not usable.
    """
    if machine.ray_address is not None and caption.backend != "template":
        from stages.backends.caption.shared import SharedCaptioner

        return SharedCaptioner(caption, dataset, machine)
    return open_captioner_here(caption, dataset, machine)


def captioner_of(captioner: Captioner) -> type:
    """The class that captions, wherever it does: what a caption depends on."""
    from stages.backends.caption.shared import SharedCaptioner

    return captioner.kind if isinstance(captioner, SharedCaptioner) else type(captioner)


def caption_groups(captioner: Captioner, groups: Iterable[list[np.ndarray]]) -> Iterator[str]:
    """One caption per uint8 (H, W, 3) RGB picture, in order; workers are given several groups at once.

    Raises:
        ValueError: when the captioner says more or less than one thing per picture.
    """
    from stages.backends.caption.shared import SharedCaptioner

    if isinstance(captioner, SharedCaptioner):
        yield from captioner.caption_groups(groups)
        return
    for group in groups:
        yield from (text for text, _ in zip(captioner.captions(group), group, strict=True))


def captioner_class(caption: Caption) -> type:
    """The class that ``caption.backend`` names.

    Raises:
        UserError: when it is one of the user's own, and not usable.
    """
    match caption.backend:
        case "template":
            from stages.backends.caption.template import TemplateCaptioner

            return TemplateCaptioner
        case "blip2":
            from stages.backends.caption.blip2 import Blip2Captioner

            return Blip2Captioner
        case "florence2":
            from stages.backends.caption.florence2 import Florence2Captioner

            return Florence2Captioner
        case door:
            from stages.backends.door import load_class

            kind: type = load_class("caption.backend", door)
            return kind


def open_captioner_here(caption: Caption, dataset: Dataset, machine: Machine) -> Captioner:
    """The captioner, in this process.

    Raises:
        UserError: as ``open_captioner``.
    """
    captioner: Captioner = captioner_class(caption)(caption, dataset, machine)
    return captioner
