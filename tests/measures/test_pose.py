"""Yaw from five landmarks, against faces whose yaw is known."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from miniature.places import WEIGHTS
from miniature.render import Render, render, sample_identity, sample_scene
from stages.backends.faces import open_face_judge
from stages.contracts.settings import FacePack, Machine
from stages.measures.pose import NO_FACE, estimate_yaw, name_pose, name_side

DRAWN_DEPTH = 0.347  # of the renderer's heads, on average
FRONT = np.array([[20.0, 20.0], [60.0, 20.0], [40.0, 40.0], [28.0, 60.0], [52.0, 60.0]])


def turned_heads(count: int) -> list[tuple[float, Render]]:
    yaws = np.random.default_rng(5).uniform(-40, 40, count)
    people = [sample_identity(2_000_000 + number) for number in range(count)]
    return [
        (float(yaw), render(who, sample_scene(9000 + number, yaw=float(yaw)), 96))
        for number, (yaw, who) in enumerate(zip(yaws, people, strict=True))
    ]


def test_the_yaw_of_drawn_heads_is_read_from_their_true_landmarks_within_three_degrees() -> None:
    errors = [estimate_yaw(head.landmarks, DRAWN_DEPTH) - yaw for yaw, head in turned_heads(60)]
    assert np.sqrt(np.mean(np.square(errors))) < 3
    assert abs(np.mean(errors)) < 1


def test_the_yaw_of_drawn_heads_is_read_from_a_detector_s_landmarks_within_seven_degrees(judges: None) -> None:
    pack = FacePack(path=WEIGHTS / "faces/models/miniature", licence="test", detection_size=128)
    heads = turned_heads(60)
    faces = open_face_judge(pack, Machine(threads=1)).faces([head.image for _, head in heads])
    found = np.array([(estimate_yaw(f.landmarks, 0.31), yaw) for f, (yaw, _) in zip(faces, heads, strict=True) if f])
    assert len(found) > 55
    assert np.sqrt(np.mean(np.square(found[:, 0] - found[:, 1]))) < 7
    assert np.corrcoef(found.T)[0, 1] > 0.95
    assert np.mean([name_pose(a, 12, 30) == name_pose(b, 12, 30) for a, b in found]) > 0.75


@settings(deadline=None)
@given(
    yaw=st.floats(-75, 75), roll=st.floats(-180, 180), scale=st.floats(0.1, 50), x=st.floats(-500, 500),
    y=st.floats(-500, 500), depth=st.floats(0.2, 0.9),
)  # fmt: skip
def test_a_head_of_known_depth_gives_its_yaw_back_however_it_is_turned_in_the_picture(
    yaw: float, roll: float, scale: float, x: float, y: float, depth: float
) -> None:
    turn = np.radians(yaw)
    points = np.array([[-0.5, -1, 0], [0.5, -1, 0], [0, -0.2, depth], [-0.35, 1, 0], [0.35, 1, 0]])
    across = points[:, 0] * np.cos(turn) + points[:, 2] * np.sin(turn)
    flat = (across + 1j * points[:, 1]) * scale * np.exp(1j * np.radians(roll)) + complex(x, y)
    assert estimate_yaw(np.stack([flat.real, flat.imag], axis=1), depth) == pytest.approx(yaw, abs=0.01)


@settings(deadline=None)
@given(st.lists(st.floats(-100, 100), min_size=10, max_size=10))
def test_any_landmarks_give_an_angle_and_their_mirror_image_gives_the_opposite(values: list[float]) -> None:
    points = np.array(values).reshape(5, 2)
    yaw = estimate_yaw(points, 0.6)
    assert -90 <= yaw <= 90
    mirrored = points[[1, 0, 2, 4, 3]] * (-1, 1)
    assert estimate_yaw(mirrored, 0.6) == pytest.approx(-yaw, abs=1e-6)


def test_a_face_that_looks_at_the_camera_is_frontal_and_a_nose_on_the_right_looks_right() -> None:
    assert estimate_yaw(FRONT, 0.6) == 0
    looking_right = FRONT + np.array([[0, 0], [0, 0], [12, 0], [0, 0], [0, 0]])
    assert estimate_yaw(looking_right, 0.6) == pytest.approx(np.degrees(np.arctan(0.3 / 0.6)))


def test_five_points_in_one_place_are_taken_for_a_frontal_face() -> None:
    assert estimate_yaw(np.ones((5, 2)), 0.6) == 0


@pytest.mark.parametrize(
    ("yaw", "pose", "side"),
    [
        (0.0, "frontal", "frontal"), (-19.9, "frontal", "frontal"), (20.0, "half profile", "right half profile"),
        (-49.0, "half profile", "left half profile"), (-50.0, "profile", "left profile"),
        (88.0, "profile", "right profile"),
    ],
)  # fmt: skip
def test_poses_begin_where_the_settings_say(yaw: float, pose: str, side: str) -> None:
    assert name_pose(yaw, 20, 50) == pose
    assert name_side(yaw, 20, 50) == side


def test_without_a_face_there_is_no_pose() -> None:
    assert name_pose(None, 20, 50) == NO_FACE
