"""Findings and tasks grow run by run, without duplicates, and keep what a person wrote."""

from stages.contracts.briefing import Briefing, Finding
from stages.reports.briefing import merge_findings, merge_tasks, show_change

WORSE = Finding("regression", "similarity", "similarity -0.041 (-0.07 to -0.01) against v2", "Find out why")
DULL = Finding("warning", "Only 7 holdout photos show skin", "Only 7 holdout photos show skin", "Measuring: few photos")
MORE = Finding("advice", "add 3 photos from the side", "add 3 photos from the side", "Photos: add 3 from the side")


def briefing(run: str, *findings: Finding) -> Briefing:
    return Briefing(run, "v3", findings)


def test_a_first_run_makes_the_pages() -> None:
    page = merge_findings("", briefing("aaa", WORSE, DULL, MORE))
    assert [line for line in page.splitlines() if line.startswith("#")] == [
        "# Findings", "## Regressions", "## Warnings", "## Advice",
    ]  # fmt: skip
    assert "- similarity -0.041 (-0.07 to -0.01) against v2 <!-- " in page
    tasks = merge_tasks("", briefing("aaa", WORSE, DULL, MORE))
    assert tasks.count("- [ ] ") == 3


def test_the_same_run_changes_nothing() -> None:
    once = merge_findings("", briefing("aaa", WORSE, DULL)), merge_tasks("", briefing("aaa", WORSE, DULL))
    again = merge_findings(once[0], briefing("aaa", WORSE, DULL)), merge_tasks(once[1], briefing("aaa", WORSE, DULL))
    assert again == once
    assert show_change(once[0], again[0], "x") == ""


def test_the_same_thing_with_other_figures_is_the_same_finding() -> None:
    first = merge_findings("", briefing("aaa", DULL))
    later = Finding("warning", "Only 5 holdout photos show skin", "Only 5 holdout photos show skin", "x")
    assert later.key == DULL.key
    second = merge_findings(first, briefing("bbb", later))
    assert second.count("- Only") == 1
    assert "Only 5 holdout" in second
    assert "first aaa last bbb" in second


def test_other_things_have_other_keys() -> None:
    assert len({WORSE.key, DULL.key, MORE.key, Finding("flag", "similarity", "", "").key}) == 4


def test_what_a_person_wrote_stays_where_it_is() -> None:
    page = merge_findings("", briefing("aaa", WORSE))
    mine = page.replace("against v2", "against v2", 1) + "  because of the sunglasses\n\n## My own\n\nnotes\n"
    after = merge_findings(mine, briefing("bbb", WORSE, DULL))
    assert "  because of the sunglasses\n" in after
    assert after.index("## My own") < after.index("## Warnings")
    assert "notes\n" in after


def test_a_ticked_task_stays_ticked_in_its_run_and_is_opened_by_a_later_one() -> None:
    ticked = merge_tasks("", briefing("aaa", WORSE)).replace("[ ]", "[x]")
    assert merge_tasks(ticked, briefing("aaa", WORSE)) == ticked
    assert merge_tasks(ticked, briefing("bbb", DULL)).count("[x]") == 1
    assert "- [ ] Find out why" in merge_tasks(ticked, briefing("bbb", WORSE))


def test_a_text_cannot_end_its_own_mark() -> None:
    nasty = Finding("warning", "nasty", "a --> b\nc <!-- d", "t")
    page = merge_findings("", briefing("aaa", nasty))
    assert merge_findings(page, briefing("aaa", nasty)) == page
    assert page.count("-->") == 1
