"""The screenshots of the review page in docs/: make screenshots"""

import io
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from batches import make_batch
from chromium import open_chromium
from PIL import Image
from reviewing import Server, serve_review
from screenshots import AROUND, GAP, save

LARGEST = 200_000  # bytes of one file
READY = "#stage[aria-busy=false]"
WIDTH, HEIGHT = 390, 844


def open_tab(browser: Any, server: Server, width: int, height: int, scheme: str = "light") -> Any:
    phone = width < 800
    context = browser.new_context(
        viewport={"width": width, "height": height}, color_scheme=scheme, has_touch=phone, is_mobile=phone
    )
    tab = context.new_page()
    tab.goto(server.address)
    tab.wait_for_selector(f"{READY}, #panel .tiles")
    return tab


def photograph(tab: Any) -> Image.Image:
    tab.wait_for_load_state("networkidle")
    picture = Image.open(io.BytesIO(tab.screenshot())).convert("RGB")
    tab.context.close()
    return picture


def vote(server: Server, until: int) -> None:
    """Somebody with an eye of their own: stricter than the gate, and not quite sure."""
    items = server.get("items/state")["items"]
    for number, item in enumerate(items[:until]):
        if item["vote"] is None:
            scores = server.gate[item["id"]]
            doubt = 0.08 * ((number * 7) % 5 - 2) / 2
            server.vote(item["id"], "approve" if scores.similarity + doubt > 0.58 else "reject")


def phones(pictures: list[Image.Image]) -> Image.Image:
    """Side by side."""
    sheet = Image.new("RGB", (len(pictures) * (WIDTH + GAP) + GAP, HEIGHT + 2 * GAP), AROUND)
    for number, picture in enumerate(pictures):
        sheet.paste(picture, (GAP + number * (WIDTH + GAP), GAP))
    return sheet


def shoot_batch(browser: Any, folder: Path) -> tuple[Image.Image, list[Image.Image]]:
    """The page on a desk, and on a phone: a picture, its scores, the end."""
    make_batch(folder, 48, 320)
    with serve_review(folder) as server:
        vote(server, 17)
        desk = photograph(open_tab(browser, server, 1280, 900))
        small = [photograph(open_tab(browser, server, WIDTH, HEIGHT))]
        tab = open_tab(browser, server, WIDTH, HEIGHT, "dark")
        tab.tap("[data-do=scores]")
        tab.wait_for_selector("#gate .chip")
        small.append(photograph(tab))
    (folder / "votes.jsonl").unlink()
    with serve_review(folder) as server:
        vote(server, 48)
        small.append(photograph(open_tab(browser, server, WIDTH, HEIGHT)))
    return desk, small


def shoot_pair(browser: Any, folder: Path) -> Image.Image:
    """A blind pair on a phone."""
    make_batch(folder / "v3", 12, 256, version="v3", seed=1)
    make_batch(folder / "v2", 12, 256, version="v2", shift=-0.3, seed=1)
    with serve_review(folder / "v3", folder / "v2", seed=4) as server:
        return photograph(open_tab(browser, server, WIDTH, HEIGHT, "dark"))


def main(docs: Path) -> None:
    """Take both."""
    with TemporaryDirectory() as folder, open_chromium() as browser:
        desk, small = shoot_batch(browser, Path(folder) / "portraits")
        save(desk, docs / "review_1280.png", LARGEST)
        small.insert(2, shoot_pair(browser, Path(folder)))
        save(phones(small), docs / "review_390.png", LARGEST)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
