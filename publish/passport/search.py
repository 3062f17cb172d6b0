"""Find a picture in the index by its looks: stripped, encoded again, made smaller, cropped, perhaps mirrored.

The copy shows a view (a rectangle) of the original.  Every rectangle of a grid is tried against every row at once by
masked normalised cross-correlation (Padfield 2012, Masked object registration in the Fourier domain, eq. 7; here by
matrix products, for the grid is small).  The likeliest rows are then registered and compared by their luminance between
two blurs: what is finer is the encoder's, what is coarser is alike in all portraits, colour is what JPEG keeps worst.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
from scipy.optimize import minimize

from publish.passport.fingerprints import SIDE

COARSE = SIDE // 2
CANDIDATES, REGISTERED = 6, 3  # rows that are compared, and of these registered
SMALLEST, LARGEST_VIEW = 0.7, 1.1  # shares of a side that a registered view may have
EVALUATIONS = 100  # of the correlation, per row
SCALES = (1.0, 0.95, 0.9, 0.85, 0.8)  # shares of the original's width and height that a view may show
STEP = 0.025  # of the original's width and height, between two rectangles
MARGIN = 2  # a view is sampled so many times finer than the cells that it is averaged into
LARGEST = 4 * SIDE  # px; a larger copy is made smaller before it is sampled again and again
# Luminance and half of two colour differences of RGB (ITU-R BT.601).
OPPONENT = np.array([[0.299, 0.587, 0.114], [-0.169, -0.331, 0.5], [0.5, -0.419, -0.081]], np.float32)
LUMINANCE = OPPONENT[0]
# Cells; standard deviations of the two blurs.  On rendered development people and pictures of the base, at JPEG quality
# 60, half size, 95% of each side: copies correlate by 0.984 and more, others by 0.96 and less; unblurred 0.90 and 0.96.
FINE, ROUGH = 0.8, 3.0


@dataclass(frozen=True)
class View:
    """The part of an original that a copy shows, in shares of its width and height."""

    left: float
    top: float
    width: float
    height: float


WHOLE = View(0.0, 0.0, 1.0, 1.0)


@dataclass(frozen=True)
class Match:
    """The row that a picture is a copy of."""

    row: int
    score: float  # correlation with it after registration, 0..1
    view: View
    mirrored: bool


@dataclass(frozen=True)
class Shelf:
    """Fingerprints to search in."""

    fingerprints: np.ndarray  # uint8 (N, 32, 32, 3)
    aspects: np.ndarray  # float (N,): width over height of the pictures

    @cached_property
    def coarse(self) -> np.ndarray:
        """float32 (3, N, 256): the three channels of every row, 16 by 16 cells."""
        count = len(self.fingerprints)
        cells = self.fingerprints.reshape(count, COARSE, 2, COARSE, 2, 3).mean((2, 4), dtype=np.float32)
        return np.ascontiguousarray(np.moveaxis(cells.reshape(count, -1, 3) @ OPPONENT.T, 2, 0))


def find_copies(pixels_HWC: np.ndarray, shelf: Shelf) -> list[Match]:
    """The rows that uint8 RGB ``pixels_HWC`` may be a copy of, the likeliest first.  None of them may be the one."""
    side, aspect = max(pixels_HWC.shape[:2]), pixels_HWC.shape[1] / pixels_HWC.shape[0]
    if side > LARGEST:
        size = [max(1, round(length * LARGEST / side)) for length in pixels_HWC.shape[1::-1]]
        pixels_HWC = cv2.resize(pixels_HWC, size, interpolation=cv2.INTER_AREA)
    candidates = []
    for mirrored in (False, True):
        seen = np.ascontiguousarray(pixels_HWC[:, ::-1]) if mirrored else pixels_HWC
        grey = seen.astype(np.float32) @ LUMINANCE
        for row, view in _retrieve(seen, aspect, shelf):
            original = shelf.fingerprints[row].astype(np.float32) @ LUMINANCE
            candidates.append((compare(grey, original, view), mirrored, row, view, grey, original))
    candidates.sort(key=lambda candidate: (-candidate[0], candidate[1:3]))
    matches = []
    for _, mirrored, row, view, grey, original in candidates[:REGISTERED]:
        score, registered = register(grey, original, view)
        matches.append(Match(row, score, registered, mirrored))
    return sorted(matches, key=lambda match: (-match.score, match.row))


def _retrieve(pixels_HWC: np.ndarray, own: float, shelf: Shelf) -> Iterator[tuple[int, View]]:
    """The likeliest rows, each with the view that fits best, of 16 by 16 cells."""
    for aspect in np.unique(shelf.aspects):
        rows = np.flatnonzero(shelf.aspects == aspect)
        views = list(_views(own / aspect))
        if not views:
            continue
        scores_NV = _correlate(shelf.coarse[:, rows], [_lay(pixels_HWC, view) for view in views])
        best = scores_NV.max(axis=1)
        for place in np.argsort(-best, kind="stable")[:CANDIDATES]:
            yield int(rows[place]), views[int(scores_NV[place].argmax())]


def _views(relative: float) -> Iterator[View]:
    """The grid of rectangles whose width over height is ``relative`` of the original's; none: it was stretched."""
    for scale in SCALES:
        width, height = scale * min(1.0, relative), scale * min(1.0, 1 / relative)
        if min(width, height) < SCALES[-1] - 1e-9:
            return
        for top in _places(1 - height):
            for left in _places(1 - width):
                yield View(left, top, width, height)


def _places(room: float) -> np.ndarray:
    return np.linspace(0, room, round(room / STEP) + 1)


def _sample(pixels: np.ndarray, view: View, side: int) -> np.ndarray:
    """What ``view`` shows, with or without channels, laid into the original's ``side`` by ``side`` cells."""
    fine = side * MARGIN
    across, down = max(1, round(fine * view.width)), max(1, round(fine * view.height))
    shrunk = cv2.resize(pixels, (across, down), interpolation=cv2.INTER_AREA)
    # Pixel centres: cell c of the fine grid lies at (c + 1/2) / fine of the original.
    sx, sy = fine * view.width / across, fine * view.height / down
    matrix = np.array([[sx, 0, fine * view.left + sx / 2 - 0.5], [0, sy, fine * view.top + sy / 2 - 0.5]])
    laid = cv2.warpAffine(shrunk, matrix, (fine, fine), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return cv2.resize(laid, (side, side), interpolation=cv2.INTER_AREA)


def _inside(view: View, side: int) -> tuple[slice, slice]:
    """Rows and columns of the ``side`` by ``side`` cells that lie in the view as a whole."""
    spans = ((view.top, view.height), (view.left, view.width))
    first, last = zip(*((max(0.0, low), min(1.0, low + length)) for low, length in spans), strict=True)
    rows, columns = (
        slice(math.ceil(side * low - 1e-6), math.floor(side * high + 1e-6))
        for low, high in zip(first, last, strict=True)
    )
    return rows, columns


def _lay(pixels_HWC: np.ndarray, view: View) -> tuple[np.ndarray, np.ndarray]:
    """Opponent colours float32 (256, 3) of a view in coarse cells, and which cells it shows, bool (256,)."""
    shown = np.zeros((COARSE, COARSE), bool)
    shown[_inside(view, COARSE)] = True
    return _sample(pixels_HWC, view, COARSE).reshape(-1, 3).astype(np.float32) @ OPPONENT.T, shown.ravel()


def _correlate(rows_CND: np.ndarray, views: list[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    """Correlation of every row with every view over the view's cells, colours centred each: float32 (N, V)."""
    masks_DV = np.stack([inside for _, inside in views], axis=1).astype(np.float32)
    counts = masks_DV.sum(axis=0)
    products: np.ndarray | float = 0.0
    energy = (rows_CND**2).sum(axis=0) @ masks_DV
    power = np.zeros(len(views), np.float32)
    for channel, rows_ND in enumerate(rows_CND):
        template = np.stack([cells[:, channel] for cells, _ in views], axis=1) * masks_DV
        template = (template - template.sum(axis=0) / counts) * masks_DV
        products = products + rows_ND @ template
        energy -= (rows_ND @ masks_DV) ** 2 / counts
        power += (template**2).sum(axis=0)
    return products / np.sqrt(np.maximum(energy, 1e-6) * np.maximum(power, 1e-6))


def register(grey_HW: np.ndarray, original_SS: np.ndarray, start: View) -> tuple[float, View]:
    """Move and stretch ``start`` until a copy fits the original best; the correlation then, and the view."""

    def cost(place: np.ndarray) -> float:
        return 1 - compare(grey_HW, original_SS, View(*place))

    first = np.array([start.left, start.top, start.width, start.height])
    simplex = np.vstack([first, first + STEP * np.eye(4)])
    options = {"initial_simplex": simplex, "maxfev": EVALUATIONS, "fatol": 1e-4, "xatol": 1e-3}
    found = minimize(cost, first, method="Nelder-Mead", options=options)
    return float(1 - found.fun), View(*map(float, found.x))


def compare(grey_HW: np.ndarray, original_SS: np.ndarray, view: View) -> float:
    """Correlation of two pictures' luminance between two blurs, over the cells of the original that ``view`` shows."""
    if min(view.width, view.height) < SMALLEST or max(view.width, view.height) > LARGEST_VIEW:
        return 0.0
    rows, columns = _inside(view, SIDE)
    if min(rows.stop - rows.start, columns.stop - columns.start) < SIDE * SMALLEST - 2:
        return 0.0
    a, b = _between(original_SS[rows, columns]), _between(_sample(grey_HW, view, SIDE)[rows, columns])
    return float((a * b).sum() / max(1e-6, math.sqrt(float((a * a).sum() * (b * b).sum()))))


def _between(luminance_HW: np.ndarray) -> np.ndarray:
    fine, rough = (cv2.GaussianBlur(luminance_HW, (0, 0), sigma) for sigma in (FINE, ROUGH))
    between: np.ndarray = fine - rough
    return between - between.mean()
