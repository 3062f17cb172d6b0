"""Ages under 18, in digits and in words of seven languages."""

import re

ADULT = 18
_WORDS = {
    "en": "one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
          "eighteen nineteen",
    "de": "ein zwei drei vier funf sechs sieben acht neun zehn elf zwolf dreizehn vierzehn funfzehn sechzehn siebzehn "
          "achtzehn neunzehn",
    "fr": "un deux trois quatre cinq six sept huit neuf dix onze douze treize quatorze quinze seize dix-sept dix-huit "
          "dix-neuf",
    "es": "uno dos tres cuatro cinco seis siete ocho nueve diez once doce trece catorce quince dieciseis diecisiete "
          "dieciocho diecinueve",
    "it": "uno due tre quattro cinque sei sette otto nove dieci undici dodici tredici quattordici quindici sedici "
          "diciassette diciotto diciannove",
    "pt": "um dois tres quatro cinco seis sete oito nove dez onze doze treze quatorze quinze dezesseis dezessete "
          "dezoito dezenove",
    "nl": "een twee drie vier vijf zes zeven acht negen tien elf twaalf dertien veertien vijftien zestien zeventien "
          "achttien negentien",
}  # fmt: skip
NUMBERS = {word: number for line in _WORDS.values() for number, word in enumerate(line.split(), 1)}
NUMBERS |= {
    "fuenf": 5,
    "zwoelf": 12,
    "fuenfzehn": 15,
    "catorze": 14,
    "dezasseis": 16,
    "dezassete": 17,
    "a": 1,
    "eine": 1,
}
TENS = frozenset(
    "twenty thirty forty fifty sixty seventy eighty ninety hundred vingt trente quarante cinquante soixante veinte "
    "treinta "
    "cuarenta y venti trenta quaranta vinte trinta quarenta cinquenta e und en".split()
)
_ORDINALS = "first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth thirteenth fourteenth " \
            "fifteenth sixteenth seventeenth".split()  # fmt: skip

_NAMES = "|".join(sorted((name for name in NUMBERS if len(name) > 1), key=len, reverse=True))
_N = rf"(?<![\w.,/:])(?<!\d[ -])(?P<n>\d{{1,3}}(?![\d.])|\d \d(?!\d)|\b(?:{_NAMES})\b)"
_SPACE = r"[\s\-_.]{0,3}"
_THINGS = (  # what may be as old as it likes
    r"(?!\W{0,3}(?:whisk(?:e)?y|scotch|wine|rum|port|brandy|cognac|bourbon|tequila|cheese|oak|tree|bonsai|car|truck|motor\w*|"
    r"bike|house|building|cottage|bridge|church|guitar|violin|piano|book|map|camera|jacket|coat|boots|jeans|dress|shirt|"
    r"sweater|laptop|computer|company|brand|tradition|dog|cat|horse|mare|pony|boat|ship|anniversary|photo|painting|recipe)s?\b)"
)
_YEARS = r"(?:years?|yrs?|yr|y|months?|mos?|weeks?|wks?|days?)"
_EN = [
    rf"{_N}{_SPACE}{_YEARS}{_SPACE}(?:old|olds|young|of{_SPACE}age){_THINGS}",
    rf"{_N}{_SPACE}(?:yo|y/o|y\.o|yos|yrs?|yr){_THINGS}(?![a-z])(?! (?:ago|of exp|later|in a|warranty|experience))",
    r"(?<!stone )(?<!golden )(?<!ice )(?<!space )\b(?:age|aged|ages|aging|agd)"
    rf"{_SPACE}(?:of|is|:|=|about|around|only|just)?{_SPACE}{_N}\b(?!\s?(?:%|x|cm|mm|px|km))",
    rf"\b(?:turn(?:s|ed|ing)|looks?(?: like| about| around)?|looking|barely|under|below|younger than|not yet|only|just)"
    rf"\s{_N}(?=\s*(?:$|[,.;!?)]|and\b|or\b|in\b|on\b|at\b|with\b|wear))",
    r"\b(?:she|he|they|who|woman|man|model|person)(?:'s|s)?\s?(?:is|was|are|being)?\s"
    rf"(?:only |just |about |now )?{_N}"
    r"(?=\s*(?:$|[,.;!?)]))",
]
_BARE = rf"(?:^|[,;(])\s*(?P<n>1[0-7]|{'|'.join(w for w, n in NUMBERS.items() if 10 <= n < ADULT)})\s*(?=$|[,;)])"
_OTHER = [
    rf"{_N}{_SPACE}(?:jahre?n?|jaar|jare?n?|jahrig|jaehrig|jarig)e?[nrs]?{_SPACE}(?:alt|jung|oud|jong)\b{_THINGS}",
    rf"{_N}{_SPACE}(?:jahrig|jaehrig|jarig)e?[nrs]?\b(?!\W(?:jubil|besteh|tradition|whisk))",
    rf"(?P<n>{_NAMES})(?:jahrig|jaehrig|jarig)e?[nrs]?\b",
    rf"\b(?:de|d'|di|of|agee?s? de|anda|com|con|tiene|tem|ha(?= \w+ anni)|aos|van|von|mit|met|(?<!y )a)\s?{_N}{_SPACE}"
    r"(?:ans|anos|años|annos|ani|anni|anninhos|anitos|jahren?|jaar|mois|meses|mesi|monaten?|maanden)\b"
    r"(?! d'experience| de experi| di esper)",
    rf"{_N}{_SPACE}(?:anos|años|anni|ans) (?:de edad|de idade|d'age|di eta)\b",
    rf"\bannee?s? {_N}\b",
]
_RANGE = re.compile(
    rf"{_N}\s?(?:-|to|and|or|/|bis|und|oder|a|y|o|et|ou|e|tot|en)\s?\d{{1,2}}\s?[\s-]?"
    rf"(?:{_YEARS}{_SPACE}old|yo\b|y/o|jahre alt|ans\b|anos\b|anni\b|jaar\b)"
)
_ORDINAL = re.compile(
    r"\b(?:(?P<d>\d{1,3})\s?(?:st|nd|rd|th)|(?P<w>" + "|".join(_ORDINALS) + r"))[\s-](?P<what>birthday|grader?s?)\b"
)
PATTERNS = [re.compile(pattern) for pattern in [*_EN, _BARE, *_OTHER]]


def find_age(text: str) -> str:
    """The first age under 18 in ``text``, which is in plain lower-case letters; empty when there is none."""
    for pattern in [*PATTERNS, _RANGE]:
        for found in pattern.finditer(text):
            if _number(found["n"]) < ADULT and not _is_part(text, found.start("n")):
                return found[0].strip(" ,;(")
    for found in _ORDINAL.finditer(text):
        number = int(found["d"]) if found["d"] else _ORDINALS.index(found["w"]) + 1
        if number < (ADULT if found["what"] == "birthday" else 13):
            return found[0]
    return ""


def _number(said: str) -> int:
    digits = said.replace(" ", "")
    return int(digits) if digits.isdigit() else NUMBERS[said]


def _is_part(text: str, start: int) -> bool:
    """Whether the number ends a larger one in words: twenty-four, trente-deux, treinta y dos."""
    before = re.findall(r"[a-z]+", text[:start])[-1:]
    tight = re.search(r"[a-z][\s-]$", text[:start]) is not None
    return bool(before) and tight and before[0] in TENS
