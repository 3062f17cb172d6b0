"""The screenshots in docs/, of metrics/report.html: make screenshots"""

import io
import sys
from pathlib import Path
from typing import Any

from chromium import open_chromium
from PIL import Image

LARGEST = 400_000  # bytes of one file
PHONE = (("verdict", "light"), ("comparison", "light"), ("sweep", "dark"), ("pictures", "dark"))
ROW = 475  # px, of the pictures' title and their first row; the rest would cost the file its colours
WIDTH, HEIGHT, GAP, AROUND = 390, 1700, 24, (214, 217, 224)


def shoot(browser: Any, page: Path, width: int, scheme: str) -> tuple[Image.Image, dict[str, int]]:
    """The whole page at one width, and where its sections begin, px."""
    context = browser.new_context(viewport={"width": width, "height": 900}, offline=True, color_scheme=scheme)
    tab = context.new_page()
    tab.goto(page.resolve().as_uri())
    tops = tab.evaluate(
        "Object.fromEntries([...document.querySelectorAll('header, section')].map((e) => [e.id, e.offsetTop]))"
    )
    picture = Image.open(io.BytesIO(tab.screenshot(full_page=True))).convert("RGB")
    context.close()
    return picture, tops


def phone(browser: Any, page: Path) -> Image.Image:
    """Four places of the page on a phone, side by side."""
    sheet = Image.new("RGB", (len(PHONE) * (WIDTH + GAP) + GAP, HEIGHT + 2 * GAP), AROUND)
    for number, (section, scheme) in enumerate(PHONE):
        picture, tops = shoot(browser, page, WIDTH, scheme)
        top = 0 if section == "verdict" else tops[section]
        sheet.paste(picture.crop((0, top, WIDTH, top + HEIGHT)), (GAP + number * (WIDTH + GAP), GAP))
    return sheet


def save(picture: Image.Image, path: Path, largest: int = LARGEST) -> None:
    """As PNG, with as many colours as fit into ``largest`` bytes."""
    for colours in (256, 192, 128, 96, 64, 48, 32):
        stream = io.BytesIO()
        few = picture.quantize(colours, method=Image.Quantize.MEDIANCUT, kmeans=2, dither=Image.Dither.NONE)
        few.save(stream, "PNG", optimize=True)
        if len(stream.getvalue()) <= largest:
            break
    path.write_bytes(stream.getvalue())
    print(f"{path}: {picture.width} x {picture.height}, {colours} colours, {len(stream.getvalue())} bytes")


def main(page: Path, folder: Path) -> None:
    """Take both."""
    with open_chromium() as browser:
        picture, tops = shoot(browser, page, 1280, "light")
        save(picture.crop((0, 0, 1280, tops["pictures"] + ROW)), folder / "report_1280.png")
        save(phone(browser, page), folder / "report_390.png")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:3]))
