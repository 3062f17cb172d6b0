"""docs/params.md is what the schema and conf/ say now, and leaves out no key."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from stages.contracts.settings import SECTIONS, Section
from stages.flows.params_page import describe_values, render_page, walk

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "params.md"


@pytest.fixture(scope="module")
def page() -> str:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        return render_page()


def leaves(values: Any, prefix: str = "") -> Iterator[str]:
    if isinstance(values, type) and issubclass(values, Section):
        for name, info in values.model_fields.items():
            yield from leaves(info.annotation, f"{prefix}.{name}")
    else:
        yield prefix


def test_the_committed_page_is_the_printed_one(page: str) -> None:
    assert PAGE.read_text() == page, "python -m stages.flows.params_page > docs/params.md"


def test_every_key_has_one_row(page: str) -> None:
    rows = [line.split("`")[1] for line in page.splitlines() if line.startswith("| `")]
    assert rows == [leaf for name, section in SECTIONS.items() for leaf in sorted_as(rows, leaves(section, name))]
    assert len(set(rows)) == len(rows)


def sorted_as(rows: list[str], keys: Iterator[str]) -> list[str]:
    """``keys`` in the order of the page: a section's own keys stand before the sections inside it."""
    return sorted(keys, key=rows.index)


def test_every_field_has_a_description() -> None:
    models = [pair for name, section in SECTIONS.items() for pair in walk(section, name)]
    inside = {name for name, _ in models}
    bare = [
        f"{prefix}.{name}"
        for prefix, model in models
        for name, info in model.model_fields.items()
        if f"{prefix}.{name}" not in inside and not info.description
    ]
    assert bare == []


def test_every_row_has_a_cell_for_every_column(page: str) -> None:
    columns = 0
    for line in page.splitlines():
        if line.startswith("| key"):
            columns = line.count("|")
        elif line.startswith("| `"):
            assert line.count("|") == columns, line


def test_a_profile_s_values_and_what_reads_a_section_are_told(page: str) -> None:
    assert "| `train.steps` | " in page
    rank = next(line for line in page.splitlines() if line.startswith("| `train.rank`"))
    assert rank.split("|")[4:] == [" `16` ", " `32` ", " `32` ", " `32` ", " `--network_dim` ", ""]
    assert "Runs again when it changes: sweep, eval, compare." in page
    machine = page.split("## machine")[1]
    assert "Runs again when it changes: nothing." in machine


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        ({"type": "number", "minimum": 0, "maximum": 1}, "number, 0 to 1"),
        ({"type": "number", "exclusiveMinimum": 0}, "number, above 0"),
        ({"type": "integer", "minimum": 0, "exclusiveMaximum": 2**63}, "whole number, at least 0"),
        ({"anyOf": [{"enum": ["a", "b"]}, {"type": "string"}]}, "`a`, `b` or `module:Class`"),
        ({"anyOf": [{"type": "string", "format": "path"}, {"type": "null"}]}, "path or `null`"),
        ({"type": "array", "items": {"type": "string"}, "minItems": 1}, "list, not empty: text"),
    ],
)
def test_ranges_and_choices_are_said_in_words(schema: dict[str, Any], words: str) -> None:
    assert describe_values(schema) == words
