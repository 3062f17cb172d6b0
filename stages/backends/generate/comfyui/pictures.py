"""What comes back from a server: is it whole, and is it the picture that was asked for?"""

import io
import json
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError

from stages.contracts.workflows import Graph


class WrongPicture(Exception):
    """A file that is not the picture which was asked for."""


def read_drawn(data: bytes | None, graph: Graph) -> np.ndarray:
    """The picture in a file of SaveImage: uint8 (height, width, 3) RGB.

    Args:
        data: the file's bytes.
        graph: what was sent; SaveImage embeds it.

    Raises:
        WrongPicture: when it is not there, not whole, or was drawn from another graph.
    """
    if not data:
        raise WrongPicture("the server does not have the file")
    try:
        with Image.open(io.BytesIO(data)) as image:
            image.load()
            text: dict[str, Any] = dict(getattr(image, "text", {}) or {})
            pixels = np.asarray(image.convert("RGB"))
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError, EOFError) as error:
        raise WrongPicture(f"the file is not a whole picture ({error})") from None
    try:
        embedded = json.loads(text["prompt"])
    except KeyError:
        raise WrongPicture("the file does not say its graph (is the server run with --disable-metadata?)") from None
    except ValueError:
        raise WrongPicture("the graph in the file is not JSON") from None
    if embedded != graph:
        raise WrongPicture("the file was drawn from another graph")
    return pixels
