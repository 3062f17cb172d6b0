"""The montage."""

import numpy as np

from stages.reports.montage import GAP, montage

RED, BLUE = np.full((64, 64, 3), (255, 0, 0), np.uint8), np.full((128, 64, 3), (0, 0, 255), np.uint8)


def test_every_picture_has_its_square_and_every_row_its_label() -> None:
    sheet = montage([[RED, BLUE], [BLUE]], ["first", "second"], side=100)
    assert sheet.dtype == np.uint8
    red = (sheet == (255, 0, 0)).all(axis=-1)
    blue = (sheet == (0, 0, 255)).all(axis=-1)
    assert red.sum() == 100 * 100
    assert blue.sum() == 2 * 50 * 100  # fitted into the square, not stretched
    second = np.unique(np.nonzero(blue)[1])[-50:] - (2 * GAP + 100)
    assert (second.min(), second.max()) == (25, 74)  # in the middle of its square
    rows, columns = np.nonzero(red)
    assert columns.min() == GAP
    label = sheet[: rows.min()]
    assert (label < 128).any()


def test_the_same_rows_are_the_same_picture_and_another_label_is_another() -> None:
    assert np.array_equal(montage([[RED]], ["a"]), montage([[RED]], ["a"]))
    assert not np.array_equal(montage([[RED]], ["a"]), montage([[RED]], ["b"]))


def test_a_long_label_is_cut_instead_of_running_out_of_the_sheet() -> None:
    short, long = montage([[RED]], ["x"]), montage([[RED]], ["a long label " * 40])
    assert short.shape == long.shape
    assert (long[:, -GAP:] == 255).all()


def test_large_pictures_are_shrunk_and_rows_may_be_empty() -> None:
    sheet = montage([[np.zeros((1024, 1024, 3), np.uint8)], []], ["one", "none"], side=120)
    assert (sheet == 0).all(axis=-1).sum() >= 120 * 120
    assert sheet.shape[0] < 400
