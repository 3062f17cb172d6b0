"""From which step on a training overfits: planted curves of loss and likeness."""

import numpy as np
import pytest

from stages.measures.overfitting import find_overfitting, find_turn

STEPS = list(range(0, 1050, 50))


def losses(low: int, rise: float, noise: float = 0.0, seed: int = 0) -> list[float]:
    """Falls from .06 to .04 at step ``low``, then rises by ``rise`` until step 1000."""
    rng = np.random.default_rng(seed)
    falling = [0.06 - 0.02 * step / low if step <= low else 0.04 + rise * (step - low) / (1000 - low) for step in STEPS]
    return [value + float(rng.normal(0, noise)) for value in falling]


def likeness(*means: float, pictures: int = 32) -> np.ndarray:
    rng = np.random.default_rng(1)
    return np.array(means)[:, None] + rng.normal(0, 0.1, pictures) + rng.normal(0, 0.02, (len(means), pictures))


def test_a_loss_that_rises_for_good_turns_at_its_lowest() -> None:
    turn = find_turn(STEPS, losses(400, 0.01))
    assert turn is not None
    assert turn.step == 400
    assert turn.p_value < 0.001
    assert turn.rise == pytest.approx(0.43, abs=0.05)


@pytest.mark.parametrize("rise", [0.0, -0.005, 0.0015])
def test_a_loss_that_stays_falls_or_hardly_rises_does_not_turn(rise: float) -> None:
    assert find_turn(STEPS, losses(400, rise)) is None


def test_noise_alone_seldom_turns() -> None:
    turned = sum(find_turn(STEPS, losses(400, 0.0, noise=0.001, seed=seed)) is not None for seed in range(200))
    assert turned <= 20


def test_too_few_measurements_say_nothing() -> None:
    assert find_turn([], []) is None
    assert find_turn([0, 50, 100, 150, 200], [0.06, 0.04, 0.05, 0.055, 0.06]) is None


def test_the_first_checkpoint_that_no_later_one_beats_is_named() -> None:
    turn = find_turn(STEPS, losses(400, 0.01))
    checkpoints = [200, 400, 600, 800, 1000]
    assert find_overfitting(checkpoints, likeness(0.4, 0.6, 0.7, 0.7, 0.7), turn) == 600
    assert find_overfitting(checkpoints, likeness(0.4, 0.7, 0.7, 0.7, 0.7), turn) == 400


def test_a_training_whose_likeness_still_grows_does_not_overfit() -> None:
    turn = find_turn(STEPS, losses(400, 0.01))
    assert find_overfitting([200, 400, 600, 800, 1000], likeness(0.3, 0.4, 0.5, 0.6, 0.7), turn) is None


def test_a_large_gain_counts_although_a_lost_face_hides_it_from_the_test() -> None:
    turn, scores = find_turn(STEPS, losses(400, 0.01)), likeness(0.6, 0.69, 0.7, 0.7, pictures=16)
    scores[1, 3] = 0.0
    assert find_overfitting([200, 400, 600, 800], scores, turn) == 600


def test_without_a_turn_of_the_loss_nothing_overfits() -> None:
    assert find_overfitting([200, 400], likeness(0.7, 0.7), None) is None


def test_what_comes_after_the_last_checkpoint_is_not_known() -> None:
    assert find_overfitting([200, 400], likeness(0.5, 0.7), find_turn(STEPS, losses(400, 0.01))) is None
