"""Pictures small enough to live inside the page: WebP in data URIs, with fixed settings and a budget."""

import base64
import io
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from stages.runtime.pictures import read_picture
from stages.runtime.progress import track

SIDES = (256, 224, 192, 160, 128, 112, 96, 80, 64)  # px, of the longer side
QUALITY, EFFORT = 72, 4
PER_PICTURE, PER_PIXEL = 200, 0.25  # characters of a data URI: header, and what photos of faces come to


def choose_side(count: int, budget: int) -> int:
    """The largest side, px, at which ``count`` pictures are likely to fit into ``budget`` characters."""
    fits = (side for side in SIDES if count * (PER_PICTURE + PER_PIXEL * side * side) <= budget)
    return next(fits, SIDES[-1])


def make_thumbnail(pixels: np.ndarray, side: int) -> str:
    """A data URI of uint8 (H, W, 3) RGB, shrunk so that the longer side is at most ``side`` px; never enlarged."""
    image, stream = Image.fromarray(pixels), io.BytesIO()
    image.thumbnail((side, side), Image.Resampling.LANCZOS)
    image.save(stream, format="WEBP", quality=QUALITY, method=EFFORT)
    return "data:image/webp;base64," + base64.b64encode(stream.getvalue()).decode("ascii")


def fill_budget(
    places: Sequence[Path], budget: int, what: str = "compare, small pictures for the page"
) -> Iterator[tuple[Path, str]]:
    """Thumbnails of picture files, the most important first, until ``budget`` characters are spent.

    All are as large as the whole list is likely to fit; the budget is never exceeded.

    Args:
        places: of the pictures.
        budget: characters.
        what: is done, for who watches.

    Raises:
        UserError: when a file is not a picture.
    """
    side = choose_side(len(places), budget)
    for place in track(places, what, len(places)):
        uri = make_thumbnail(read_picture(place), side)
        budget -= len(uri)
        if budget < 0:
            return
        yield place, uri
