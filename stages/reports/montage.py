"""A labelled grid of pictures."""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

PAPER, INK = (255, 255, 255), (20, 20, 20)
GAP = 4
FONT_PX = 15
LEAST_WIDTH = 800  # px: room for a label over a few pictures


def _tile(pixels: np.ndarray, side: int) -> Image.Image:
    """The picture fitted into a square; tiny pictures are enlarged without smoothing by whole factors first."""
    image = Image.fromarray(pixels)
    factor = side / max(image.size)
    way = Image.Resampling.BICUBIC if factor > 1 else Image.Resampling.LANCZOS
    image = image.resize((max(1, round(image.width * factor)), max(1, round(image.height * factor))), way)
    tile = Image.new("RGB", (side, side), PAPER)
    tile.paste(image, ((side - image.width) // 2, (side - image.height) // 2))
    return tile


def montage(rows: Sequence[Sequence[np.ndarray]], labels: Sequence[str], side: int = 160) -> np.ndarray:
    """Rows of pictures, each under its label: uint8 (H, W, 3) RGB.

    Args:
        rows: uint8 (h, w, 3) pictures of any size; rows may differ in length.
        labels: one line per row; what is too long for the row is cut with an ellipsis.
        side: of a picture's square, px.
    """
    font = ImageFont.load_default(size=FONT_PX)
    strip = FONT_PX + 8
    columns = max((len(row) for row in rows), default=1) or 1
    width = max(columns * (side + GAP) + GAP, LEAST_WIDTH)
    sheet = Image.new("RGB", (width, max(1, len(rows)) * (strip + side + GAP) + GAP), PAPER)
    pen = ImageDraw.Draw(sheet)
    for number, (row, label) in enumerate(zip(rows, labels, strict=True)):
        top = GAP + number * (strip + side + GAP)
        pen.text((GAP, top + 1), _fitting(label, font, width - 2 * GAP), fill=INK, font=font)
        for column, pixels in enumerate(row):
            sheet.paste(_tile(pixels, side), (GAP + column * (side + GAP), top + strip))
    return np.asarray(sheet)


def _fitting(label: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int) -> str:
    if font.getlength(label) <= width:
        return label
    while label and font.getlength(f"{label}...") > width:
        label = label[:-1]
    return f"{label}..."
