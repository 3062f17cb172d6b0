"""Dropping every finding ends, leaves none, and changes only captions that held one."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.contracts.captions import names_word
from stages.contracts.settings import Dataset
from stages.flows.caption_lint import plan_drop, read_captions, write_edits
from stages.measures.captions import find_fragments
from stages.runtime.errors import UserError

DATASET = Dataset(name="x", photos=Path("photos"), trigger="ohwx", class_word="woman")
words = st.sampled_from(["a", "woman", "ohwx", "red", "dress", "smiling", "in", "front", "of", "wall"])
captions = st.lists(st.tuples(words, st.sampled_from([" ", " ", ", ", ". "])), max_size=10).map(
    lambda pairs: "".join(word + glue for word, glue in pairs)
)


@settings(max_examples=200)
@given(st.lists(captions, min_size=1, max_size=6), st.sampled_from([0.3, 0.5, 0.8, 1.0]))
def test_dropping_all_ends_and_leaves_no_finding(texts: list[str], share: float) -> None:
    before = {Path(f"{number}.txt"): text for number, text in enumerate(texts)}
    gone, edits = plan_drop(before, [], DATASET, share)
    after = before | {edit.file: edit.after for edit in edits}
    assert find_fragments(list(after.values()), "ohwx", "woman", share) == []
    assert bool(gone) == bool(edits) == bool(find_fragments(texts, "ohwx", "woman", share))
    assert all(names_word(edit.after, "ohwx") for edit in edits)
    assert plan_drop(after, [], DATASET, share) == ([], [])
    assert plan_drop(after, gone, DATASET)[1] == []


def test_what_is_written_is_what_was_planned_and_is_read_again(tmp_path: Path) -> None:
    (tmp_path / "ä b").mkdir()
    (tmp_path / "ä b" / "1.txt").write_text("ohwx,  größer\n", encoding="utf-8")
    (tmp_path / "2.txt").write_text("ohwx, on a wall", encoding="utf-8")
    (tmp_path / ".2.1.part.txt").write_text("what a killed process left", encoding="utf-8")
    before = read_captions(tmp_path)
    assert list(before.values()) == ["ohwx, on a wall", "ohwx, größer"]
    write_edits(plan_drop(before, ["größer", "never said"], DATASET)[1])
    assert list(read_captions(tmp_path).values()) == ["ohwx, on a wall", "ohwx"]
    assert (tmp_path / "ä b" / "1.txt").read_bytes() == b"ohwx"


def test_the_trigger_cannot_be_dropped() -> None:
    with pytest.raises(UserError, match="names the trigger"):
        plan_drop({Path("1.txt"): "ohwx"}, ["OHWX"], DATASET)
