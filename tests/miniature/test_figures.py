"""miniature/metrics.json speaks of the weights that are committed."""

import json
from typing import Any

import pytest

from miniature.__main__ import differences
from miniature.figures import AIMS, PARTS, measure, measure_all, weights_sha256
from miniature.places import DEVELOPMENT, METRICS, PERSONA, TRAINING, VALIDATION


@pytest.fixture(scope="module")
def recorded() -> dict[str, Any]:
    return json.loads(METRICS.read_text())


def test_the_recorded_hashes_are_those_of_the_committed_weights(recorded: dict[str, Any]) -> None:
    assert recorded["weights"] == weights_sha256()


def test_every_aim_has_a_recorded_figure(recorded: dict[str, Any]) -> None:
    for name in AIMS:
        part, key = name.split(".")
        assert key in recorded["figures"][part]
    assert set(recorded["training_seconds"]) == set(PARTS)


def test_a_figure_that_moved_is_reported(recorded: dict[str, Any]) -> None:
    figures = json.loads(json.dumps(recorded["figures"]))
    assert differences(recorded, figures) == []
    figures["vae"]["vae_psnr_db"] -= 1
    assert any("vae_psnr_db" in line for line in differences(recorded, figures))


def test_the_persona_belongs_to_no_other_range() -> None:
    assert all(PERSONA not in seeds for seeds in (TRAINING, VALIDATION, DEVELOPMENT))
    assert not set(DEVELOPMENT) & (set(TRAINING) | set(VALIDATION))


def test_the_renderer_is_fast_enough_to_feed_training() -> None:
    assert measure("renderer")["renders_per_cpu_second"] > 75


@pytest.mark.slow
def test_the_committed_weights_give_the_recorded_figures(recorded: dict[str, Any]) -> None:
    assert differences(recorded, measure_all()) == []
