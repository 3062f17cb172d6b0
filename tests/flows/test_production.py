"""One picture for use: what is known of it, and what it is compared with."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from producing import choose, params, policy

from stages.contracts.policy import Refused
from stages.contracts.settings import read_machine
from stages.flows.production import Made, Production, open_production
from stages.flows.production_recipe import choose_recipe

LIMITS = {"realism": 0.0, "adherence": -1.0}
SMILE = "{trigger}, a {class_word}, smiling"


@contextmanager
def production(**options: Any) -> Iterator[Production]:
    sections = params(thresholds={"batch": LIMITS})
    with open_production(sections, read_machine(), choose_recipe(), "c" * 64, policy(), **options) as opened:
        yield opened


def make(opened: Production, *seeds: int, prompt: str = SMILE) -> list[Made]:
    return list(opened.make([opened.order(prompt, seed, name=f"{n}.png") for n, seed in enumerate(seeds)]))


@pytest.fixture(autouse=True)
def ready(workspace: Path) -> None:
    """A workspace in which the sweep has chosen."""
    choose()


def test_the_same_picture_again_is_a_near_duplicate_of_the_first() -> None:
    with production() as opened:
        first, again = make(opened, 5, 5)
    assert first.record.approved
    assert first.record.scores.nearest_file == ""
    assert (again.record.scores.nearest_file, again.record.scores.nearest_bits) == ("0.png", 0)
    assert again.record.reasons[0].startswith("near-duplicate: 0 bits and cosine 1.0000 from 0.png")
    assert np.array_equal(first.pixels, again.pixels)


def test_only_what_was_accepted_is_remembered_and_no_more_than_was_asked_for() -> None:
    with production(remembered=1) as opened:
        make(opened, 5, prompt="nobody")
        assert len(opened.accepted) == 0
        make(opened, 5, 6, 7)
        assert len(opened.accepted) == 1


def test_what_was_drawn_is_kept_where_it_is_asked_to_be(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    with production(kept=kept) as opened:
        made = make(opened, 5, 6)
    assert len(list(kept.glob("*.png"))) == len(made) == 2
    with production(kept=kept) as opened:
        assert [one.record for one in make(opened, 5, 6)] == [one.record for one in made]


def test_an_order_says_everything_that_decides_the_picture() -> None:
    with production() as opened:
        order = opened.order(SMILE, 5, "hat", batch="b" * 12)
    assert order.name == "persona_smiling_s5.png"
    assert order.shows == "a woman, smiling"
    origin = order.origin
    assert (origin.prompt, origin.text, origin.negative_prompt) == (SMILE, "amira, a woman, smiling", "hat")
    assert (origin.batch, origin.seed, origin.subject_sha256) == ("b" * 12, 5, "c" * 64)
    for name in ("strength", "mode", "guidance", "sampler", "steps", "width", "height"):
        assert getattr(origin, name) == getattr(order.request, name)
    assert order.request.lora == Path(origin.lora)


@pytest.mark.parametrize(("prompt", "rule"), [(" ", "empty"), ("a {hero}", "unknown word"), ("a child", "minors")])
def test_a_prompt_that_is_not_drawn_is_refused_by_rule(prompt: str, rule: str) -> None:
    with production() as opened, pytest.raises(Refused) as caught:
        opened.order(prompt, 1)
    assert caught.value.rule == rule


def test_a_picture_that_the_classifier_flags_is_rejected() -> None:
    class Strict:
        def flag(self, images: Any) -> list[float]:
            return [0.1] * len(images)

    with production() as opened:
        opened.safety = Strict()
        (made,) = make(opened, 5)
    assert made.record.scores.safety == 0.1
    assert made.record.reasons == ("safety: classifier 0.1000, not less than 0 (policy.threshold)",)
