"""The caption lint: what nearly every caption holds is found with its share, and can be taken out without harm."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.contracts.captions import clean_text, names_word, put_trigger_first
from stages.measures.captions import FUNCTION_WORDS, drop_fragments, find_fragments

TRIGGERS = ("ohwx", "Amira Noor", "<me>", "sks-1", "名前")
CLASSES = ("woman", "old man")


def fragments(texts: list[str], share: float = 0.8, trigger: str = "ohwx") -> dict[str, float]:
    return {f.fragment: f.share for f in find_fragments(texts, trigger, "woman", share)}


def dropped(text: str, *unwanted: str) -> str:
    return drop_fragments(text, unwanted, "ohwx", "woman")


def test_a_phrase_in_every_caption_is_found_in_whatever_case_and_punctuation() -> None:
    texts = ["ohwx, a woman, Long Black Hair, smiling", "ohwx, a woman; on a beach; long  black hair.",
             "ohwx, a woman with long black hair!"]  # fmt: skip
    assert fragments(texts) == {"long black hair": 1.0}


def test_a_run_of_words_inside_prose_is_found_as_the_longest_one_only() -> None:
    walls = ("white", "brick", "wooden", "yellow", "green")
    texts = [f"ohwx, The image shows a woman standing in front of a {wall} wall" for wall in walls]
    assert fragments(texts) == {"the image shows a": 1.0, "standing in front of a": 1.0}


def test_trigger_class_word_and_function_words_are_no_findings() -> None:
    texts = [f"a photo{n} of ohwx, the woman in a dress{n}" for n in range(5)]
    assert fragments(texts) == {}
    assert fragments([text.upper() for text in texts]) == {}


def test_a_single_word_is_a_finding_as_a_phrase_but_not_as_part_of_others() -> None:
    colours = ("red", "green", "blue", "white")
    assert fragments([f"ohwx, {colour} background, smiling" for colour in colours]) == {"smiling": 1.0}


def test_the_share_decides_and_one_caption_proves_nothing() -> None:
    texts = [*["ohwx, smiling"] * 4, "ohwx, sad"]
    assert fragments(texts) == {"smiling": 0.8}
    assert fragments(texts, 0.81) == {}
    assert fragments(texts[:1]) == {}
    assert fragments([]) == {}


@pytest.mark.parametrize("hits", range(1, 21))
def test_a_share_that_is_reached_exactly_counts_whatever_rounding_does(hits: int) -> None:
    texts = ["ohwx, smiling"] * hits + [f"ohwx, mood{n}" for n in range(20 - hits)]
    assert (fragments(texts, hits / 20) == {"smiling": hits / 20}) == (hits > 1)


@pytest.mark.parametrize(
    ("text", "unwanted", "left"),
    [
        ("ohwx, the image shows a woman, smiling", "The image shows", "ohwx, a woman, smiling"),
        ("ohwx, smiling, a woman", "smiling", "ohwx, a woman"),
        ("ohwx, a woman, smiling", "smiling", "ohwx, a woman"),
        ("ohwx, a woman, smiling.", "smiling", "ohwx, a woman."),
        ("ohwx. In front of a wall. A woman.", "in front of a wall", "ohwx. A woman."),
        ("In front of a wall, ohwx smiles", "in front of a wall", "ohwx smiles"),
        ("ohwx, a woman (smiling), sad", "smiling", "ohwx, a woman, sad"),
        ("ohwx, a woman standing there in red", "standing there", "ohwx, a woman in red"),
        ("ohwx, unsmiling, smiling-ish", "smiling", "ohwx, unsmiling, smiling-ish"),
        ("ohwx, close-up", "close up", "ohwx, close-up"),
        ("ohwx, white, wall", "white wall", "ohwx, white, wall"),
        ("ohwx, smiling", "SMILING!", "ohwx"),
        ("smiling", "smiling", "ohwx"),
        ("a photo of ohwx, smiling", "a photo of", "ohwx, smiling"),
        ("OHWX smiling", "ohwx", "OHWX smiling"),
        ("ohwx, smiling", "photo of ohwx", "ohwx, smiling"),
        ("ohwx, a woman, smiling", "a woman", "ohwx, smiling"),
        ("ohwx, a woman, smiling", "a", "ohwx, woman, smiling"),
        ("ohwx, wait... really, smiling", "smiling", "ohwx, wait... really"),
        ("ohwx, red red shirt shirt", "red shirt", "ohwx"),
        ("ohwx", "...", "ohwx"),
    ],
)
def test_a_fragment_is_taken_out_with_the_punctuation_that_belonged_to_it(text: str, unwanted: str, left: str) -> None:
    assert dropped(text, unwanted) == left


def test_the_longest_fragment_goes_first_in_whatever_order_they_are_given() -> None:
    text, unwanted = "ohwx, in front of a white wall, a white dress", ["a white", "in front of a white wall"]
    assert dropped(text, *unwanted) == dropped(text, *unwanted[::-1]) == "ohwx, dress"


def test_a_class_word_of_two_words_is_not_torn() -> None:
    assert drop_fragments("ohwx, old man standing", ["man standing"], "ohwx", "old man") == "ohwx, old man standing"


WORDS = ("a", "the", "in", "smiling", "red", "shirt", "woman", "old", "man", "ohwx", "OHWX", "amira", "noor", "<me>",
         "sks-1", "sks", "1", "me", "名前", "it's", "close-up", "é", "e\u0301", "")  # fmt: skip
GLUE = (" ", " ", " ", ", ", ",", ". ", "; ", " - ", "-", " (", ") ", ' "', "...", "\n", "'", "/")
prose = st.lists(st.tuples(st.sampled_from(WORDS), st.sampled_from(GLUE)), max_size=12).map(
    lambda pairs: "".join(word + glue for word, glue in pairs)
)
phrases = st.lists(st.sampled_from(WORDS), min_size=1, max_size=3).map(" ".join)
triggers, classes = st.sampled_from(TRIGGERS), st.sampled_from(CLASSES)


@settings(max_examples=400)
@given(prose, st.lists(phrases, max_size=4), triggers, classes)
def test_dropping_twice_is_dropping_once_and_the_trigger_stays(
    text: str, unwanted: list[str], trigger: str, class_word: str
) -> None:
    once = drop_fragments(text, unwanted, trigger, class_word)
    assert drop_fragments(once, unwanted, trigger, class_word) == once
    assert names_word(once, trigger)
    assert once == clean_text(once)
    assert re.search(r"\w", once)


@given(prose, st.lists(phrases, max_size=4), triggers, classes)
def test_as_many_triggers_are_left_as_there_were_and_no_word_is_added(
    text: str, unwanted: list[str], trigger: str, class_word: str
) -> None:
    before = put_trigger_first(text, trigger)
    after = drop_fragments(text, unwanted, trigger, class_word)
    named = re.compile(rf"(?<!\w){re.escape(trigger)}(?!\w)", re.IGNORECASE)
    assert len(named.findall(after)) >= min(1, len(named.findall(before)))
    words = re.findall(r"\w+", before)
    for word in re.findall(r"\w+", after):
        assert word in words
        words.remove(word)


@given(prose, triggers, classes)
def test_dropping_nothing_changes_nothing_but_the_trigger(text: str, trigger: str, class_word: str) -> None:
    assert drop_fragments(text, [], trigger, class_word) == put_trigger_first(text, trigger)
    assert drop_fragments(text, ["never said"], trigger, class_word) == put_trigger_first(text, trigger)


@settings(max_examples=200)
@given(st.lists(prose, min_size=2, max_size=6), st.sampled_from([0.3, 0.5, 0.8, 1.0]), triggers, classes)
def test_a_finding_has_the_share_of_the_captions_that_change_when_it_is_dropped(
    texts: list[str], share: float, trigger: str, class_word: str
) -> None:
    for found in find_fragments(texts, trigger, class_word, share):
        changed = [
            text
            for text in texts
            if drop_fragments(text, [found.fragment], trigger, class_word) != put_trigger_first(text, trigger)
        ]
        assert found.count == len(changed) >= 2
        assert found.share == found.count / len(texts) >= share
        assert not FUNCTION_WORDS.issuperset(found.fragment.split())
        assert not names_word(found.fragment, trigger)
        assert not names_word(found.fragment, class_word)


@given(st.lists(prose, min_size=2, max_size=6), triggers, classes)
def test_the_order_of_the_captions_does_not_matter(texts: list[str], trigger: str, class_word: str) -> None:
    assert find_fragments(texts, trigger, class_word, 0.5) == find_fragments(texts[::-1], trigger, class_word, 0.5)


colours = st.lists(st.sampled_from("red green blue in a".split()), max_size=4)


@given(st.lists(st.tuples(colours, colours), min_size=2, max_size=5))
def test_every_pair_of_words_that_all_captions_share_lies_in_a_finding(
    around: list[tuple[list[str], list[str]]],
) -> None:
    said = [[*left, "red", "green", *right] for left, right in around]
    pairs = [{" ".join(words[i : i + 2]) for i in range(len(words) - 1)} for words in said]
    shared = {pair for pair in set.intersection(*pairs) if set(pair.split()) - FUNCTION_WORDS}
    assert "red green" in shared
    found = find_fragments([" ".join(words) for words in said], "ohwx", "woman", 1.0)
    assert all(any(f" {pair} " in f" {f.fragment} " for f in found) for pair in shared)
