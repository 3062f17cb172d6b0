"""A text as a reader sees it, whatever its characters are: the readings in which words are looked for."""

import re
import unicodedata
from dataclasses import dataclass
from itertools import pairwise

# Letters of other alphabets that look like Latin ones, and Latin letters that have no marks to be stripped of.
_PAIRS = (
    "аa бb вb гr дd еe ёe зe іi їi јj кk ӏl мm нh оo рp сc ԁd тt уy ѵv хx һh ԛq ԝw ѕs ьb "
    "αa βb γy εe ηn ιi κk νv οo πn ρp τt υu χx ωw ϲc "
    "øo łl đd ðd þp ıi ɡg ɩi ɑa ɪi ʟl ɴn ʀr ɢg ʙb ʜh ɨi ʏy ꜱs ᴀa ᴄc ᴅd ᴇe ᴊj ᴋk ᴍm ᴏo ᴘp ᴛt ᴜu ᴠv ᴡw ᴢz"
)
LOOKALIKES = {ord(pair[0]): pair[1] for pair in _PAIRS.split()}
SQUARED = {0x1F130: 26, 0x1F150: 26, 0x1F170: 26, 0x1F1E6: 26}  # 🄰 🅐 🅰 🇦: what NFKC leaves as it is
FACES = {"👶": " baby ", "🍼": " baby ", "🧒": " child ", "👦": " boy ", "👧": " girl ", "🚸": " children "}
LEET = str.maketrans({"0": "o", "3": "e", "4": "a", "5": "s", "7": "t", "8": "b", "9": "g", "@": "a", "$": "s",
                      "€": "e", "£": "l", "+": "t", "(": "c"})  # fmt: skip
ONE = "1!|¡"  # stands for i and for l
_WORD = re.compile(r"[a-z0-9@$€£+!|¡(]+")
_SPELT = re.compile(r"(?<![a-z0-9@$!])(?:[a-z0-9@$!|][^a-z0-9@$!|,]{1,3}){2,}[a-z0-9@$!|](?![a-z0-9@$!])")
_CHUNK = re.compile(r"(?<![a-z@$€!|0-9])[a-z@$€!|0-9]+(?:[.\-_*·•~/\\+=:]+[a-z@$€!|0-9]+)+")


@dataclass(frozen=True)
class Reading:
    """What one text may say."""

    marked: str  # in its own letters: case, widths and hidden characters apart
    texts: tuple[str, ...]  # in plain Latin letters; as written, with marks in words, and with digits for letters
    joined: tuple[str, ...]  # letters that stood apart, without what stood between them
    chunks: tuple[str, ...]  # words with punctuation inside, without it
    pairs: tuple[str, ...]  # every word with the one behind it, as one


def read(text: str) -> Reading:
    """Every reading of ``text``."""
    marked = _uncover(text)
    plain = _strip_marks(marked).translate(LOOKALIKES)
    leet = [_unleet(plain, one) for one in "il"]
    texts = tuple(dict.fromkeys([plain, marked, *leet]))
    joined = [re.sub(r"[^a-z0-9@$!|]", "", run[0]) for run in _SPELT.finditer(plain)]
    joined += [_unleet(run, one) for run in joined for one in "il"]
    return Reading(marked, texts, tuple(joined), *_chunks([plain, *leet]))


def _uncover(text: str) -> str:
    """NFKC, one case, no hidden characters, and pictures of words as words."""
    for face, word in FACES.items():
        text = text.replace(face, word)
    text = "".join(_unsquare(c) for c in text)
    text = unicodedata.normalize("NFKC", text).casefold()
    text = "".join(c for c in text if unicodedata.category(c) not in ("Cf", "Cc", "Co", "Cn") or c in "\n\t")
    return unicodedata.normalize("NFC", text.replace("’", "'").replace("‐", "-").replace("–", "-"))


def _unsquare(character: str) -> str:
    code = ord(character)
    start = next((start for start, count in SQUARED.items() if start <= code < start + count), None)
    return character if start is None else chr(ord("a") + code - start)


def _strip_marks(text: str) -> str:
    return "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c))


def _unleet(text: str, one: str) -> str:
    """Digits and signs read as letters, in words that have a letter or a sign already; 1 is i or l."""
    table = LEET | {ord(sign): one for sign in ONE}

    def translate(word: re.Match[str]) -> str:
        return word[0].translate(table) if re.search(r"[a-z@$€£]", word[0]) else word[0]

    return _WORD.sub(translate, text)


def _chunks(texts: list[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """``chi-ld``, and apart from those ``chi ld``, as one word each."""
    chunks, pairs = [], []
    for text in texts:
        chunks += [re.sub(r"[^a-z0-9]", "", chunk[0]) for chunk in _CHUNK.finditer(text)]
        words = re.findall(r"[a-z0-9]+", text)
        pairs += [a + b for a, b in pairwise(words)]
    return tuple(dict.fromkeys(chunks)), tuple(dict.fromkeys(pairs))
