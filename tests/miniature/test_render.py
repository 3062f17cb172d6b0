"""What the rest of the project relies on about the rendered world."""

import dataclasses
import itertools

import numpy as np
import pytest

from miniature import render as world


def _photo(person: int = 3, scene: int = 5, size: int = 64, **fixed) -> world.Render:
    return world.render(world.sample_identity(person), world.sample_scene(scene, **fixed), size)


def test_the_same_inputs_give_the_same_bytes():
    assert np.array_equal(_photo().image, _photo().image)
    assert np.array_equal(world.render_faceless(4).image, world.render_faceless(4).image)


@pytest.mark.parametrize(("width", "height"), [(48, 48), (64, 64), (64, 96), (96, 64), (200, 133), (512, 512)])
def test_pictures_have_the_size_that_was_asked_for(width, height):
    photo = world.render(world.sample_identity(1), world.sample_scene(2), width, height)
    assert photo.image.shape == (height, width, 3)
    assert photo.image.dtype == np.uint8
    assert photo.bbox.shape == (4,)
    assert photo.bbox.dtype == np.float32
    assert photo.landmarks.shape == (5, 2)
    assert photo.landmarks.dtype == np.float32


def test_another_scene_changes_the_picture_and_not_the_identity():
    who = world.sample_identity(3)
    before = who.vector()
    first, second = world.render(who, world.sample_scene(1)), world.render(who, world.sample_scene(2))
    assert np.abs(first.image.astype(int) - second.image).mean() > 10
    assert np.array_equal(before, who.vector())


def test_another_identity_changes_the_picture_in_the_same_scene():
    assert np.abs(_photo(3).image.astype(int) - _photo(4).image).mean() > 3


def test_identity_vectors_are_bounded_distinct_and_of_the_stated_length():
    vectors = np.stack([world.sample_identity(seed).vector() for seed in range(200)])
    assert vectors.shape == (200, world.IDENTITY_DIM)
    assert vectors.dtype == np.float32
    assert np.abs(vectors).max() <= 1.0001
    assert len(np.unique(vectors, axis=0)) == 200


def test_every_continuous_field_of_an_identity_has_a_range_and_the_reverse():
    fields = {field.name for field in dataclasses.fields(world.Identity)}
    assert fields - set(world.RANGES) == {"woman", "hair_style", "fringe", "beard"}
    assert set(world.RANGES) <= fields


def test_sex_can_be_fixed_and_women_have_no_beard():
    assert all(world.sample_identity(seed, woman=True).class_word == "woman" for seed in range(20))
    assert all(world.sample_identity(seed, woman=True).beard == "none" for seed in range(20))
    assert all(world.sample_identity(seed, woman=False).class_word == "man" for seed in range(20))


def test_a_caption_reads_as_documented():
    who = world.sample_identity(1, woman=True)
    scene = world.sample_scene(
        1, expression="smiling", eyewear="glasses", hat="cap", hat_colour="red", garment="shirt",
        garment_colour="blue", background="beach", framing="close-up", light="warm",
    )  # fmt: skip
    expected = "a woman, smiling, glasses, red cap, blue shirt, beach background, close-up, warm light"
    assert world.describe(who, scene) == expected
    bare = dataclasses.replace(scene, expression="neutral", eyewear="none", hat="none")
    assert world.describe(who, bare) == "a woman, neutral, blue shirt, beach background, close-up, warm light"


def test_captions_match_attributes():
    for seed in range(20):
        photo = _photo(seed, seed)
        words = photo.attributes
        assert photo.caption.startswith(f"a {words['class']}, {words['expression']}, ")
        assert (f"{words['hat_colour']} {words['hat']}" in photo.caption) == (words["hat"] != "none")
        assert f"{words['background']} background, {words['framing']}, {words['light']} light" in photo.caption


def test_boxes_and_landmarks_lie_inside_and_agree_with_the_framing():
    shares = {"close-up": (0.60, 0.76), "portrait": (0.45, 0.57), "medium": (0.32, 0.41)}
    for seed in range(60):
        photo = _photo(seed, seed)
        x0, y0, x1, y1 = photo.bbox
        low, high = shares[photo.attributes["framing"]]
        assert 0 <= x0 < x1 <= 64
        assert 0 <= y0 < y1 <= 64
        assert low <= (y1 - y0) / 64 <= high
        assert (photo.landmarks >= photo.bbox[:2]).all()
        assert (photo.landmarks <= photo.bbox[2:]).all()


def test_the_left_eye_is_left_of_the_right_and_the_mouth_is_below():
    for seed in range(60):
        left_eye, right_eye, nose, left_mouth, right_mouth = _photo(seed, seed).landmarks
        assert left_eye[0] < right_eye[0]
        assert left_mouth[0] < right_mouth[0]
        assert (left_eye + right_eye)[1] / 2 < nose[1] < (left_mouth + right_mouth)[1] / 2


def test_yaw_moves_the_nose_towards_the_side_the_person_looks_to():
    def lean(yaw: float) -> float:
        marks = _photo(scene=9, yaw=yaw, roll=0.0).landmarks
        return float(marks[2, 0] - marks[:2, 0].mean())

    leans = [lean(yaw) for yaw in (-35, -15, 0, 15, 35)]
    assert leans == sorted(leans)
    assert leans[0] < -0.5
    assert leans[-1] > 0.5


def test_landmarks_scale_with_the_picture():
    assert np.allclose(_photo(size=64).landmarks * 4, _photo(size=256).landmarks, atol=0.05)


def test_warm_light_is_warmer_than_cool_light():
    warm, cool = (_photo(light=light).image.reshape(-1, 3).mean(axis=0) for light in ("warm", "cool"))
    assert warm[0] - warm[2] > cool[0] - cool[2] + 20


def test_the_ends_of_a_mix_are_the_people_mixed():
    a, b = world.sample_identity(1), world.sample_identity(2)
    assert world.mix_identities(a, b, 0.0) == a
    assert world.mix_identities(a, b, 1.0) == b
    middle = world.mix_identities(a, b, 0.5)
    assert middle.skin_tone == pytest.approx((a.skin_tone + b.skin_tone) / 2)


def test_categorical_fields_of_a_mix_switch_one_after_another():
    a = world.sample_identity(1, woman=True)
    b = dataclasses.replace(world.sample_identity(2, woman=False), beard="full", hair_style="bald", fringe="none")
    a = dataclasses.replace(a, hair_style="bob", fringe="full")
    mixes = [world.mix_identities(a, b, fraction) for fraction in np.linspace(0, 1, 101)]
    keys = [(who.fringe, who.hair_style, who.woman, who.beard) for who in mixes]
    changes = [sum(p != q for p, q in zip(one, two, strict=True)) for one, two in itertools.pairwise(keys)]
    assert max(changes) == 1
    assert sum(changes) == 4


def test_fixed_scene_fields_override_and_leave_the_others():
    free, fixed = world.sample_scene(8), world.sample_scene(8, hat="beanie")
    assert fixed == dataclasses.replace(free, hat="beanie")


def test_an_unknown_scene_field_is_rejected():
    with pytest.raises(TypeError, match="moustache"):
        world.sample_scene(1, moustache="yes")


def test_faceless_pictures_have_no_box():
    for seed in range(12):
        photo = world.render_faceless(seed)
        assert photo.bbox is None
        assert photo.landmarks is None
        assert photo.image.shape == (64, 64, 3)
        assert photo.image.std() > 1


def test_new_hair_leaves_the_rest_of_the_person():
    who = world.sample_identity(6)
    cut = world.alter_hair(who, 1)
    assert cut.hair_style != who.hair_style
    for field in dataclasses.fields(world.Identity):
        if not field.name.startswith(("hair_", "fringe", "parting")):
            assert getattr(cut, field.name) == getattr(who, field.name)


@pytest.mark.parametrize("style", world.HAIR_STYLES)
@pytest.mark.parametrize("hat", world.HATS)
def test_every_hair_style_goes_with_every_hat(style, hat):
    who = dataclasses.replace(world.sample_identity(2), hair_style=style)
    assert world.render(who, world.sample_scene(3, hat=hat)).image.std() > 10
