"""The review in a real browser: forty votes by keyboard, a crash between them, blind pairs, touch, a screen reader."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from batches import make_batch
from chromium import NoChromium, open_chromium
from reviewing import Server, run_review, serve_review

pytestmark = pytest.mark.slow
PATIENCE_MS = 20_000
READY = "#stage[aria-busy=false]"
WHERE = "document.querySelector('.view img').getBoundingClientRect().toJSON()"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    try:
        with open_chromium() as started:
            yield started
    except NoChromium as missing:
        pytest.skip(str(missing))


@pytest.fixture
def batch(tmp_path: Path) -> Path:
    make_batch(tmp_path / "portraits", 40, 96)
    return tmp_path / "portraits"


class Tab:
    """A page of a review, and everything that went wrong in it."""

    def __init__(self, browser: Any, server: Server, width: int = 1280, **how: Any) -> None:
        self.context = browser.new_context(viewport={"width": width, "height": 844}, **how)
        self.context.set_default_timeout(PATIENCE_MS)
        self.trouble: list[str] = []
        self.asked: list[str] = []
        self.page = self.context.new_page()
        self.page.on("console", lambda message: self.trouble.append(message.text))
        self.page.on("pageerror", lambda error: self.trouble.append(str(error)))
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.goto(server.address)

    def press(self, key: str) -> None:
        """A key, when the picture is there, and what it does to the count of votes."""
        self.page.wait_for_selector(READY)
        before, after = self.count(), {"u": -1, "Backspace": -1, "a": 1, "r": 1, "1": 1, "2": 1, "0": 1}.get(key, 0)
        after = {"ArrowRight": 1, "ArrowLeft": 1}.get(key, after)
        self.page.keyboard.press(key)
        self.page.wait_for_selector(f'#count:text-is("{before + after} of {self.total()}")')

    def count(self) -> int:
        return int(self.page.inner_text("#count").split()[0])

    def total(self) -> int:
        return int(self.page.inner_text("#count").split()[2])

    def alt(self) -> str:
        self.page.wait_for_selector(READY)
        return str(self.page.get_attribute(".view img", "alt"))

    def overflow(self) -> int:
        return int(self.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth"))


def votes_of(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "votes.jsonl").read_text().splitlines()]


def test_forty_votes_by_keyboard_survive_a_server_that_is_killed(browser: Any, batch: Path, tmp_path: Path) -> None:
    keys = ["a", "ArrowRight", "r", "ArrowLeft"] * 10
    meant = {"a": "approve", "ArrowRight": "approve", "r": "reject", "ArrowLeft": "reject"}
    seen: list[str] = []
    with run_review(batch) as server:
        tab = Tab(browser, server)
        for key in keys[:17]:
            seen.append(tab.alt())
            tab.press(key)
        seventeenth = tab.alt()
        server.kill()
        tab.page.keyboard.press("a")
        tab.page.wait_for_selector("#alarm:not([hidden])")
        assert "Not saved" in tab.page.inner_text("#alarm")
        assert tab.alt() == seventeenth  # what was not saved does not count
        assert tab.count() == 17
        tab.context.close()
    assert [vote["vote"] for vote in votes_of(batch)] == [meant[key] for key in keys[:17]]
    with run_review(batch) as server:
        tab = Tab(browser, server)
        assert tab.alt() == seventeenth
        assert tab.count() == 17
        for key in keys[17:]:
            seen.append(tab.alt())
            tab.press(key)
        tab.page.wait_for_selector("#panel .tiles")
        tab.page.screenshot(path=str(tmp_path / "end_1280.png"))
        assert tab.trouble == []
        assert all(url.startswith(server.address) for url in tab.asked if not url.startswith("data:"))
        tab.context.close()
    votes = votes_of(batch)
    assert [vote["vote"] for vote in votes] == [meant[key] for key in keys]
    assert len({vote["item"] for vote in votes}) == len({vote["id"] for vote in votes}) == len(set(seen)) == 40
    assert {vote["shown"][0]["file"] for vote in votes} == {path.name for path in batch.glob("*/*.png")}
    assert all(0 < vote["milliseconds"] < 60_000 and not vote["scores_shown"] for vote in votes)


def test_skip_undo_scores_and_help_do_what_they_say(browser: Any, batch: Path) -> None:
    with serve_review(batch) as server:
        tab = Tab(browser, server)
        first = tab.alt()
        tab.press("a")
        second = tab.alt()
        tab.press(" ")
        assert tab.alt() not in (first, second)
        assert tab.page.inner_text("#gate") == ""
        tab.press("s")
        tab.page.wait_for_selector("#gate .chip")
        assert "similarity" in tab.page.inner_text("#gate")
        tab.press("r")
        tab.press("s")
        tab.press("u")
        tab.press("Backspace")
        assert tab.alt() == first
        assert tab.count() == 0
        assert tab.page.is_disabled('[data-do="undo"]')
        tab.page.keyboard.press("?")
        tab.page.wait_for_selector("dialog[open]")
        tab.page.keyboard.press("a")  # goes to nobody while the list is open
        tab.page.keyboard.press("Escape")
        tab.press("ArrowDown")
        tab.press("ArrowUp")
        assert tab.alt() == first
        assert tab.trouble == []
        tab.context.close()
    votes = votes_of(batch)
    assert [vote["vote"] for vote in votes] == ["approve", "reject", "undo", "undo"]
    assert [vote["scores_shown"] for vote in votes[:2]] == [False, True]
    assert [vote["undoes"] for vote in votes[2:]] == [votes[1]["id"], votes[0]["id"]]


def test_a_key_that_is_held_down_and_a_button_that_keeps_the_focus_vote_once(browser: Any, batch: Path) -> None:
    with serve_review(batch) as server:
        tab = Tab(browser, server)
        tab.page.wait_for_selector(READY)
        for _ in range(5):
            tab.page.keyboard.down("a")  # repeats
        tab.page.keyboard.up("a")
        tab.page.wait_for_selector('#count:text-is("1 of 40")')
        tab.page.wait_for_selector(READY)
        tab.page.click('[data-do="approve"]')
        tab.page.wait_for_selector('#count:text-is("2 of 40")')
        tab.page.wait_for_selector(READY)
        tab.page.keyboard.press(" ")
        tab.page.wait_for_timeout(200)
        assert tab.count() == 2
        tab.context.close()
    assert len(votes_of(batch)) == 2


def test_zoom_shows_real_pixels_and_the_picture_can_be_moved(browser: Any, batch: Path) -> None:
    with serve_review(batch) as server:
        tab = Tab(browser, server)
        tab.page.wait_for_selector(READY)
        assert tab.page.evaluate(WHERE)["width"] > 96
        tab.page.keyboard.press("z")
        tab.page.wait_for_selector(".zoomed")
        shown = tab.page.evaluate(WHERE)
        assert shown["width"] % 96 == 0  # whole pixels
        assert tab.page.inner_text("#zoom-label") == f"{round(shown['width'] / 96 * 100)}%"
        tab.page.keyboard.press("ArrowDown")
        lower = tab.page.evaluate(WHERE)
        assert shown["top"] - 80 <= lower["top"] < shown["top"]
        tab.page.keyboard.press("ArrowRight")
        assert tab.count() == 0  # an arrow moves the picture, and does not vote
        tab.page.mouse.move(600, 300)
        tab.page.mouse.down()
        tab.page.mouse.move(600, 330, steps=4)
        tab.page.mouse.up()
        assert tab.page.evaluate(WHERE)["top"] == pytest.approx(lower["top"] + 30, abs=1)
        assert tab.page.is_visible(".zoomed")
        tab.page.mouse.click(600, 300)
        assert not tab.page.query_selector(".zoomed")
        tab.context.close()


def test_filters_show_what_is_left_and_where_the_gate_disagrees(browser: Any, batch: Path) -> None:
    with serve_review(batch) as server:
        tab = Tab(browser, server)
        for _ in range(12):
            tab.press("a")
        tab.page.select_option("#filter", "unvoted")
        assert tab.page.locator("#strip li").count() == 28
        tab.page.select_option("#filter", "disagreements")
        tab.page.wait_for_selector(READY)
        files = {vote["shown"][0]["file"] for vote in votes_of(batch)}
        apart = len(files & {path.name for path in (batch / "rejected").glob("*.png")})
        assert tab.page.locator("#strip li").count() == apart > 0
        assert tab.trouble == []
        tab.context.close()


def test_two_pages_at_once_lose_no_vote(browser: Any, batch: Path) -> None:
    with serve_review(batch) as server:
        tabs = [Tab(browser, server), Tab(browser, server)]
        for key in ("a", "r", "a", "r"):
            for tab in tabs:
                tab.press(key)
        for tab in tabs:
            assert tab.trouble == []
            tab.context.close()
    assert [vote["vote"] for vote in votes_of(batch)] == ["approve", "approve", "reject", "reject"] * 2


def test_blind_pairs_are_told_apart_at_the_end(browser: Any, tmp_path: Path) -> None:
    make_batch(tmp_path / "v3", 8, 64, version="v3", seed=1)
    make_batch(tmp_path / "v2", 8, 64, version="v2", shift=-0.2, seed=1)
    with serve_review(tmp_path / "v3", tmp_path / "v2") as server:
        tab = Tab(browser, server)
        for key in "12012012":
            tab.page.wait_for_selector(READY)
            assert tab.page.locator(".view img").count() == 2
            assert not tab.page.is_visible('[data-do="scores"]')
            tab.press(key)
        tab.page.wait_for_selector("#panel .tiles")
        assert "sign test" in tab.page.inner_text("#panel")
        names = [url.rsplit("/", 1)[1] for url in tab.asked if "/pictures/" in url]
        assert len(set(names)) == 16
        assert not any("v2" in name or "v3" in name or "_s" in name for name in names)
        assert tab.trouble == []
        tab.context.close()
    votes = votes_of(tmp_path / "v3/v3_against_v2")
    assert [vote["vote"] for vote in votes] == ["left", "right", "tie"] * 2 + ["left", "right"]


@pytest.mark.parametrize(("width", "touch"), [(1280, False), (390, True)])
def test_it_fits_the_screen_and_can_be_used_by_touch(
    browser: Any, batch: Path, tmp_path: Path, width: int, touch: bool
) -> None:
    with serve_review(batch) as server:
        tab = Tab(browser, server, width, has_touch=touch, is_mobile=touch)
        for name in ("approve", "reject", "skip"):
            tab.page.wait_for_selector(READY)
            button = tab.page.locator(f'[data-do="{name}"]')
            box = button.bounding_box()
            assert box["x"] >= 0
            assert box["x"] + box["width"] <= width
            assert box["y"] + box["height"] <= 844
            assert box["height"] >= (42 if touch else 34)
            button.tap() if touch else button.click()
        tab.page.wait_for_selector('#count:text-is("2 of 40")')
        assert tab.overflow() == 0
        picture = tab.page.locator(".view").bounding_box()
        assert picture["height"] > 300
        assert picture["width"] > width * 0.7
        tab.page.screenshot(path=str(tmp_path / f"review_{width}.png"))
        assert tab.trouble == []
        tab.context.close()


def test_a_screen_reader_and_the_tab_key_find_everything(browser: Any, batch: Path) -> None:
    with serve_review(batch) as server:
        tab = Tab(browser, server)
        assert tab.alt().startswith("Picture ")
        tab.press("a")
        tab.page.wait_for_selector(READY)
        assert "Picture" in tab.page.inner_text("#live")
        nameless = tab.page.evaluate(
            "[...document.querySelectorAll('button, select, img, section, aside, progress')].filter((e) => "
            "!(e.innerText || e.getAttribute('aria-label') || e.alt || e.labels?.length || e.closest('[aria-label]')))"
            ".length"
        )
        assert nameless == 0
        reached = []
        for _ in range(14):
            tab.page.keyboard.press("Tab")
            reached.append(tab.page.evaluate("document.activeElement.dataset.do || document.activeElement.id || ''"))
        assert {"filter", "help-button", "undo", "skip", "reject", "approve", "zoom", "scores"} <= set(reached)
        tab.page.focus('[data-do="approve"]')
        tab.page.keyboard.press("Enter")
        tab.page.wait_for_selector('#count:text-is("2 of 40")')
        tab.context.close()
