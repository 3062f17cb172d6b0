"""The likeness ruler pose by pose, and how sure its figures are."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.contracts.findings import Anchors, Ends
from stages.measures.rulers import ALL, Sample, build_anchors, likeness_intervals, place_on_ruler
from stages.runtime.errors import UserError

TURNED = 0.15  # what a half profile loses against frontal references


def draw(
    rng: np.random.Generator, level: float, count: int, half: float, spread: float = 0.05, each: int = 1
) -> Sample:
    """Pictures around ``level``, a share ``half`` of them half profiles, in clusters of ``each`` that share a part."""
    pose = np.where(rng.random(count) < half, "half profile", "frontal")
    cluster = np.arange(count) // each
    shared = rng.normal(0, spread, cluster.max() + 1)[cluster]
    value = level - TURNED * level * (pose == "half profile") + shared + rng.normal(0, spread / 2, count)
    return Sample(value, pose, cluster)


def mean_likeness(sample: Sample, anchors: Anchors) -> float:
    return float(place_on_ruler(sample.similarity_N, sample.pose_N, anchors).mean())


def test_in_every_pose_the_base_model_stands_at_0_and_real_photos_at_100() -> None:
    rng = np.random.default_rng(0)
    base, real = draw(rng, 0.05, 60, 0.4), draw(rng, 0.8, 40, 0.4)
    anchors = build_anchors(base, real, 8)
    assert set(anchors.poses) == {"frontal", "half profile"}
    assert anchors.poses["half profile"].photos == (real.pose_N == "half profile").sum()
    for sample, end in ((base, 0), (real, 100)):
        placed = place_on_ruler(sample.similarity_N, sample.pose_N, anchors)
        for pose in anchors.poses:
            assert placed[sample.pose_N == pose].mean() == pytest.approx(end, abs=1e-9)


def test_a_pose_with_too_few_photos_or_pictures_is_measured_on_the_ruler_of_all_poses() -> None:
    rng = np.random.default_rng(1)
    base, real = draw(rng, 0.05, 60, 0.5), draw(rng, 0.8, 40, 0.1)
    assert set(build_anchors(base, real, 8).poses) == {"frontal"}
    assert build_anchors(base, real, 100).poses == {}
    pooled = build_anchors(base, real, 100)
    assert (pooled.base, pooled.real) == (base.similarity_N.mean(), real.similarity_N.mean())
    half = base.pose_N == "half profile"
    placed = place_on_ruler(base.similarity_N, base.pose_N, build_anchors(base, real, 8))
    np.testing.assert_allclose(placed[half], place_on_ruler(base.similarity_N, base.pose_N, pooled)[half])


def test_a_version_is_not_praised_for_drawing_frontal_faces_alone() -> None:
    rng = np.random.default_rng(2)
    base, real = draw(rng, 0.05, 200, 0.5), draw(rng, 0.8, 200, 0.5)
    frontal, turned = draw(rng, 0.6, 200, 0.0), draw(rng, 0.6, 200, 1.0)
    by_pose, pooled = build_anchors(base, real, 8), build_anchors(base, real, 1000)
    assert mean_likeness(frontal, pooled) - mean_likeness(turned, pooled) > 8
    assert abs(mean_likeness(frontal, by_pose) - mean_likeness(turned, by_pose)) < 3


def test_a_picture_without_a_face_is_placed_on_the_ruler_of_all_poses() -> None:
    anchors = Anchors(base=0.1, real=0.9, poses={"frontal": Ends(base=0.2, real=0.7, photos=9, pictures=9)})
    placed = place_on_ruler(np.array([0.0, 0.2, 0.7]), np.array(["no face", "frontal", "frontal"]), anchors)
    np.testing.assert_allclose(placed, [-12.5, 0, 100])


def test_a_judge_that_does_not_know_the_person_is_refused() -> None:
    rng = np.random.default_rng(3)
    with pytest.raises(UserError, match="no ruler"):
        build_anchors(draw(rng, 0.3, 40, 0.3), draw(rng, 0.3, 40, 0.3), 8)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000), fewest=st.integers(1, 60))
def test_an_interval_holds_the_mean_that_it_is_about(seed: int, fewest: int) -> None:
    rng = np.random.default_rng(seed)
    base, real, ours = draw(rng, 0.05, 40, 0.3, each=2), draw(rng, 0.8, 24, 0.3), draw(rng, 0.6, 40, 0.3, each=2)
    anchors = build_anchors(base, real, fewest)
    found = likeness_intervals(ours, base, real, anchors, resamples=300, seed=1)
    placed = place_on_ruler(ours.similarity_N, ours.pose_N, anchors)
    means = {ALL: placed.mean()} | {pose: placed[ours.pose_N == pose].mean() for pose in np.unique(ours.pose_N)}
    assert set(found) == set(means)
    assert all(found[pose].low <= mean <= found[pose].high for pose, mean in means.items())
    assert found == likeness_intervals(ours, base, real, anchors, resamples=300, seed=1)


def test_the_ends_of_the_ruler_are_as_uncertain_as_few_photos_leave_them() -> None:
    rng = np.random.default_rng(4)
    ours, base = draw(rng, 0.75, 48, 0.0, each=2), draw(rng, 0.05, 48, 0.0, each=2)
    widths = {}
    for photos in (8, 400):
        real = draw(rng, 0.8, photos, 0.0)
        (found,) = [likeness_intervals(ours, base, real, build_anchors(base, real, 8), resamples=2000, seed=0)[ALL]]
        widths[photos] = found.high - found.low
    assert widths[8] > 1.25 * widths[400]


def test_intervals_cover_the_true_likeness_about_as_often_as_they_say() -> None:
    """24 prompts of two seeds, 24 photos: 150 evaluations of a version whose true likeness is known."""
    truth, hits, runs = 100 * (0.6 - 0.05) / (0.8 - 0.05), 0, 150
    for number in range(runs):
        rng = np.random.default_rng([9, number])
        base, real = draw(rng, 0.05, 48, 0.0, each=2), draw(rng, 0.8, 24, 0.0)
        ours = draw(rng, 0.6, 48, 0.0, each=2)
        found = likeness_intervals(ours, base, real, build_anchors(base, real, 8), resamples=400, seed=number)[ALL]
        hits += found.low <= truth <= found.high
    assert 0.88 <= hits / runs <= 1.0


def test_with_one_prompt_there_is_nothing_to_resample() -> None:
    rng = np.random.default_rng(5)
    base, real, ours = (draw(rng, level, 12, 0.0, each=12) for level in (0.05, 0.8, 0.6))
    anchors = build_anchors(base, real, 50)
    found = likeness_intervals(ours, base, real, anchors, resamples=100, seed=0)[ALL]
    assert found.low == found.high == pytest.approx(mean_likeness(ours, anchors))
