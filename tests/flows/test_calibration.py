"""Genuine and impostor scores become rates, thresholds and warnings."""

from typing import Any

import numpy as np
import pytest

from stages.contracts.calibration import read_calibration, write_calibration
from stages.contracts.generation import Face
from stages.contracts.manifest import Photo
from stages.contracts.measure_settings import Pose
from stages.contracts.settings import Thresholds
from stages.flows.calibration import calibrate
from stages.flows.judged import Judged, Photos
from stages.flows.scoring import References, Score
from stages.flows.sights import Sight
from stages.measures.skin import NO_FACE, SkinFeatures, skin_references
from stages.runtime.errors import UserError

FACE = Face(np.zeros(4), np.zeros((5, 2)), 1.0, np.ones(1))
SKIN = skin_references([SkinFeatures(0.0, 0.0, 0.0, 0.0, np.ones(4) / 4)])
UNIT = np.ones((1, 1), np.float32)


def scored(similarity: float, second: float | None = None, found: bool = True) -> Score:
    sight = Sight(FACE if found else None, UNIT[0] if found else None, UNIT[0], (0, 0))
    return Score(found, similarity, similarity if second is None else second, NO_FACE, 0.3, sight)


def photo(number: int, group: int) -> Photo:
    return Photo(
        filename=f"{number}.jpg", sha256="", size_bytes=1, width=1, height=1, caption_file="", caption_text="",
        caption_sha256="", phash="0" * 16, group=group, split="train",
    )  # fmt: skip


def judged(own: list[Score], base: list[Score], others: list[Score], groups: list[int] | None = None) -> Judged:
    train = [photo(n, group) for n, group in enumerate(groups or range(len(own)))]
    photos = Photos(train, own, [photo(99, 99)], References(UNIT, UNIT, SKIN, 0, ()))
    return Judged({}, {"base": base}, photos, others, Pose())


def ladder(low: float, high: float, count: int) -> list[Score]:
    return [scored(float(value)) for value in np.linspace(low, high, count)]


def test_photos_of_the_person_are_refused_and_strangers_let_pass_at_the_rates_that_are_said() -> None:
    found = calibrate(judged(ladder(0.5, 0.9, 21), ladder(-0.2, 0.4, 50), ladder(0.0, 0.7, 71)), Thresholds(), "amira")
    assert (found.faces.frr.count, found.faces.frr.trials) == (5, 21)
    assert (found.faces.far.count, found.faces.far.trials) == (11, 121)
    assert (found.class_images, found.base_pictures) == (71, 50)
    assert found.faces.genuine == sorted(found.faces.genuine)


def test_a_threshold_that_is_wrong_for_this_person_is_warned_of_with_how_sure_that_is() -> None:
    found = calibrate(judged(ladder(0.3, 0.9, 61), [], ladder(-0.2, 0.62, 100)), Thresholds(), "amira")
    refuses, lets = found.faces.warnings
    assert refuses.startswith("The threshold 0.6 of the face pack is wrong for this person: it refuses 30 of 61 photos")
    assert lets.startswith(
        "The threshold 0.6 of the face pack may be wrong for this person: it lets 3 of 100 other people"
    )
    assert found.second.warnings[0].startswith("The threshold 0.6 of the second judge")


def test_a_threshold_that_divides_well_is_not_warned_of() -> None:
    found = calibrate(judged(ladder(0.7, 0.9, 25), ladder(0, 0.3, 40), ladder(0, 0.4, 90)), Thresholds(), "amira")
    assert found.faces.warnings == found.second.warnings == []


def test_a_face_that_is_not_found_is_a_refused_photo_but_no_stranger() -> None:
    own = [*ladder(0.7, 0.9, 9), scored(0.0, found=False)]
    found = calibrate(judged(own, [scored(0.0, found=False)] * 5, ladder(0, 0.3, 20)), Thresholds(), "amira")
    assert (found.faces.frr.count, found.faces.frr.trials) == (1, 10)
    assert found.faces.far.trials == 20
    assert found.base_pictures == 0


def test_two_shots_of_one_moment_are_one_trial() -> None:
    found = calibrate(judged(ladder(0.5, 0.9, 6), [], ladder(0, 0.3, 20), [0, 0, 0, 1, 2, 2]), Thresholds(), "amira")
    assert found.faces.frr.trials == 3


def test_each_judge_has_its_own_threshold() -> None:
    own = [scored(0.65, 0.7)] * 10
    found = calibrate(judged(own, [], ladder(0, 0.3, 20)), Thresholds(second_pass=0.8), "amira")
    assert (found.faces.frr.count, found.second.frr.count) == (0, 10)


def test_every_score_is_listed_with_its_own_judge_and_of_a_moment_the_first() -> None:
    own = [scored(0.7, 0.35), scored(0.9, 0.2), scored(0.512349, 0.8), scored(0.6, 0.9)]
    strangers, base = [scored(0.3, 0.01), scored(0.1, 0.4)], [scored(-0.2, 0.15)]
    limits = Thresholds(face_pass=0.6, second_pass=0.5)
    found = calibrate(judged(own, base, strangers, [4, 4, 2, 9]), limits, "amira")
    assert (found.dataset, found.references, found.class_images, found.base_pictures) == ("amira", 1, 2, 1)
    assert (found.faces.genuine, found.faces.impostor) == ([0.5123, 0.6, 0.7], [-0.2, 0.1, 0.3])
    assert (found.second.genuine, found.second.impostor) == ([0.35, 0.8, 0.9], [0.01, 0.15, 0.4])
    assert (found.faces.threshold, found.second.threshold) == (0.6, 0.5)
    assert (found.faces.frr.count, found.second.frr.count) == (1, 1)  # 0.6 reaches the threshold


def test_a_warning_tells_the_judge_the_count_the_interval_and_the_limit() -> None:
    """Clopper and Pearson's interval of 4 of 16 is 7.3% to 52.4%, that of 3 of 3 is 29.2% to 100%."""
    own = [scored(0.9, 0.3)] * 4 + [scored(0.9, 0.85)] * 12
    found = calibrate(judged(own, [], [scored(0.1, 0.75)] * 3), Thresholds(second_pass=0.7), "amira")
    assert found.faces.warnings == []
    assert found.second.warnings == [
        "The threshold 0.7 of the second judge may be wrong for this person: it refuses 4 of 16 photos of this person "
        "(7.3% to 52.4%; 10% is the limit).",
        "The threshold 0.7 of the second judge is wrong for this person: it lets 3 of 3 other people pass "
        "(29.2% to 100.0%; 1% is the limit).",
    ]


def test_without_other_people_nothing_is_said_of_them() -> None:
    found = calibrate(judged(ladder(0.7, 0.9, 10), [], []), Thresholds(), "amira")
    assert found.faces.far.rate is None
    assert found.faces.strict.value is None
    assert found.faces.warnings == []


def test_a_calibration_comes_back_as_it_was_written(tmp_path: Any) -> None:
    found = calibrate(judged(ladder(0.5, 0.9, 21), [], ladder(0.0, 0.7, 120)), Thresholds(), "amira")
    write_calibration(found, tmp_path / "c.json")
    assert read_calibration(tmp_path / "c.json") == found
    with pytest.raises(UserError, match="run `dvc repro eval`"):
        read_calibration(tmp_path / "none.json")
