"""Numbers and names as the page shows them."""

import pytest

from stages.reports.page.words import cut, name_of, show_interval, show_number


@pytest.mark.parametrize(
    ("column", "value", "sign", "said"),
    [
        ("similarity", 0.6494, "", "0.649"), ("similarity", -0.0214, "+", "−0.021"), ("likeness", 73.96, "", "74.0"),
        ("prior_preservation", 53.25, "+", "+53.2"), ("passed", 0.354, "", "35%"), ("face_found", 0.975, "", "98%"),
        ("confirm_pass_rate", 0.125, "", "12%"), ("confirm_detection_rate", 1.0, "", "100%"),
        ("similarity", None, "+", "–"), ("passed", -0.05, "+", "−5%"),
    ],
)  # fmt: skip
def test_a_value_has_its_column_s_unit_and_digits(column: str, value: float | None, sign: str, said: str) -> None:
    assert show_number(column, value, sign) == said


def test_an_interval_needs_both_ends() -> None:
    assert show_interval("likeness", -3.14, 8.26, "+") == "−3.1 to +8.3"
    assert show_interval("likeness", None, 8.2) == show_interval("likeness", -3.1, None) == ""


@pytest.mark.parametrize(
    ("column", "name"),
    [
        ("similarity", "Similarity, face pack"), ("confirm_similarity_mean", "Similarity, face pack, fresh seeds"),
        ("second_likeness", "Likeness, second judge"), ("nearest_bits", "Nearest bits"), ("guidance", "CFG"),
    ],
)  # fmt: skip
def test_a_column_goes_by_its_name(column: str, name: str) -> None:
    assert name_of(column) == name


def test_what_is_too_long_is_cut_to_the_length_with_an_ellipsis() -> None:
    assert cut("abcdef", 6) == "abcdef"
    assert cut("abcdefg", 6) == "abcde…"
