"""The table of sd-scripts' options speaks of keys and values that the settings have."""

from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from stages.contracts.kohya import OPTIONS
from stages.contracts.lora_metadata import OPTIMIZERS
from stages.contracts.settings import SECTIONS, Section


def annotation(dotted: str) -> Any:
    """The type of a key, its range with it."""
    section, *names = dotted.split(".")
    model: type[Section] = SECTIONS[section]
    for name in names[:-1]:
        inner = model.model_fields[name].annotation
        assert isinstance(inner, type)
        model = inner
    return model.model_fields[names[-1]].annotation


@pytest.mark.parametrize("key", sorted(OPTIONS))
def test_every_key_exists_and_takes_the_values_that_have_words(key: str) -> None:
    adapter = TypeAdapter(annotation(key))
    for value in OPTIONS[key].words:
        assert adapter.validate_python(value, strict=True) == value


def test_a_planted_key_and_a_planted_value_are_noticed() -> None:
    with pytest.raises(KeyError):
        annotation("train.optimizer.momentum")
    with pytest.raises(ValidationError):
        TypeAdapter(annotation("train.precision")).validate_python("bf16")


def test_a_choice_without_a_word_is_said_to_have_none() -> None:
    for key, option in OPTIONS.items():
        choices = set(TypeAdapter(annotation(key)).json_schema().get("enum", []))
        assert not option.words or not choices - set(option.words) or option.unlike, key


def test_every_choice_is_translated_or_needs_no_translation() -> None:
    """A choice that sd-scripts calls otherwise cannot be passed as it is."""
    choosing = {key for key in OPTIONS if "enum" in TypeAdapter(annotation(key)).json_schema()}
    assert all(OPTIONS[key].words for key in choosing)
    assert set(OPTIONS["train.optimizer.name"].words) == set(OPTIMIZERS)


def test_an_option_is_written_as_it_is_typed() -> None:
    for option in OPTIONS.values():
        assert option.name.startswith("--")
        assert option.name.count(" ") == (option.name.split()[0] in ("--optimizer_args", "--network_args"))
    assert len({option.name for option in OPTIONS.values()}) == len(OPTIONS)
