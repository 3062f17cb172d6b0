"""The pictures of the page: pairs of two versions, and every picture with its scores, the worst first."""

from collections.abc import Sequence
from dataclasses import dataclass

from stages.contracts.scorecard import Scorecard
from stages.reports.page.content import Content, Pair, Row
from stages.reports.page.views import LONGEST
from stages.reports.page.words import cut, name_of, show_number

MOST = 240  # pictures on the page
SHOWN = 4  # pairs that lost most and pairs that gained most, before the others
PLACE = frozenset({"set", "prompt_index", "prompt", "seed", "file"})
ORDERS = (
    ("similarity", "least alike first, face pack"), ("second", "least alike first, second judge"),
    ("apart", "judges furthest apart first"), ("adherence", "least like the prompt first"),
    ("closeness", "closest to a training photo first"), ("place", "prompt and seed"),
)  # fmt: skip
BESIDE = (("lora", "LoRA"), ("base", "base model"), ("class", "without the trigger"))


@dataclass(frozen=True)
class Card:
    """One picture of the version with its neighbours and scores."""

    number: int  # 1 is the worst
    prompt: str
    seed: int
    similarity: float
    second: float
    adherence: float
    closeness: float | None  # to the training photos
    place: int  # in the order of prompts and seeds
    pictures: Sequence[tuple[str, str]]  # caption, data URI ("" where there is none)
    scores: Sequence[tuple[str, str]]  # every column of the table


@dataclass(frozen=True)
class PairCard:
    """One prompt and seed under both versions."""

    prompt: str
    seed: int
    before: str
    after: str
    before_score: str
    after_score: str
    change: str


def judged_by(card: Scorecard) -> str:
    """The column of the judge that decides."""
    return "second_similarity" if card.gating_judge == "second" else "similarity"


def cards(content: Content) -> list[Card]:
    """The version's pictures by the similarity of the judge that decides, the worst first; at most ``MOST``."""
    ours = [row for row in content.scores if row["set"] == "lora"]
    places = {id(row): i for i, row in enumerate(sorted(ours, key=lambda row: (row["prompt_index"], row["seed"])))}
    files = {(row["set"], row["prompt_index"], row["seed"]): row["file"] for row in content.scores}
    worst_first = sorted(ours, key=lambda row: (row[judged_by(content.card)], row["file"]))
    return [_card(i + 1, row, places[id(row)], files, content) for i, row in enumerate(worst_first[:MOST])]


def _card(number: int, row: Row, place: int, files: dict[tuple[str, float, float], str], content: Content) -> Card:
    beside = [
        (caption, content.pictures.get(files.get((name, row["prompt_index"], row["seed"]), ""), ""))
        for name, caption in BESIDE
    ]
    shown = [(caption, uri) for caption, uri in beside if uri]
    scores = [
        (name_of(column), show_number(column, value) if isinstance(value, float) else cut(str(value), LONGEST))
        for column, value in row.items()
        if column not in PLACE and value is not None
    ]
    return Card(
        number, cut(str(row["prompt"]), LONGEST), int(row["seed"]), row["similarity"], row["second_similarity"],
        row["adherence"], row["closeness"], place, shown, scores,
    )  # fmt: skip


def pair_cards(pairs: Sequence[Pair]) -> tuple[list[PairCard], list[PairCard], list[PairCard]]:
    """The pairs that lost most, those that gained most, and the others, from loss to gain."""
    ordered = sorted(pairs, key=lambda pair: (_change(pair), pair.after["file"]))
    made = [_pair_card(pair) for pair in ordered]
    if len(made) <= 2 * SHOWN:
        worse = sum(_change(pair) < 0 for pair in ordered)
        return made[:worse], made[worse:][::-1], []
    return made[:SHOWN], made[-SHOWN:][::-1], made[SHOWN:-SHOWN]


def _change(pair: Pair) -> float:
    return float(pair.after["similarity"] - pair.before["similarity"])


def _pair_card(pair: Pair) -> PairCard:
    before, after = (show_number("similarity", row["similarity"]) for row in (pair.before, pair.after))
    return PairCard(
        cut(str(pair.after["prompt"]), LONGEST), int(pair.after["seed"]), pair.before_picture, pair.after_picture,
        before, after, show_number("similarity", _change(pair), "+"),
    )  # fmt: skip
