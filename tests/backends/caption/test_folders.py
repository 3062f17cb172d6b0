"""Pictures are shown to a captioning model in groups of one size, whichever model it is."""

from collections.abc import Sequence

import numpy as np
from PIL import Image

from stages.backends.caption.folders import in_batches


def test_a_model_is_always_shown_as_many_pictures_the_last_one_again_where_they_run_out() -> None:
    shown: list[list[int]] = []

    def ask(pictures: Sequence[Image.Image]) -> list[str]:
        shown.append([picture.width for picture in pictures])
        return [f" a picture\n{picture.width} px wide " for picture in pictures]

    images = [np.zeros((8, width, 3), np.uint8) for width in (11, 12, 13, 14)]
    assert list(in_batches(images, 3, ask)) == [f"a picture {width} px wide" for width in (11, 12, 13, 14)]
    assert shown == [[11, 12, 13], [14, 14, 14]]
