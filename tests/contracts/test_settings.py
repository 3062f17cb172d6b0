"""A wrong value stops the run, with its path."""

from pathlib import Path

import pytest

from stages.contracts.settings import Caption, Dataset, Grades, Section, Thresholds, Train, parse, read_params
from stages.runtime.errors import UserError

TRAIN = {"version": "v3", "base": "models/base/x"}


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"steps": 0}, "steps"),
        ({"rank": "many"}, "rank"),
        ({"learning_rate": 1.0}, "learning_rate: unknown key (value 1.0)"),
        ({"precision": "fp8"}, "precision"),
        ({"backend": "magic"}, "module:Class"),
        ({"optimizer": {"name": "prodigy", "learning_rate": 100.0}}, "Prodigy finds its own rate"),
        ({"checkpoint_every": 9000}, "checkpoint_every: 9000 is more than steps"),
    ],
)
def test_a_wrong_training_value_is_refused_by_name(change: dict[str, object], named: str) -> None:
    with pytest.raises(UserError) as caught:
        parse(Train, TRAIN | change)
    assert named in caught.value.line


def test_a_backend_of_the_user_s_own_passes() -> None:
    assert parse(Caption, {"backend": "my.module:Captioner"}).backend == "my.module:Captioner"


def test_settings_cannot_be_changed_after_they_were_read() -> None:
    settings = parse(Train, TRAIN)
    with pytest.raises(ValueError, match="frozen"):
        settings.steps = 3  # type: ignore[misc]


def test_a_stage_reads_its_own_sections_only(tmp_path: Path) -> None:
    class Params(Section):
        thresholds: Thresholds

    path = tmp_path / "params.yaml"
    path.write_text("thresholds: {face_pass: 0.7}\ntrain: {nonsense: 1}\n")
    assert read_params(Params, path).thresholds.face_pass == 0.7


@pytest.mark.parametrize("content", ["- a\n- b\n", "a: [1\n", "just words"])
def test_a_file_that_is_no_mapping_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(content)
    with pytest.raises(UserError, match=r"params\.yaml"):
        read_params(Train, path)


def test_a_missing_file_says_where_to_start(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="workspace"):
        read_params(Train, tmp_path / "params.yaml")


@pytest.mark.parametrize(
    ("score", "grade"), [(1.0, "A"), (0.85, "A"), (0.8499, "B"), (0.55, "C"), (0.40, "D"), (0.39, "F")]
)
def test_a_grade_begins_at_its_threshold(score: float, grade: str) -> None:
    assert Grades().of(score) == grade


@pytest.mark.parametrize("word", ["", " ", " ohwx", "ohwx ", "amira  noor", "amira\nnoor"])
@pytest.mark.parametrize("key", ["trigger", "class_word"])
def test_a_word_that_no_caption_could_name_is_refused(key: str, word: str) -> None:
    values = {"name": "x", "photos": "photos", "trigger": "ohwx", "class_word": "woman"} | {key: word}
    with pytest.raises(UserError, match=f"{key}: empty, or blanks around it"):
        parse(Dataset, values)


def test_a_fragment_to_drop_has_a_word_in_it_and_stands_in_a_list() -> None:
    assert parse(Caption, {"drop": ["the image shows"]}).drop == ("the image shows",)
    for drop in ("the image shows", [""], [", ."]):
        with pytest.raises(UserError, match="drop"):
            parse(Caption, {"drop": drop})
