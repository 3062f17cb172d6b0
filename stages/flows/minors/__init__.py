"""Does a prompt ask for a picture of a minor?  This rule is code and no setting: nobody can switch it off.

It reads words, ages and how both are hidden; it understands no sentences.  A word that means minors to most people who
write it in a prompt is refused ("a girl": say woman); everyday phrases that hold one are let through ("baby blue").
How often it is right stands in tests/data/prompts.csv.
"""

from collections.abc import Iterator

from stages.flows.minors.ages import find_age
from stages.flows.minors.readings import Reading, read
from stages.flows.minors.words import ALIEN, HARMLESS, PHRASES, SOLID, TERMS


def find_minor(text: str) -> str:
    """The first piece of ``text`` that speaks of a minor, as it was understood; empty when none does."""
    reading = read(text)
    return next(_findings(reading), "")


def _findings(reading: Reading) -> Iterator[str]:
    yield from (piece for piece in ALIEN if piece in reading.marked)
    for text in reading.texts:
        plain = HARMLESS.sub(" ", text)
        yield from (found[0].strip() for pattern in (TERMS, PHRASES) if (found := pattern.search(plain)))
        if age := find_age(text):
            yield age
    # Letters that somebody took apart: c h i l d, chi-ld, t.e.e.n
    for joined in reading.joined:
        if found := SOLID.search(joined):
            yield found[0]
    yield from (whole for whole in reading.chunks if SOLID.fullmatch(whole))
    yield from (whole for whole in reading.pairs if whole != "minor" and SOLID.fullmatch(whole))  # 20 min or more
