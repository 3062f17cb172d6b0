"""What captions have in common: the lint, and taking fragments out.

What stands in every caption is learnt as part of everything in the pictures, instead of the trigger.

A fragment is a whole phrase (between punctuation marks) or two and more words in a row, in lower case.  It never
reaches over punctuation, the trigger or the class word, and says more than function words do.
"""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count

from stages.contracts.captions import clean_text, names_word, put_trigger_first, word_pattern

COMMON = 0.8  # share of the captions from which on a fragment is a finding
WORD = re.compile(r"\w+(?:['’-]\w+)*")
MARKS = ",.;:!?"
BRACKETS = {"(": ")", "[": "]", "{": "}", '"': '"', "“": "”"}
FUNCTION_WORDS = frozenset(
    "a an the this that these those and or but of in on at to from with without by for as into over under "
    "is are was were be been being has have had it its he his him she her hers they their them there who which".split()
)

Words = tuple[str, ...]


@dataclass(frozen=True)
class Finding:
    """A fragment that too many captions hold."""

    fragment: str
    count: int  # captions that hold it
    share: float  # of all captions, 0..1


def _runs(text: str, kept: Sequence[str]) -> list[list[re.Match[str]]]:
    """The words of clean ``text`` in runs: between two runs stands punctuation, or a word in ``kept``."""
    spans = [match.span() for word in kept for match in word_pattern(word).finditer(text)]
    runs: list[list[re.Match[str]]] = [[]]
    last = 0
    for word in WORD.finditer(text):
        inside = any(start < word.end() and word.start() < end for start, end in spans)
        if inside or text[last : word.start()].strip():
            runs.append([])
        if not inside:
            runs[-1].append(word)
        last = word.end()
    return [run for run in runs if run]


def _lower(run: Sequence[re.Match[str]]) -> Words:
    return tuple(word[0].casefold() for word in run)


def _grams(run: Words, length: int) -> Iterator[Words]:
    return (run[start : start + length] for start in range(len(run) - length + 1))


def _holds(long: Words, short: Words) -> bool:
    return short in _grams(long, len(short))


def find_fragments(texts: Sequence[str], trigger: str, class_word: str, share: float = COMMON) -> list[Finding]:
    """The fragments that at least ``share`` (0..1) of the captions hold, and at least two, most frequent first.

    Of fragments that lie in one another, only the longest is listed.
    """
    captions = [[_lower(run) for run in _runs(clean_text(text), (trigger, class_word))] for text in texts]
    frequent: dict[Words, int] = {}
    for length in count(1):  # a frequent fragment is made of frequent shorter ones, so the first empty level is the end
        held = Counter(gram for runs in captions for gram in {g for run in runs for g in _grams(run, length)})
        level = {gram: n for gram, n in held.items() if n > 1 and n / len(captions) >= share}
        if not level:
            break
        frequent |= level
    phrases = {run for runs in captions for run in runs}
    said = [g for g in frequent if (len(g) > 1 or g in phrases) and not FUNCTION_WORDS.issuperset(g)]
    longest = [g for g in said if not any(len(other) > len(g) and _holds(other, g) for other in said)]
    ordered = sorted(longest, key=lambda gram: (-frequent[gram], gram))
    return [Finding(" ".join(g), frequent[g], frequent[g] / len(captions)) for g in ordered]


def drop_fragments(text: str, fragments: Sequence[str], trigger: str, class_word: str) -> str:
    """The caption without the fragments, in whatever case, the trigger in it; the trigger alone where no more is left.

    The trigger is never touched, the class word only by a fragment that names it.
    """
    text = clean_text(text)
    wanted = sorted({_words(fragment): fragment for fragment in fragments}.items(), key=lambda item: -len(item[0]))
    before = None
    while before != text:  # what is taken out may bring together what another fragment names
        before = text
        for words, fragment in wanted:
            kept = (trigger,) if names_word(fragment, class_word) else (trigger, class_word)
            text = _without(text, words, kept)
    return put_trigger_first(text, trigger)


def _words(fragment: str) -> Words:
    return tuple(word[0].casefold() for word in WORD.finditer(clean_text(fragment)))


def _without(text: str, words: Words, kept: Sequence[str]) -> str:
    place = _find(text, words, kept)
    while place:
        text = _cut(text, *place)
        place = _find(text, words, kept)
    return text


def _find(text: str, words: Words, kept: Sequence[str]) -> tuple[int, int] | None:
    for run in _runs(text, kept):
        for start, gram in enumerate(_grams(_lower(run), len(words))):
            if words and gram == words:
                return run[start].start(), run[start + len(words) - 1].end()
    return None


def _cut(text: str, start: int, end: int) -> str:
    """``text`` without [start, end) and without the punctuation that belonged to it."""
    left, right = text[:start].rstrip(), text[end:].lstrip()
    while left and right and BRACKETS.get(left[-1]) == right[0]:
        left, right = left[:-1].rstrip(), right[1:].lstrip()
    if not left:
        return right.lstrip(f"{MARKS} ")
    if not right:
        return left.rstrip(",;: ")
    if left[-1] in MARKS and right[0] in MARKS:
        if right[0] in ",;:":
            right = right.lstrip(f"{MARKS} ")
        else:
            left = left.rstrip(f"{MARKS} ")
    return f"{left}{right}" if right[:1] in MARKS else f"{left} {right}"
