"""The page in a real browser without a network: nothing fails, nothing is asked for, everything can be operated."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from chromium import NoChromium, open_chromium
from pages import make_card, make_comparison, make_content, make_manifest, make_scores, make_sweep

from stages.contracts.comparison import Recommendation
from stages.reports.page.assemble import render_page

pytestmark = pytest.mark.slow
PATIENCE_MS = 20_000
WALK = (
    ("ArrowRight", "200, CFG 2"), ("ArrowDown", "200, CFG 3"), ("End", "300, CFG 3"), ("ArrowRight", "300, CFG 3"),
    ("ArrowUp", "300, CFG 2"), ("ArrowLeft", "200, CFG 2"), ("Control+End", "300, CFG 3"), ("Home", "100, CFG 3"),
    ("Control+Home", "100, CFG 2"),
)  # fmt: skip
HOSTILE = '</script><script>pwned()</script>"><img src=x onerror=pwned()>&lt;b&gt; ' + "unbroken" * 60


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    try:
        with open_chromium() as started:
            yield started
    except NoChromium as missing:
        pytest.skip(str(missing))


@dataclass
class Visit:
    """A page that was opened, and everything that went wrong or over the wire."""

    page: Any
    trouble: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)

    def text(self, selector: str) -> str:
        return " ".join(self.page.inner_text(selector).split())

    def overflow(self) -> int:
        """Pixels by which the page is wider than the window."""
        return int(self.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth"))

    def focused(self) -> str:
        return str(self.page.evaluate("document.activeElement.getAttribute('aria-label') || ''"))

    def set_slider(self, selector: str, value: float) -> None:
        self.page.eval_on_selector(
            selector, "(e, v) => { e.value = v; e.dispatchEvent(new Event('input', { bubbles: true })); }", value
        )


@pytest.fixture
def visit(browser: Any, tmp_path: Path) -> Iterator[Any]:
    """Opens content as a file in a window that has no network; what was asked for or failed is the test's failure."""
    visits, contexts = [], []

    def open_page(content: Any = None, width: int = 1280, **how: Any) -> Visit:
        place = tmp_path / f"report{len(visits)}.html"
        place.write_text(render_page(content or make_content()), encoding="utf-8")
        context = browser.new_context(viewport={"width": width, "height": 844}, offline=True, **how)
        contexts.append(context)
        context.set_default_timeout(PATIENCE_MS)
        context.add_init_script("window.hurt = 0; window.pwned = () => { window.hurt += 1; }")
        visited = Visit(context.new_page())
        visits.append(visited)
        visited.page.on("console", lambda message: visited.trouble.append(message.text))
        visited.page.on("pageerror", lambda error: visited.trouble.append(str(error)))
        visited.page.on("dialog", lambda dialog: visited.trouble.append(dialog.message))
        visited.page.on("request", lambda request: visited.asked.append(request.url))
        visited.page.goto(place.as_uri())
        return visited

    yield open_page
    for visited in visits:
        assert visited.trouble == []
        assert [url[:80] for url in visited.asked if not url.startswith(("data:", "file:"))] == []
        assert sum(url.startswith("file:") for url in visited.asked) == 1
    for context in contexts:
        context.close()


def test_the_page_opens_without_an_error_and_asks_for_nothing(visit: Any) -> None:
    visited = visit()
    assert visited.text("h1").startswith("Adopt v3 over v2")
    assert visited.page.evaluate("[...document.images].every((image) => image.complete && image.naturalWidth > 0)")
    assert visited.overflow() == 0


def hostile() -> Any:
    card = make_card(lora_version=HOSTILE, notes=HOSTILE, licences={"faces": HOSTILE})
    reason = Recommendation(action="undecided", reason=HOSTILE)
    return make_content(
        card=card, comparison=make_comparison(card, recommendation=reason), scores=make_scores(text=HOSTILE),
        sweep=[{**row, "mode": HOSTILE if row["cell"] % 2 else "lora"} for row in make_sweep(ddim=HOSTILE)],
        manifest=make_manifest(HOSTILE), checkpoints=[{"checkpoint": 100.0, HOSTILE: 0.5}], notes=[HOSTILE],
    )  # fmt: skip


@pytest.mark.parametrize("width", [1280, 390])
def test_hostile_text_neither_runs_nor_breaks_the_layout(visit: Any, width: int) -> None:
    visited = visit(hostile(), width)
    visited.page.locator("#facets button").first.click()
    assert visited.page.evaluate("window.hurt") == 0
    assert "pwned()" in visited.text("#cell h3")
    assert visited.overflow() == 0


@pytest.mark.parametrize("width", [390, 320])
def test_a_phone_never_scrolls_sideways_whatever_is_opened(visit: Any, width: int) -> None:
    visited = visit(width=width)
    assert visited.overflow() == 0
    visited.page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    visited.page.click("#more")
    assert visited.overflow() == 0


def test_on_a_phone_the_pictures_come_below_the_grid_that_was_tapped(visit: Any) -> None:
    visited = visit(width=390)
    visited.page.locator("#facets figure").nth(1).locator("button").first.click()
    assert visited.page.eval_on_selector("#cell", "(e) => e.previousElementSibling === e.parentElement.children[1]")
    visited.page.set_viewport_size({"width": 1280, "height": 844})
    assert visited.page.eval_on_selector("#cell", "(e) => e.parentElement.className") == "split"


def test_the_line_dims_and_counts_cells(visit: Any) -> None:
    visited = visit()
    assert visited.text("#count").startswith("14 of 24 cells reach 0.600; 10 below are dimmed.")
    assert visited.page.locator("#facets button.dim").count() == 10
    visited.set_slider("#floor", 0.8)
    assert visited.text("#count").startswith("4 of 24 cells reach 0.800; 20 below are dimmed.")
    assert visited.page.locator("#facets button.dim").count() == 20
    assert ", below the line" in visited.page.locator("#facets button.dim").first.get_attribute("aria-label")


def test_filters_take_cells_away_and_say_when_none_is_left(visit: Any) -> None:
    visited = visit()
    boxes = visited.page.locator("#filters fieldset").first.locator("input")
    boxes.nth(2).uncheck()
    assert visited.text("#count").startswith("6 of 16 cells")
    assert visited.page.locator("#facets button").count() == 16
    boxes.nth(0).uncheck()
    boxes.nth(1).uncheck()
    assert visited.text("#count").startswith("No cell is left")
    boxes.nth(2).check()
    assert visited.text("#count").startswith("8 of 8 cells")


def test_any_two_settings_make_the_grid_and_the_others_make_one_each(visit: Any) -> None:
    visited = visit()
    assert visited.page.locator("#facets figure").count() == 4  # samplers x strengths
    visited.page.select_option("#across", "sampler")
    visited.page.select_option("#down", "strength")
    assert visited.page.locator("#facets figure").count() == 6  # checkpoints x CFG
    heads = visited.page.locator("#facets figure").first.locator("thead th").all_inner_texts()
    assert heads == ["LoRA strength", "ddim", "euler"]
    visited.page.select_option("#down", "sampler")  # both the same: they change places
    assert visited.page.input_value("#across") == "strength"
    assert visited.page.locator("#facets button").count() == 24


def test_another_measure_colours_the_same_cells(visit: Any) -> None:
    visited = visit()
    visited.page.select_option("#measure", "adherence_mean")
    assert visited.page.locator("#facets button").first.inner_text() == "0.300"
    assert visited.text("#count").startswith("24 of 24 cells reach 0.300")
    visited.page.select_option("#measure", "confirm_similarity_mean")
    assert visited.text("#count").startswith("4 of 24 cells reach 0.600; 0 below are dimmed, 20 were not measured.")
    visited.page.select_option("#measure", "detection_rate")
    assert visited.page.locator("#facets button").first.inner_text() == "100%"


def test_a_cell_that_is_clicked_shows_its_figures_and_pictures(visit: Any) -> None:
    visited = visit()
    assert "chosen" in visited.text("#cell")
    visited.page.locator("#facets button").first.click()
    assert visited.text("#cell h3") == "Checkpoint 100, CFG 2, Sampler ddim, LoRA strength 0.8"
    assert "Similarity, face pack 0.400 (0.350 to 0.450)" in visited.text("#cell")
    alts = visited.page.eval_on_selector_all("#cell img", "(all) => all.map((image) => image.alt)")
    assert [alt.rsplit(", ", 1)[1] for alt in alts] == ["p00_s101", "p01_s101"]
    marks = "(e) => getComputedStyle(e, '::after').content"
    assert visited.page.eval_on_selector("#facets button.chosen", marks) == '"★"'  # though it is one of the tied
    assert visited.page.eval_on_selector("#facets button.tied:not(.chosen)", marks) == '"="'
    visited.page.locator("#facets button.chosen").click()
    assert "tied" in visited.text("#cell")
    assert "Similarity, face pack, fresh seeds 0.750 (0.700 to 0.800)" in visited.text("#cell")
    assert "4 of 6 pictures are not in this file" in visited.text("#cell")


def test_a_grid_is_one_stop_of_the_tab_key_and_arrows_move_in_it(visit: Any) -> None:
    visited = visit()
    stops = visited.page.eval_on_selector_all(
        "#facets table", "(all) => all.map((table) => table.querySelectorAll('[tabindex=\"0\"]').length)"
    )
    assert stops == [1, 1, 1, 1]
    visited.page.locator('#facets [tabindex="0"]').first.focus()
    assert visited.focused().startswith("Checkpoint 100, CFG 2, Sampler ddim, LoRA strength 0.8")
    for key, place in WALK:
        visited.page.keyboard.press(key)
        assert visited.focused().startswith(f"Checkpoint {place}"), key
    assert visited.page.evaluate("document.activeElement.matches(':focus-visible')")
    assert visited.page.evaluate("getComputedStyle(document.activeElement).outlineWidth") == "3px"
    visited.page.keyboard.press("ArrowRight")
    visited.page.keyboard.press("Enter")
    assert visited.text("#cell h3").startswith("Checkpoint 200, CFG 2")
    assert visited.page.locator('#facets [aria-selected="true"]').count() == 1
    visited.page.keyboard.press("Tab")
    assert "LoRA strength 1" in visited.focused()


def test_the_first_tab_offers_to_skip_the_navigation(visit: Any) -> None:
    visited = visit()
    visited.page.keyboard.press("Tab")
    assert visited.page.evaluate("document.activeElement.textContent") == "Skip to the verdict"
    assert visited.page.evaluate("document.activeElement.getBoundingClientRect().left") >= 0
    visited.page.keyboard.press("Enter")
    assert visited.page.evaluate("document.activeElement.id") == "verdict"


def test_everything_that_can_be_operated_or_seen_has_a_name(visit: Any) -> None:
    visited = visit()
    nameless = visited.page.evaluate("""
        [...document.querySelectorAll('img, input, select, button, svg[role=img], section')]
        .filter((e) => !(e.alt || e.labels?.length || e.textContent.trim() || e.ariaLabel
            || e.getAttribute('aria-labelledby'))).map((e) => e.outerHTML.slice(0, 80))""")
    assert nameless == []


def order(visited: Visit, key: str) -> list[float]:
    shown = visited.page.eval_on_selector_all(
        "#cards > li:not([hidden])", "(all, key) => all.map((card) => Number(card.dataset[key]))", key
    )
    return [float(value) for value in shown]


def test_the_worst_pictures_come_first_and_the_others_on_request(visit: Any) -> None:
    visited = visit()
    assert order(visited, "similarity") == pytest.approx([0.40 + 0.02 * i for i in range(12)])
    assert visited.text("#picture-count") == "10 of 20 pictures lie below 0.60; 12 are shown."
    visited.page.click("#more")
    assert len(order(visited, "similarity")) == 20
    assert visited.page.locator("#more").is_hidden()
    visited.page.select_option("#order", "place")
    assert order(visited, "place") == list(range(20))
    visited.page.select_option("#order", "apart")
    assert order(visited, "similarity")[0] == pytest.approx(0.40)
    visited.page.select_option("#order", "closeness")
    assert order(visited, "similarity")[0] == pytest.approx(0.78)  # the one of prompt 9 that has a closeness


def test_where_the_second_judge_decides_its_least_alike_come_first(visit: Any) -> None:
    rows = [{**row, "second_similarity": 1 - row["similarity"]} for row in make_scores()]
    visited = visit(make_content(card=make_card(gating_judge="second"), scores=rows))
    assert visited.page.input_value("#order") == "second"
    assert order(visited, "similarity")[0] == pytest.approx(0.78)
    assert visited.text("#picture-count") == "19 of 20 pictures lie below 0.60; 12 are shown."


def test_pictures_below_the_line_are_marked_counted_and_can_stand_alone(visit: Any) -> None:
    visited = visit()
    assert visited.page.locator("#cards .below:visible").count() == 10
    visited.set_slider("#bar", 0.45)
    assert visited.text("#picture-count") == "3 of 20 pictures lie below 0.45; 12 are shown."
    assert visited.page.locator("#cards .below:visible").count() == 3
    visited.page.check("#only")
    assert len(order(visited, "similarity")) == 3


def test_without_scripts_everything_but_the_grid_can_be_read(visit: Any) -> None:
    visited = visit(java_script_enabled=False)
    assert visited.page.locator("#cards > li:visible").count() == 20
    assert "Without JavaScript the grid is not drawn" in visited.text("#sweep")
    assert visited.page.locator("#grid").is_hidden()


@pytest.mark.parametrize(("scheme", "bright"), [("light", True), ("dark", False)])
def test_the_page_follows_the_reader_s_theme(visit: Any, scheme: str, bright: bool) -> None:
    visited = visit(color_scheme=scheme)
    colour = visited.page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (int(colour.removeprefix("rgb(").split(",")[0]) > 127) is bright


def test_a_page_from_which_everything_is_missing_has_no_error_either(visit: Any) -> None:
    bare = make_content(
        loss=(), sweep=(), pairs=(), pictures={}, sweep_pictures={}, manifest=None, checkpoints=(), choice=None,
        calibration=None,
    )  # fmt: skip
    visited = visit(bare, 390)
    assert visited.overflow() == 0
    assert "The sweep's cells are missing" in visited.text("#sweep")
    assert len(order(visited, "similarity")) == 12


def test_a_sweep_of_one_cell_is_a_grid(visit: Any) -> None:
    visited = visit(make_content(sweep=make_sweep()[:1]))
    assert visited.page.locator("#facets button").count() == 1
    assert visited.text("#count").startswith("0 of 1 cells reach 0.600; 1 below are dimmed.")
