"""The same caption for every photo."""

from collections.abc import Iterator, Sequence

import numpy as np

from stages.contracts.captions import clean_text
from stages.contracts.settings import Caption, Dataset, Machine
from stages.runtime.errors import UserError


class TemplateCaptioner:
    """Fills ``caption.template`` in; where the template names {trigger}, the caption holds the trigger already."""

    def __init__(self, caption: Caption, dataset: Dataset, machine: Machine) -> None:
        """Fill the template in.

        Raises:
            UserError: when it has a placeholder other than {trigger} and {class_word}.
        """
        try:
            text = caption.template.format(trigger=dataset.trigger, class_word=dataset.class_word)
        except (KeyError, IndexError, ValueError, AttributeError) as error:
            what = f"{caption.template!r} cannot be filled in ({type(error).__name__}: {error})"
            raise UserError("caption.template", what, "its placeholders are {trigger} and {class_word}") from None
        self.text = clean_text(text)

    def captions(self, images: Sequence[np.ndarray]) -> Iterator[str]:
        """Yield the text once per picture."""
        for _ in images:
            yield self.text
