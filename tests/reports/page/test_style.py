"""The style sheet: text can be read in the light and in the dark."""

import re

import pytest

from stages.reports.page.assemble import HERE

STYLE = (HERE / "page.css").read_text()
LIGHT, DARK = (dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", block)) for block in STYLE.split("@media")[:2])
PAIRS = [
    ("ink", "paper"), ("muted", "paper"), ("muted", "wash"), ("ink", "open-wash"), ("good", "good-wash"),
    ("bad", "bad-wash"), ("open", "open-wash"), ("same", "same-wash"), ("ink", "low"), ("ink", "high"),
]  # fmt: skip


def luminance(colour: str) -> float:
    """WCAG 2.2, relative luminance."""
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("colours", [LIGHT, DARK], ids=["light", "dark"])
@pytest.mark.parametrize(("text", "ground"), PAIRS)
def test_text_has_the_contrast_that_wcag_asks_for(text: str, ground: str, colours: dict[str, str]) -> None:
    bright, dim = sorted((luminance(colours[text]), luminance(colours[ground])), reverse=True)
    assert (bright + 0.05) / (dim + 0.05) >= 4.5


def test_both_themes_name_the_same_colours() -> None:
    assert LIGHT.keys() == DARK.keys()
    used = set(re.findall(r"var\(--([\w-]+)\)", STYLE)) - {"heat"}
    assert used <= LIGHT.keys()
