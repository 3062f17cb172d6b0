"""A headless Chromium without a network, for the tests of the report page and for the screenshots in docs/."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")


class NoChromium(Exception):
    """No browser here; says how to get one."""


@contextmanager
def open_chromium() -> Iterator[Any]:
    """Playwright's browser object: $CHROMIUM, one that is installed, or the one that playwright brought.

    Raises:
        NoChromium: when playwright or the browser is missing.
    """
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        raise NoChromium("playwright is not installed: pip install '.[dev]'") from None
    with sync_playwright() as driver:
        found = [os.environ.get("CHROMIUM"), *map(shutil.which, NAMES), driver.chromium.executable_path]
        path = next((one for one in found if one and Path(one).exists()), None)
        if path is None:
            raise NoChromium("no Chromium: apt-get install chromium, or set CHROMIUM to one")
        browser = driver.chromium.launch(executable_path=path, args=["--no-sandbox"])
        try:
            yield browser
        finally:
            browser.close()
