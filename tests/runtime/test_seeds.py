"""Seeds are named for their use."""

from hypothesis import given
from hypothesis import strategies as st

from stages.runtime.seeds import derive_seed


def test_a_seed_is_the_same_on_every_machine() -> None:
    assert derive_seed(0, "noise", 3) == 6757770607321690014


@given(st.integers(0, 2**62), st.text(), st.text())
def test_another_use_is_another_seed(seed: int, one: str, other: str) -> None:
    assert 0 <= derive_seed(seed, one) < 2**63
    assert (derive_seed(seed, one) == derive_seed(seed, other)) == (one == other)


def test_names_do_not_run_into_each_other() -> None:
    assert derive_seed(0, "ab", "c") != derive_seed(0, "a", "bc")
