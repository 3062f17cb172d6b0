"""What the study of planted truth makes of finished runs; the runs themselves take an hour."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from miniature import ablation, truth
from miniature.persona import persona, photo_files
from miniature.places import DEVELOPMENT, PERSONA
from miniature.trial import find_person, recipe_params
from stages.contracts.settings import everything, find_problems


def case(flags: list[str], expected: list[str], likeness: float = 80.0) -> dict[str, Any]:
    return {"likeness": likeness, "second_likeness": likeness, "prior_preservation": 70.0, "memorised": 0.0,
            "base_memorised": 0.0, "adherence": 0.6, "flags": flags, "expected": expected}  # fmt: skip


CASES = {
    "healthy": case([], []),
    "overtrained, no captions": case(["memorising", "leaking"], ["memorising"]),
    "unregularized": case(["leaking"], ["leaking"]),
    truth.WRONG: case(["wrong_identity"], ["wrong_identity"], likeness=-20.0),
}
FOLLOWS = {column: {"rho": 0.95, "low": 0.9, "high": 1.0} for column in truth.LIKENESS}


def test_a_mixture_has_the_stranger_s_scenes_and_ends_at_the_persona() -> None:
    assert find_person("dev1") == (DEVELOPMENT[1], persona(DEVELOPMENT[1]))
    assert find_person("dev1-100") == (DEVELOPMENT[1], persona(PERSONA))
    seed, half = find_person("dev1-050")
    assert half not in (persona(seed), persona(PERSONA))
    assert photo_files(seed, 5) != photo_files(seed, 5, half)
    assert photo_files(seed, 5, persona(seed)) == photo_files(seed, 5)


@pytest.mark.parametrize("identity", ["persona", "dev0", "dev1", "dev1-045"])
def test_everybody_is_called_what_the_photos_show(identity: str) -> None:
    assert find_person(identity)[1].class_word == recipe_params(truth.RECIPE, 0, [])["dataset"]["class_word"]


def test_there_are_eight_mixtures_with_names_of_their_own() -> None:
    names = [truth.name_mixture(fraction) for fraction in truth.FRACTIONS]
    assert len(set(names)) == len(names) >= 8
    assert (truth.FRACTIONS[0], truth.FRACTIONS[-1], names[0]) == (0, 100, truth.STRANGER)


@pytest.mark.parametrize("name", sorted(truth.FAULTS))
def test_every_case_composes_and_is_valid(name: str) -> None:
    params = recipe_params(truth.RECIPE, truth.SEED, truth.FAULTS[name][0])
    assert find_problems(everything(), params) == []
    assert params["train"]["checkpoint_every"] == params["train"]["steps"]  # one checkpoint: no sweep chooses


def test_the_healthy_and_the_unregularized_lora_are_the_ablation_s() -> None:
    assert (truth.STRANGER, truth.SEED) in ablation.PAIRS
    changes = ablation.VARIATIONS["no regularization images"]
    saved = ["train.checkpoint_every=500", "train.holdout_every=100"]
    for name, own in (("healthy", []), ("unregularized", changes)):
        theirs = recipe_params(ablation.RECIPE, truth.SEED, [*own, *saved, *ablation.USE])
        assert recipe_params(truth.RECIPE, truth.SEED, truth.FAULTS[name][0]) == theirs


def test_likeness_that_rises_with_the_fraction_follows_it_and_noise_does_not() -> None:
    rng = np.random.default_rng(0)
    rising = np.array(truth.FRACTIONS) + rng.normal(0, 10, (24, len(truth.FRACTIONS)))
    found = truth.follow(truth.FRACTIONS, rising)
    assert found["rho"] == 1.0
    assert found["low"] > 0.9
    noise = truth.follow(truth.FRACTIONS, rng.normal(0, 10, (24, len(truth.FRACTIONS))))
    assert noise["low"] < 0.5
    assert noise["low"] <= noise["rho"] <= noise["high"]


def test_only_the_lora_s_own_pictures_are_read_prompt_by_prompt(tmp_path: Path) -> None:
    rows = [("lora", 0, 10.0), ("lora", 0, 20.0), ("lora", 1, 50.0), ("base", 0, 900.0), ("class", 1, 900.0)]
    (tmp_path / "metrics").mkdir()
    table = pd.DataFrame(rows, columns=["set", "prompt_index", "likeness"])
    table.to_csv(tmp_path / "metrics" / "per_image.csv", index=False)
    assert truth.read_prompts(tmp_path, "likeness").tolist() == [15.0, 50.0]


def test_everything_holds_only_where_every_fault_raises_its_flag_and_health_none() -> None:
    assert all(truth.check(FOLLOWS, CASES).values())
    broken = {
        "the healthy LoRA has no flag": {"healthy": case(["copying"], [])},
        "unregularized: leaking": {"unregularized": case(["memorising"], ["leaking"])},
        "wrong identity: 10 or less on the ruler, both judges": {
            truth.WRONG: case(["wrong_identity"], ["wrong_identity"], likeness=11.0)
        },
    }
    for what, change in broken.items():
        held = truth.check(FOLLOWS, CASES | change)
        assert [name for name, ok in held.items() if not ok] == [what]
    weak = FOLLOWS | {"second_likeness": {"rho": 0.89, "low": 0.8, "high": 0.95}}
    assert not next(iter(truth.check(weak, CASES).values()))


def test_the_tables_show_mixtures_cases_and_what_does_not_hold() -> None:
    mixtures = [{"fraction": f / 100, "likeness": f * 0.8, "second_likeness": f * 0.9} for f in truth.FRACTIONS]
    holds = truth.check(FOLLOWS, CASES | {"healthy": case(["leaking"], [])})
    page = truth.render_tables({"mixtures": mixtures, "spearman": FOLLOWS, "cases": CASES, "holds": holds})
    assert "| 45% | 36 | 40 |" in page
    assert "| **Spearman** | 0.95 (0.90 to 1.00) | 0.95 (0.90 to 1.00) |" in page
    assert "| overtrained, no captions | 80 | 80 | 70 | 0% (0%) | 0.60 | memorising, leaking | memorising |" in page
    assert "* **does not hold**: the healthy LoRA has no flag" in page
