"""Prompts about minors are refused, however they are written, and everyday words are not: tests/data/prompts.csv."""

import csv
import time
from pathlib import Path

import pytest

from stages.flows.minors import find_minor

TABLE = Path(__file__).parents[1] / "data" / "prompts.csv"
# What the rule does not see today, and what it refuses for nothing.  A change of either list is a change of the rule.
MISSED = {"born in 2015, portrait", "a person who has not come of age", "XVI years old"}
FALSE_ALARMS = {
    "girls' night out, adults, bar", "the Karate Kid poster", "wearing a flower-girl style crown, adult woman",
}  # fmt: skip


def prompts(about: str) -> list[str]:
    with TABLE.open(newline="", encoding="utf-8") as stream:
        return [row["prompt"] for row in csv.DictReader(stream) if row["about"] == about]


def test_of_94_prompts_about_minors_91_are_refused() -> None:
    about = prompts("minor")
    assert len(about) == len(set(about)) == 94
    assert {prompt for prompt in about if not find_minor(prompt)} == MISSED


def test_of_87_harmless_prompts_3_are_refused() -> None:
    harmless = prompts("harmless")
    assert len(harmless) == len(set(harmless)) == 87
    assert {prompt for prompt in harmless if find_minor(prompt)} == FALSE_ALARMS


@pytest.mark.parametrize("age", range(1, 100))
def test_an_age_in_digits_is_refused_below_18_and_nowhere_else(age: int) -> None:
    forms = (
        "{} years old",
        "{}yo woman",
        "{}-year-old woman",
        "aged {}",
        "{} Jahre alt",
        "femme de {} ans",
        "{} jaar oud",
    )
    for form in forms:
        assert bool(find_minor("portrait, " + form.format(age))) == (age < 18), form.format(age)


@pytest.mark.parametrize(
    "piece", ["a ", "1 ", "c h ", "chi-", "16 ", "x", "one two ", "-", " ", "years old ", "a girl's "]
)
def test_a_long_text_takes_no_long_time(piece: str) -> None:
    started = time.process_time()
    find_minor(piece * (4_000 // len(piece)))
    assert time.process_time() - started < 2
