"""A prompt that diffusers would cut off is said to be too long; ComfyUI reads all of it."""

from pathlib import Path

import pytest

from miniature.places import WEIGHTS
from stages.backends.generate.prompt_length import describe_overlong

BASE = WEIGHTS / "base"
MOST = 38  # the miniature's encoders read 40 tokens, two of which are the ends

pytestmark = pytest.mark.skipif(not BASE.exists(), reason="needs the miniature's weights")


def test_as_many_tokens_as_are_read_are_not_too_long() -> None:
    assert describe_overlong("diffusers", BASE, "smiling " * MOST) == ""
    assert describe_overlong("diffusers", BASE, "smiling " * (MOST + 1)) == f"{MOST + 1} tokens, and {MOST} are read"


def test_a_backend_that_reads_more_or_of_which_nothing_is_known_refuses_nothing(tmp_path: Path) -> None:
    assert describe_overlong("comfyui", BASE, "smiling " * 99) == ""
    assert describe_overlong("diffusers", tmp_path, "smiling " * 99) == ""
