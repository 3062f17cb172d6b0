"""The page as text: whole, alone, escaped, the same every time, and never too large."""

import re
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pytest
from pages import make_card, make_comparison, make_content, make_manifest, make_scores, make_sweep

from stages.contracts.comparison import ConfigDifference, Recommendation, Version
from stages.flows.report_page import ALL_CHARACTERS
from stages.reports.page.assemble import HERE, SCRIPTS, render_page
from stages.reports.page.content import Content

VOID = frozenset({"meta", "link", "img", "input", "br"})
LOADING = frozenset({"src", "href", "srcset", "poster", "data", "action", "formaction", "xlink:href", "background"})
LARGEST = 5_000_000  # bytes
HOSTILE = (
    "<script>pwned()</script>\"><img src=x onerror=pwned()>'</style></title>&lt; {{ 7*7 }} {% raw %} ]]>\u2028\x00"
)


class Page(HTMLParser):
    """What a browser sees: elements in order with the names of their attributes, and the text outside scripts."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.elements: list[tuple[str, tuple[str, ...]]] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, tuple(name for name, _ in attrs)))
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not {"script", "style"} & set(self.open):
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


@pytest.fixture(scope="module")
def page() -> str:
    return render_page(make_content())


def empty_content() -> Content:
    """The least that compare knows: scorecard, scores without pictures, no baseline."""
    card = make_card()
    recommendation = Recommendation(action="undecided", reason="There is no baseline to compare with.")
    alone = make_comparison(card, baseline=None, comparable=False, config_differences=[], recommendation=recommendation)
    return Content(card=card, comparison=alone, scores=make_scores())


def test_the_recommendation_and_the_grade_are_the_first_heading(page: str) -> None:
    words = Page(page).text
    assert re.search(r"<h1>Adopt v3 over v2: grade\s+C, likeness 74 of 100</h1>", page)
    assert words.index("Adopt v3 over v2") < words.index("Improved on prior preservation") < words.index("Scorecard 20")


@pytest.mark.parametrize(
    "said",
    ["Second judge 70 68 to 80", "Skin texture 0.30", "0.60 missed", "IMPROVED", "INCONCLUSIVE about 26 more pictures",
     "train.rank 16 32", "holdout photos", "recommended", "2 photos are the same file", "2" * 64, "research only",
     "v2 beside v3", "Lost most", "least alike first", "ss_network_dim 32", "Yaw 12.500",
     "Copying clear A sentence about copying.", "Copies of training photos 5% 0% to 15% 0%",
     "of 100 (68 to 80), decides",
     "correlate with 0.81 (0.60 to 0.90, Spearman)", "Only 8 holdout photos show skin.", "No left profile: add 2.",
     "refuses 1 of 10 (0% to 40%) of this person's photos", "Frontal 14 76 68 to 80 71 68 to 80 its own, 12 photos",
     "2 settings cannot be told apart", "3 improved 3 regressed 3 equivalent 2 inconclusive of 11 measures"],
)  # fmt: skip
def test_everything_that_was_promised_is_there(said: str, page: str) -> None:
    assert said in Page(page).text


def test_nothing_is_loaded_from_outside_and_the_browser_is_told_so(page: str) -> None:
    found = Page(page)
    loads = {value for _, name, value in found.attributes if name in LOADING}
    assert all(value.startswith(("data:image/webp;base64,", "#")) or value == "data:," for value in loads)
    assert not [name for _, name, _ in found.attributes if name.startswith("on") or name == "style"]
    assert not re.search(r"@import|url\(", (HERE / "page.css").read_text())
    scripts = "".join((HERE / name).read_text() for name in SCRIPTS)
    assert not re.search(r"fetch|XMLHttpRequest|import\b|WebSocket|sendBeacon|innerHTML|eval|document\.write", scripts)
    policy = next(value for tag, name, value in found.attributes if tag == "meta" and value.startswith("default-src"))
    assert policy.startswith("default-src 'none'; img-src data:; style-src 'sha256-")
    assert "unsafe" not in policy


def test_the_same_content_is_the_same_text(page: str) -> None:
    assert render_page(make_content()) == page


def hostile_content(text: str) -> Content:
    """Every text of the page that somebody else wrote is ``text``."""
    config = [ConfigDifference(key=text, baseline=text, candidate=None)]
    card = make_card(
        lora_version=text, dataset=text, notes=text, licences={"faces": text}, training_params={text: text}
    )
    version = {"run_id": text, "lora_sha256": text, "overall_score": 0.6, "overall_grade": "C",
               "best_config": card.best_config}  # fmt: skip
    comparison = make_comparison(
        card, config_differences=config, recommendation=Recommendation(action="undecided", reason=text),
        baseline=Version(name=text, **version), candidate=Version(name=text, **version),
    )  # fmt: skip
    scores = [{**row, text: text} for row in make_scores(text=text)]
    loud = [{**row, text: 0.5, "mode": text, "base": text} for row in make_sweep(ddim=text)]
    return make_content(
        card=card, comparison=comparison, scores=scores, sweep=loud, manifest=make_manifest(text), notes=[text],
        checkpoints=[{"checkpoint": 100.0, text: 0.5}], sweep_pictures={0: [(text, "data:image/webp;base64,")]},
        pairs=[replace(pair, after={**pair.after, "prompt": text}) for pair in make_content().pairs],
    )  # fmt: skip


def test_hostile_text_stays_text() -> None:
    harmless, hostile = (Page(render_page(hostile_content(text))) for text in ("harmless", HOSTILE))
    assert hostile.elements == harmless.elements
    assert "<script>pwned()</script>" in hostile.text
    assert "{{ 7*7 }}" in hostile.text


def test_hostile_text_cannot_end_the_data_of_the_sweep() -> None:
    page = render_page(hostile_content(HOSTILE))
    (data,) = re.findall(r'<script type="application/json" id="sweep-data">(.*?)</script>', page, re.DOTALL)
    assert "<" not in data
    assert "\u2028" not in data


def without(**missing: Any) -> str:
    return Page(render_page(make_content(**missing))).text


@pytest.mark.parametrize(
    ("missing", "sentence"),
    [
        ({"loss": ()}, "losses are missing"),
        ({"sweep": ()}, "The sweep's cells are missing"),
        ({"sweep_pictures": {}}, "Pictures of the cells are missing"),
        ({"pictures": {}}, "The pictures themselves are missing"),
        ({"pairs": ()}, "No pairs can be shown: the baseline kept no pictures."),
        ({"manifest": None}, "dataset's description is missing"),
        ({"checkpoints": ()}, "Nothing is known of single checkpoints"),
    ],
)  # fmt: skip
def test_what_is_missing_leaves_a_sentence(missing: dict[str, Any], sentence: str) -> None:
    assert sentence not in without()
    assert sentence in without(**missing)


def test_a_run_without_baseline_and_pictures_is_a_whole_page() -> None:
    words = Page(render_page(empty_content())).text
    assert "v3: grade C, likeness 74 of 100, nothing to compare it with" in words
    assert "There is no baseline, so nothing was compared." in words
    assert "None" not in words
    assert "nan" not in words.split()


def test_the_page_is_small_whatever_it_is_made_of() -> None:
    long = "a woman & \u2028<" * 2000
    noise = np.random.default_rng(0).bytes(8_000_000).hex()
    card = make_card(notes=long, training_params={f"ss_{i}": long for i in range(60)})
    scores, sweep = make_scores(prompts=400, text=long), make_sweep() * 100
    content = make_content(
        card=card, comparison=make_comparison(card), scores=scores,
        sweep=[{**row, "cell": float(i), "rank": i + 1.0} for i, row in enumerate(sweep)],
        loss=[{"step": float(i), "loss": 0.1, "holdout_loss": 0.2, "prior_loss": 0.3} for i in range(20_000)],
        manifest=make_manifest(*[long] * 500), pictures={}, pairs=[],
        sweep_pictures={0: [("x", "data:image/webp;base64," + noise[:ALL_CHARACTERS])]},
    )  # fmt: skip
    page = render_page(content)
    assert len(page.encode()) <= LARGEST
    assert "1400 cells, the least alike, are left out here" in page


def test_a_version_of_another_recommendation_is_named(page: str) -> None:
    card = make_card()
    for action, said in (("keep", "Keep v2: v3 has"), ("undecided", "Undecided between v2 and v3: v3 has")):
        recommendation = Recommendation.model_validate({"action": action, "reason": "Because."})
        content = make_content(comparison=make_comparison(card, recommendation=recommendation))
        assert said in Page(render_page(content)).text
