"""Who writes captions: BLIP-2, Florence-2, a template, or a class of the user's own."""

from stages.contracts.generation import Captioner
from stages.contracts.settings import Caption, Dataset, Machine


def open_captioner(caption: Caption, dataset: Dataset, machine: Machine) -> Captioner:
    """The captioner that ``caption.backend`` names; a class of the user's own is called with these three arguments.

    Raises:
        UserError: when its model folder, its template or the class is not usable.
    """
    match caption.backend:
        case "template":
            from stages.backends.caption.template import TemplateCaptioner

            return TemplateCaptioner(caption, dataset, machine)
        case "blip2":
            from stages.backends.caption.blip2 import Blip2Captioner

            return Blip2Captioner(caption, dataset, machine)
        case "florence2":
            from stages.backends.caption.florence2 import Florence2Captioner

            return Florence2Captioner(caption, dataset, machine)
        case door:
            from stages.backends.door import load_class

            captioner: Captioner = load_class("caption.backend", door)(caption, dataset, machine)
            return captioner
