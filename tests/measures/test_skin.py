"""Skin realism: what is done to the skin of a rendered face must show, and in the right figure."""

from collections.abc import Callable
from functools import cache
from itertools import pairwise

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from miniature.render import render, sample_identity, sample_scene
from stages.measures import skin

SIZE, REFERENCES, PICTURES = 96, 14, 14
PEOPLE = (1_500_001, 1_500_002, 1_500_003)


def blurred(sigma: float) -> Callable[[np.ndarray], np.ndarray]:
    return lambda image: cv2.GaussianBlur(image, (0, 0), sigma)


def noisy(sigma: float) -> Callable[[np.ndarray], np.ndarray]:
    noise = np.random.default_rng(1).standard_normal((SIZE, SIZE, 3)) * sigma
    return lambda image: np.clip(image + noise, 0, 255).astype(np.uint8)


def coloured(factor: float) -> Callable[[np.ndarray], np.ndarray]:
    def change(image: np.ndarray) -> np.ndarray:
        lab = cv2.cvtColor(image.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
        lab[..., 1:] *= factor
        return np.rint(np.clip(cv2.cvtColor(lab, cv2.COLOR_LAB2RGB), 0, 1) * 255).astype(np.uint8)

    return change


def green(image: np.ndarray) -> np.ndarray:
    return np.clip(image * np.array([0.85, 1.2, 0.85]), 0, 255).astype(np.uint8)


CHANGES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "clean": lambda image: image, "blur 0.8": blurred(0.8), "blur 1.5": blurred(1.5), "blur 3": blurred(3.0),
    "noise 4": noisy(4), "noise 10": noisy(10), "noise 20": noisy(20), "colour 1.3": coloured(1.3),
    "colour 1.8": coloured(1.8), "colour 2.5": coloured(2.5), "green": green,
}  # fmt: skip


@cache
def photos(person: int) -> list[tuple[np.ndarray, np.ndarray]]:
    identity = sample_identity(person)
    renders = [render(identity, sample_scene(7_000_000 + i), SIZE) for i in range(REFERENCES + PICTURES)]
    return [(r.image, r.landmarks) for r in renders if r.landmarks is not None]


@cache
def references(person: int, count: int = REFERENCES) -> skin.SkinReferences:
    found = [skin.skin_features(image, landmarks) for image, landmarks in photos(person)[:count]]
    return skin.skin_references([features for features in found if features is not None])


@cache
def mean_scores(change: str) -> tuple[float, float, float]:
    """Mean texture, tone and realism of held-out photos after a change."""
    scores = [
        skin.skin_score(skin.skin_features(CHANGES[change](image), landmarks), references(person))
        for person in PEOPLE
        for image, landmarks in photos(person)[REFERENCES:]
    ]
    return tuple(np.mean([(s.texture, s.tone, s.realism) for s in scores], axis=0).tolist())  # type: ignore[return-value]


@pytest.mark.parametrize(
    "worse",
    [
        ["clean", "blur 0.8", "blur 1.5", "blur 3"],
        ["clean", "noise 4", "noise 10", "noise 20"],
        ["clean", "colour 1.3", "colour 1.8", "colour 2.5"],
        ["clean", "green"],
    ],
)
def test_the_worse_the_skin_the_lower_its_realism(worse: list[str]) -> None:
    realism = [mean_scores(change)[2] for change in worse]
    assert all(a > b + 0.01 for a, b in pairwise(realism)), realism


def test_held_out_photos_of_the_person_look_real() -> None:
    assert mean_scores("clean")[2] > 0.7


def test_blur_and_noise_show_in_the_texture_and_not_in_the_tone() -> None:
    _, tone, _ = mean_scores("clean")
    for change in ("blur 1.5", "noise 10"):
        assert mean_scores(change)[0] < 0.4
        assert mean_scores(change)[1] > tone - 0.1


def test_colour_shows_in_the_tone() -> None:
    clean = mean_scores("clean")[1]
    for change in ("colour 2.5", "green"):
        assert mean_scores(change)[1] < clean - 0.3
    assert mean_scores("green")[0] > mean_scores("clean")[0] - 0.1


def test_realism_is_the_geometric_mean_and_nothing_is_nothing() -> None:
    assert skin.SkinScore(0.9, 0.4).realism == pytest.approx(0.6)
    assert skin.NO_FACE.realism == 0.0
    assert skin.skin_score(None, references(PEOPLE[0])) == skin.NO_FACE


@pytest.mark.parametrize("person", PEOPLE)
def test_the_order_of_the_references_changes_no_score(person: int) -> None:
    seen = [found for photo in photos(person) if (found := skin.skin_features(*photo)) is not None]
    one, other = (skin.skin_references(some) for some in (seen[:REFERENCES], seen[:REFERENCES][::-1]))
    for features in seen[REFERENCES:]:
        first, second = skin.skin_score(features, one), skin.skin_score(features, other)
        assert (first.texture, first.tone) == pytest.approx((second.texture, second.tone))


def test_fewer_than_ten_references_are_used_but_flagged() -> None:
    few, enough = references(PEOPLE[0], 3), references(PEOPLE[0])
    assert few.few
    assert not enough.few
    image, landmarks = photos(PEOPLE[0])[-1]
    score = skin.skin_score(skin.skin_features(image, landmarks), few)
    assert 0.0 < score.realism <= 1.0


def test_even_one_reference_gives_a_score() -> None:
    image, landmarks = photos(PEOPLE[0])[0]
    assert skin.skin_score(skin.skin_features(image, landmarks), references(PEOPLE[0], 1)).realism == pytest.approx(1.0)


def test_no_reference_is_an_error() -> None:
    with pytest.raises(ValueError, match="no reference"):
        skin.skin_references([])


def test_a_face_of_a_few_pixels_shows_no_skin() -> None:
    image, landmarks = photos(PEOPLE[0])[0]
    tiny = 30 + landmarks / landmarks.max()
    assert skin.skin_features(image, tiny) is None


@pytest.mark.parametrize("sigma", [2.0, 6.0])
def test_golden_texture_of_flat_skin_with_known_noise(sigma: float) -> None:
    grey = np.random.default_rng(4).normal(140, sigma, (300, 300, 1))
    image = np.rint(np.clip(np.repeat(grey, 3, axis=2), 0, 255)).astype(np.uint8)
    lightness = cv2.cvtColor(image.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)[..., 0]
    found = skin.skin_features(image, skin.TEMPLATE * 2 + 30)
    assert found is not None
    assert np.exp(found.log_noise) == pytest.approx(lightness.std(), rel=0.03)  # Immerkaer's estimate is unbiased
    assert np.exp(found.log_laplacian) == pytest.approx(20 * lightness.var(), rel=0.05)  # 4*4 + 4*1 times the variance
    assert found.log_scale == pytest.approx(np.log(2.0), abs=1e-9)
    assert found.chroma == pytest.approx(0.0, abs=0.1)


@given(st.floats(-8, 8), st.floats(0, 4))
def test_plausibility_falls_with_distance_on_both_sides_alike(z: float, further: float) -> None:
    assert 0.0 < skin.plausibility(z) <= 1.0
    assert skin.plausibility(z) == skin.plausibility(-z)
    assert skin.plausibility(abs(z) + further) <= skin.plausibility(z)


def test_what_is_expected_of_a_face_grows_with_its_size_as_it_does_among_the_references() -> None:
    line = skin.Line(middle=1.0, height=10.0, slope=2.0, spread=0.5)
    assert [line.z(1.0, 11.0), line.z(2.0, 12.0), line.z(2.0, 11.0)] == pytest.approx([2.0, 0.0, -2.0])


def test_golden_plausibilities() -> None:
    found = [skin.plausibility(z) for z in (0.0, 1.0, 2.75, 4.5)]
    assert found == pytest.approx([1.0, 1.0, np.exp(-0.5), np.exp(-2.0)])


@given(st.floats(-3, 3), st.floats(0.2, 4), st.floats(-50, 50), st.floats(-50, 50))
def test_the_transform_undoes_any_rotation_scale_and_shift(angle: float, scale: float, dx: float, dy: float) -> None:
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    moved = skin.TEMPLATE @ turn.T + [dx, dy]
    matrix = skin.similarity_transform(moved, skin.TEMPLATE)
    np.testing.assert_allclose(moved @ matrix[:, :2].T + matrix[:, 2], skin.TEMPLATE, atol=1e-7)


def test_histograms_that_share_nothing_are_at_distance_1_and_equal_ones_at_0() -> None:
    a, b = np.array([1.0, 0.0]), np.array([0.0, 1.0])
    assert skin.chi_square(a, b) == pytest.approx(1.0)
    assert skin.chi_square(a, a) == 0.0
    assert skin.chi_square(np.array([0.5, 0.5]), a) == pytest.approx(0.5 * (0.25 / 1.5 + 0.25 / 0.5))


def test_the_spread_of_two_references_is_mostly_the_prior() -> None:
    image = [skin.skin_features(*photo) for photo in photos(PEOPLE[1])[:2]]
    found = skin.skin_references([f for f in image if f is not None])
    assert found.chroma.spread >= skin.PRIORS["chroma"] * np.sqrt(skin.PRIOR_COUNT / (skin.PRIOR_COUNT + 2)) - 1e-9


def features(scale: float = 0.0, laplacian: float = 0.0, noise: float = 0.0, chroma: float = 0.0) -> skin.SkinFeatures:
    return skin.SkinFeatures(scale, laplacian, noise, chroma, np.array([1.0, 0.0]))


def flat(spread: float) -> skin.Line:
    return skin.Line(0.0, 0.0, 0.0, spread)


def test_each_measurement_is_held_against_its_own_line_and_the_worst_counts() -> None:
    own = skin.SkinReferences(flat(1.0), flat(2.0), flat(4.0), np.array([[1.0, 0.0]]), flat(1.0), 12)
    rough = skin.skin_score(features(laplacian=-2.75), own)
    assert (rough.texture, rough.tone, rough.texture_z, rough.tone_z) == pytest.approx((np.exp(-0.5), 1, -2.75, 0))
    noisy = skin.skin_score(features(noise=5.5), own)
    assert (noisy.texture, noisy.tone, noisy.texture_z) == pytest.approx((np.exp(-0.5), 1, 0))
    pale = skin.skin_score(features(chroma=-11.0), own)
    assert (pale.texture, pale.tone, pale.tone_z) == pytest.approx((1, np.exp(-0.5), -2.75))
    both = skin.skin_score(features(laplacian=2.75, noise=9.0), own)
    assert both.texture == pytest.approx(np.exp(-2.0))


def test_a_colour_that_no_reference_has_lowers_the_tone_and_one_that_all_have_does_not() -> None:
    others = skin.SkinReferences(
        flat(1.0), flat(1.0), flat(1.0), np.array([[0.0, 1.0]] * 4), skin.Line(0.0, 0.45, 0.0, 0.2), 4
    )
    assert skin.skin_score(features(), others).tone == pytest.approx(np.exp(-0.5))  # distance 1: (1 - .45) / .2 = 2.75
    near = skin.SkinReferences(flat(1.0), flat(1.0), flat(1.0), np.array([[1.0, 0.0]] * 4), skin.Line(0, 9, 0, 0.1), 4)
    assert skin.skin_score(features(), near).tone == 1.0


def test_a_line_is_theil_and_sen_s_drawn_towards_0_with_a_spread_that_the_prior_steadies() -> None:
    x = np.array([0.0, 1.0, 2.0, 3.0, 4.0])
    y = np.array([1.0, 3.0, 5.0, 7.0, 90.0])  # slope 2, and one photo that is far off
    slope = 2.0 * 5 / 9
    rest = y - slope * (x - 2.0)
    height = float(np.median(rest))
    spread = np.sqrt((5 * (1.4826 * np.median(np.abs(rest - height))) ** 2 + 4 * 0.6**2) / 9)
    line = skin._line(x, y, 0.6)
    assert (line.middle, line.height, line.slope, line.spread) == pytest.approx((2.0, height, slope, spread))
    level = skin._line(x, y, 0.6, sloped=False)
    assert (level.slope, level.height) == (0.0, 5.0)
    assert skin._line(x[:2], y[:2], 0.6).slope == 0.0
    assert skin._line(x * 0.01, y, 0.6).slope == 0.0  # sizes that hardly differ tell nothing


def test_eyes_mouth_and_nostrils_are_no_skin_and_neither_is_what_has_another_colour_than_the_cheeks() -> None:
    lab = np.zeros((224, 224, 3))
    lab[..., 0], lab[..., 1], lab[..., 2] = 60.0, 10.0, 12.0
    lab[60:84, 100:124, 0] = 60 + skin.GATE_LIGHTNESS + 1  # glare on the forehead, in px twice the template's
    lab[150:154, 50:66, 1] = 10 + skin.GATE_COLOUR + 1
    mask = skin.skin_mask(lab, skin.TEMPLATE * 2)
    for x, y in ((38, 76), (74, 76), (56, 62), (56, 110)):  # cheeks, between the eyes, chin
        assert mask[2 * y, 2 * x]
    for x, y in ((38, 50), (73, 50), (56, 92), (56, 75), (56, 36), (10, 10), (30, 76)):
        assert not mask[2 * y, 2 * x]


def test_texture_is_measured_where_the_neighbours_are_skin_too() -> None:
    """Eyes and background as noisy as they like: of flat skin nothing is seen but its flatness."""
    image = np.random.default_rng(0).integers(0, 256, (224, 224, 3)).astype(np.uint8)
    grey = np.full((224, 224, 3), 150, np.uint8)
    lab = cv2.cvtColor(grey.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
    image[skin.skin_mask(lab, skin.TEMPLATE * 2)] = 150
    found = skin.skin_features(image, skin.TEMPLATE * 2)
    assert found is not None
    assert (found.log_laplacian, found.log_noise) == pytest.approx((np.log(1e-3), np.log(1e-2)), abs=0.05)
    assert found.histogram.sum() == pytest.approx(1.0)


def test_a_reference_is_compared_with_the_other_references_and_not_with_itself() -> None:
    photos_ = [skin.SkinFeatures(0.0, 0.0, 0.0, 0.0, histogram) for histogram in np.eye(5)]
    assert skin.skin_references(photos_).distance.height == pytest.approx(1.0)
    assert skin.skin_references(photos_).count == 5
