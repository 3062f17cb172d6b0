"""Prompts come from text, CSV, JSON, the command line or settings; what is wrong with a file is said in one line."""

import csv
import io
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.contracts.batches import Wish
from stages.contracts.settings import Batch
from stages.flows.production_prompts import Asked, gather_wishes, read_prompts, settle
from stages.runtime.errors import UserError

BATCH = Batch(prompts=("one {trigger}", "two"), count=3, until=5, most=20)
WORDS = st.text(st.characters(codec="utf-8", exclude_categories=("C", "Z")), min_size=1, max_size=30)
WISHES = st.lists(
    st.builds(Wish, prompt=WORDS, negative_prompt=st.none() | WORDS, count=st.none() | st.integers(1, 99)), min_size=1
)


def test_a_text_file_holds_a_prompt_a_line_and_remarks(tmp_path: Path) -> None:
    path = tmp_path / "prompts.txt"
    path.write_bytes("\ufeff# of May\n {trigger}, in a café \n\n#{trigger}, no\nlast".encode())
    assert read_prompts(path) == [Wish(prompt="{trigger}, in a café"), Wish(prompt="last")]


@given(WISHES)
def test_csv_and_json_say_the_same_prompts(tmp_path_factory: pytest.TempPathFactory, wishes: list[Wish]) -> None:
    folder, stream = tmp_path_factory.mktemp("prompts"), io.StringIO()
    writer = csv.DictWriter(stream, list(Wish.model_fields))
    writer.writeheader()
    writer.writerows(wish.model_dump() for wish in wishes)
    (folder / "a.csv").write_text(stream.getvalue(), newline="")
    (folder / "a.json").write_text(json.dumps([wish.model_dump() for wish in wishes]))
    assert read_prompts(folder / "a.csv") == read_prompts(folder / "a.json") == wishes


def test_json_entries_may_be_plain_text_and_a_csv_may_have_prompts_alone(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('["one", {"prompt": "two", "count": 2}]')
    (tmp_path / "a.csv").write_text('prompt\n"one, quoted"\n')
    assert read_prompts(tmp_path / "a.json") == [Wish(prompt="one"), Wish(prompt="two", count=2)]
    assert read_prompts(tmp_path / "a.csv") == [Wish(prompt="one, quoted")]


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("a.csv", "text\nx\n", "no column prompt|unknown column 'text'"),
        ("a.csv", "prompt,seed\nx,1\n", "unknown column 'seed'"),
        ("a.csv", "prompt,count\nx,none\n", "row 1: count"),
        ("a.csv", "prompt,count\nx,1\ny,0\n", "row 2: count"),
        ("a.csv", 'prompt\n"open\n', "not CSV"),
        ("a.json", "{}", "not a list"),
        ("a.json", "[", "not JSON"),
        ("a.json", "[3]", "entry 1"),
        ("a.json", '["x", {"promt": "y"}]', "entry 2"),
        ("a.json", "[]", "holds no prompt"),
        ("a.txt", "# nothing\n", "holds no prompt"),
        ("none.txt", None, "No such file"),
    ],
)
def test_what_is_wrong_with_a_file_is_said(tmp_path: Path, name: str, text: str | None, says: str) -> None:
    if text is not None:
        (tmp_path / name).write_text(text)
    with pytest.raises(UserError, match=says):
        read_prompts(tmp_path / name)


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match="not UTF-8"):
        read_prompts(tmp_path / "a.txt")


def test_files_come_first_then_the_command_line_and_the_settings_only_without_both(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("file")
    both = Asked(files=[tmp_path / "a.txt"], prompts=["typed"])
    assert [wish.prompt for wish in gather_wishes(BATCH, both)] == ["file", "typed"]
    assert [wish.prompt for wish in gather_wishes(BATCH, Asked())] == ["one {trigger}", "two"]


def test_a_count_waits_for_nothing_and_a_number_to_reach_overrules_the_settings() -> None:
    assert (settle(BATCH, Asked(count=7)).count, settle(BATCH, Asked(count=7)).until) == (7, None)
    assert (settle(BATCH, Asked(until=9, most=30)).until, settle(BATCH, Asked(until=9, most=30)).most) == (9, 30)
    assert settle(BATCH, Asked(seed=4)).seed == 4
    assert settle(BATCH, Asked()) == BATCH
    with pytest.raises(UserError, match="say one"):
        settle(BATCH, Asked(count=1, until=2))
    with pytest.raises(UserError, match="cannot hold"):
        settle(BATCH, Asked(until=21))
