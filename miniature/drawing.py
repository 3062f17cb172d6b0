"""How a cartoon portrait is drawn: backgrounds, a head that turns in 2.5D, hair, clothes, and the final light.

Head coordinates: x to the image's right, y down, z towards the viewer; the unit is half the face height, so that the
hairline is at y = -1 and the chin at y = 1. Colours are RGB triples in [0, 255]; a canvas is uint8 (height, width, 3).
"""

from __future__ import annotations

import dataclasses
import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    from miniature.render import Identity, Scene

Colour = tuple[float, float, float]

PAINTS: dict[str, Colour] = {
    "red": (214, 38, 44),
    "blue": (40, 88, 212),
    "green": (38, 150, 70),
    "yellow": (248, 206, 40),
    "purple": (126, 54, 168),
    "orange": (246, 128, 28),
    "pink": (248, 146, 190),
    "black": (36, 36, 42),
}
WHITE: Colour = (246, 245, 240)
DARK: Colour = (34, 26, 28)
_SKINS = np.array(
    [(255, 214, 188), (243, 192, 156), (220, 164, 120), (178, 118, 78), (128, 80, 54), (86, 54, 40)], float
)
_GAINS = {"daylight": (1.0, 1.0, 1.0), "warm": (1.08, 0.98, 0.79), "cool": (0.90, 1.0, 1.08)}
_FACE_HEIGHTS = {"close-up": (0.63, 0.73), "portrait": (0.47, 0.55), "medium": (0.34, 0.395)}  # of the image height
_FACE_CENTRES = {"close-up": 0.55, "portrait": 0.49, "medium": 0.42}
_COVERED_EARS = ("long_straight", "long_wavy", "bob", "curly")
_DEPTH = 0.62  # z radius of the face ellipsoid
_HAT_LINE = -0.66  # y of a hat's lower edge
_FRACTION_BITS = 3


# ---------------------------------------------------------------- primitives


def _fixed(points: np.ndarray) -> np.ndarray:
    """(n, 2) float pixels to OpenCV's fixed-point int32."""
    return np.rint(points * (1 << _FRACTION_BITS)).astype(np.int32)


def fill(canvas: np.ndarray, points: np.ndarray, colour: Colour | int) -> None:
    """Fill a closed polygon, (n, 2) pixels, with an antialiased edge."""
    cv2.fillPoly(canvas, [_fixed(points)], colour, cv2.LINE_AA, _FRACTION_BITS)


def stroke(canvas: np.ndarray, points: np.ndarray, colour: Colour, width: float, closed: bool = False) -> None:
    """Draw a polyline, (n, 2) pixels, of the given width in pixels."""
    cv2.polylines(canvas, [_fixed(points)], closed, colour, max(1, round(width)), cv2.LINE_AA, _FRACTION_BITS)


def disc(canvas: np.ndarray, centre: tuple[float, float] | np.ndarray, radius: float, colour: Colour) -> None:
    """Fill a circle; centre and radius in pixels."""
    one = 1 << _FRACTION_BITS
    middle = (round(float(centre[0]) * one), round(float(centre[1]) * one))
    cv2.circle(canvas, middle, max(1, round(radius * one)), colour, -1, cv2.LINE_AA, _FRACTION_BITS)


def blend(a: Colour, b: Colour, fraction: float) -> Colour:
    """From colour a (0) to colour b (1)."""
    red, green, blue = ((1 - fraction) * p + fraction * q for p, q in zip(a, b, strict=True))
    return red, green, blue


def shade(colour: Colour, gain: float) -> Colour:
    """Darker (gain < 1) or lighter (gain > 1)."""
    red, green, blue = (min(255.0, gain * value) for value in colour)
    return red, green, blue


@functools.cache
def _spline_basis(steps: int) -> np.ndarray:
    """Catmull-Rom weights, (steps, 4)."""
    t = np.arange(steps) / steps
    return 0.5 * np.stack([-t + 2 * t**2 - t**3, 2 - 5 * t**2 + 3 * t**3, t + 4 * t**2 - 3 * t**3, t**3 - t**2], axis=1)


def smooth(points: np.ndarray, closed: bool = True, steps: int = 5) -> np.ndarray:
    """A curve through the (n, 2) control points."""
    if closed:
        padded = np.concatenate([points[-1:], points, points[:2]])
    else:
        padded = np.concatenate([points[:1], points, points[-1:]])
    windows = np.stack([padded[:-3], padded[1:-2], padded[2:-1], padded[3:]], axis=1)
    curve = (_spline_basis(steps) @ windows).reshape(-1, 2)
    return curve if closed else np.concatenate([curve, points[-1:]])


@functools.cache
def _turns(count: int) -> tuple[np.ndarray, np.ndarray]:
    """cos and sin of `count` angles around the circle."""
    angles = np.arange(count) * (2 * np.pi / count)
    return np.cos(angles), np.sin(angles)


def _mirrored(half: list[tuple[float, float]]) -> np.ndarray:
    """A closed left-right symmetric outline from its right half, listed top to bottom (ends on the axis)."""
    right = np.array(half, float)
    left = right[-2:0:-1] * (-1, 1)
    return np.concatenate([right, left])


# ---------------------------------------------------------------- the head in space


@dataclass(frozen=True)
class Head:
    """A face's width and pose: angles in radians, centre and scale in canvas pixels (scale: half a face height)."""

    identity: Identity
    yaw: float
    pitch: float
    roll: float
    centre: tuple[float, float]
    scale: float

    def _to_pixels(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        c, s = self.scale * np.cos(self.roll), self.scale * np.sin(self.roll)
        return np.stack([self.centre[0] + c * x - s * y, self.centre[1] + s * x + c * y], axis=-1)

    def turned(self, x: np.ndarray, y: np.ndarray, z: np.ndarray | float) -> np.ndarray:
        """Pixels (n, 2) of points in head space under the full rotation."""
        across = x * np.cos(self.yaw) + z * np.sin(self.yaw)
        depth = z * np.cos(self.yaw) - x * np.sin(self.yaw)
        return self._to_pixels(across, y * np.cos(self.pitch) - depth * np.sin(self.pitch))

    def surface(self, points: np.ndarray, lift: float = 0.0) -> np.ndarray:
        """Pixels of (n, 2) points on the face's ellipsoid, lifted towards the viewer."""
        points = np.asarray(points, float)
        x, y = points[..., 0], points[..., 1]
        inside = 1 - (x / (1.12 * self.identity.face_width)) ** 2 - (y / 1.5) ** 2
        return self.turned(x, y, _DEPTH * np.sqrt(np.maximum(inside, 0.02)) + lift)

    def mass(self, points: np.ndarray, z: np.ndarray | float = 0.0) -> np.ndarray:
        """Pixels of the silhouette points (n, 2) of a bulky part at depth z: it keeps its width when it turns."""
        points = np.asarray(points, float)
        ratio = 0.75 / self.identity.face_width
        keep = np.hypot(np.cos(self.yaw), ratio * np.sin(self.yaw))
        y = points[..., 1] * np.cos(self.pitch) - z * np.cos(self.yaw) * np.sin(self.pitch)
        return self._to_pixels(points[..., 0] * keep + z * np.sin(self.yaw), y)

    def oval(self, x: float, y: float, rx: float, ry: float, lift: float = 0.0, count: int = 20) -> np.ndarray:
        """Pixels of an ellipse lying on the face."""
        cos, sin = _turns(count)
        return self.surface(np.stack([x + rx * cos, y + ry * sin], axis=1), lift)

    @property
    def skin(self) -> Colour:
        """The skin's colour in neutral light."""
        place = self.identity.skin_tone * (len(_SKINS) - 1)
        low = min(int(place), len(_SKINS) - 2)
        red, green, blue = blend(tuple(_SKINS[low]), tuple(_SKINS[low + 1]), place - low)
        warmth = self.identity.skin_warmth
        return (red, min(255.0, green * (1 + 0.02 * warmth)), blue * (1 - 0.08 * warmth))

    @property
    def hair(self) -> Colour:
        """The hair's colour in neutral light."""
        return (255 * self.identity.hair_red, 255 * self.identity.hair_green, 255 * self.identity.hair_blue)


def _outline_half(identity: Identity) -> list[tuple[float, float]]:
    """Right half of the face outline, hairline to chin."""
    w = identity.face_width
    return [
        (0.0, -1.02),
        (0.60 * w, -0.96),
        (0.93 * w, -0.60),
        (1.0 * w, -0.1),
        (w * (0.88 + 0.11 * identity.cheek), 0.34),
        (w * (0.60 + 0.28 * identity.jaw_width), 0.72),
        (w * (0.28 + 0.26 * identity.chin_width), 0.95),
        (0.0, 1.0),
    ]


def _outline_depth(y: np.ndarray) -> np.ndarray:
    """z of the face's outline: the jaw comes forward of the temples."""
    return 0.24 * np.clip((y + 0.3) / 1.2, 0, 1)


def _face_outline(head: Head) -> np.ndarray:
    """Pixels of the face outline."""
    points = smooth(_mirrored(_outline_half(head.identity)))
    return head.mass(points, _outline_depth(points[:, 1]))


def face_box(head: Head) -> np.ndarray:
    """float (4,): x0 y0 x1 y1 of the face, hairline to chin and ear to ear, in canvas pixels."""
    points = smooth(_mirrored(_outline_half(head.identity)), steps=2)
    pixels = head.mass(points, _outline_depth(points[:, 1]))
    return np.concatenate([pixels.min(axis=0), pixels.max(axis=0)])


def place_head(identity: Identity, scene: Scene, width: int, height: int, rng: np.random.Generator) -> Head:
    """The head at the framing's size and place on a canvas of width x height pixels."""
    yaw, pitch, roll = np.deg2rad([scene.yaw, scene.pitch, scene.roll])
    unit = Head(identity, float(yaw), float(pitch), float(roll), (0.0, 0.0), 1.0)
    box = face_box(unit)
    low, high = _FACE_HEIGHTS[scene.framing]
    tall = rng.uniform(low, high) * height
    scale = min(tall / (box[3] - box[1]), 0.86 * width / (box[2] - box[0]))
    x = width * (0.5 + rng.uniform(-0.04, 0.04)) - scale * (box[0] + box[2]) / 2
    y = height * (_FACE_CENTRES[scene.framing] + rng.uniform(-0.02, 0.02)) - scale * (box[1] + box[3]) / 2
    return dataclasses.replace(unit, centre=(float(x), float(y)), scale=float(scale))


# ---------------------------------------------------------------- features


@dataclass(frozen=True)
class Mood:
    """How an expression moves the features, in head units (y down)."""

    eye_open: float
    brow_lift: float
    brow_pinch: float  # inner ends down
    corner: float  # mouth corners down
    mouth_wide: float
    mouth_open: float


_MOODS = {
    "neutral": Mood(1.0, 0.0, 0.0, 0.01, 1.0, 0.0),
    "smiling": Mood(0.84, 0.03, -0.02, -0.15, 1.28, 0.15),
    "surprised": Mood(1.35, 0.13, -0.03, 0.0, 0.62, 0.27),
    "frowning": Mood(0.82, -0.05, 0.12, 0.13, 0.95, 0.0),
}


def _mouth_centre(identity: Identity) -> float:
    """y of the closed lips."""
    return identity.mouth_level


def _mouth_corners(identity: Identity, mood: Mood) -> np.ndarray:
    """(2, 2) head coordinates of the image-left and image-right mouth corners."""
    half = identity.mouth_width * mood.mouth_wide
    y = _mouth_centre(identity) + mood.corner * 0.6 + 0.35 * mood.mouth_open * (mood.corner == 0)
    return np.array([(-half, y), (half, y)])


def landmarks(head: Head, scene: Scene) -> np.ndarray:
    """float (5, 2) canvas pixels: image-left eye, image-right eye, nose tip, image-left and -right mouth corner."""
    who = head.identity
    eyes = head.surface(np.array([(-who.eye_spacing, who.eye_level), (who.eye_spacing, who.eye_level)]))
    nose = head.surface(np.array([(0.0, who.eye_level + who.nose_length - 0.04)]), 0.2)
    return np.concatenate([eyes, nose, head.surface(_mouth_corners(who, _MOODS[scene.expression]))])


def _eye(canvas: np.ndarray, head: Head, side: int, mood: Mood, gaze: float) -> None:
    """One eye; side -1 is the image's left."""
    who = head.identity
    half, tall = who.eye_width, who.eye_height * mood.eye_open
    u = np.linspace(-1, 1, 11)
    bulge = np.maximum(1 - u * u, 0) ** 0.75

    def place(across: np.ndarray, down: np.ndarray) -> np.ndarray:
        x = side * (who.eye_spacing + half * across)
        return head.surface(np.stack([x, who.eye_level + down - who.eye_tilt * half * across], axis=1))

    low = 0.55 if mood.corner < 0 else 0.72
    upper, lower = place(u, -tall * bulge), place(u[::-1], low * tall * bulge[::-1])
    socket = blend(head.skin, shade(head.skin, 0.62), 0.75)
    fill(canvas, np.concatenate([place(1.12 * u, -1.5 * tall * bulge), lower]), socket)
    fill(canvas, np.concatenate([upper, lower]), (250, 250, 247))
    eye_colour = (255 * who.eye_red, 255 * who.eye_green, 255 * who.eye_blue)
    for radius, colour in ((0.62, shade(eye_colour, 0.72)), (0.50, eye_colour), (0.27, (14, 12, 16))):
        cos, sin = _turns(16)
        across = np.clip(side * gaze + radius * cos, -0.98, 0.98)
        lid = tall * (1 - across * across) ** 0.75
        fill(canvas, place(across, np.clip(radius * half * sin - 0.1 * tall, -lid, low * lid)), colour)
    glint = place(np.array([side * (gaze - 0.18)]), np.array([-0.42 * tall]))[0]
    disc(canvas, glint, 0.2 * half * head.scale, (255, 255, 255))
    lash = (0.062 if who.woman else 0.042) * head.scale
    stroke(canvas, upper, DARK, lash)
    if who.woman:  # an outer flick reads as lashes even in miniature
        flick = place(np.array([0.85, 1.36]), np.array([-0.3 * tall, -0.75 * tall]))
        stroke(canvas, flick, DARK, lash)


def _brow(canvas: np.ndarray, head: Head, side: int, mood: Mood) -> None:
    """One eyebrow, thick at its inner end."""
    who = head.identity
    u = np.linspace(-1, 1, 8)
    length = 1.22 * who.eye_width
    level = who.eye_level - who.brow_height - mood.brow_lift
    middle = level - (who.brow_arch + 0.3 * max(mood.brow_lift, 0)) * (1 - (u - 0.25) ** 2)
    middle = middle - who.brow_tilt * length * 0.7 * u + mood.brow_pinch * (0.6 - u) * 0.8
    thick = who.brow_thickness * (1 - 0.3 * (u + 1) / 2 - 0.35 * np.maximum(u, 0) ** 3)
    x = side * (who.eye_spacing * 1.03 + length * u)
    top, bottom = np.stack([x, middle - thick / 2], axis=1), np.stack([x, middle + thick / 2], axis=1)
    colour = blend(shade(head.hair, 0.62), DARK, 0.25)
    fill(canvas, head.surface(np.concatenate([top, bottom[::-1]])), colour)


def _nose(canvas: np.ndarray, head: Head, lit_right: bool) -> None:
    """Shadow side, tip and nostrils."""
    who = head.identity
    tip, wide, top = who.eye_level + who.nose_length, who.nose_width, who.eye_level - 0.05
    dark = blend(head.skin, shade(head.skin, 0.66), 0.7)
    far = 1 if (abs(head.yaw) < 0.12 and not lit_right) or head.yaw < -0.12 else -1
    bridge = np.concatenate(
        [
            head.surface(np.array([(0.25 * wide * far, top)]), 0.03),
            head.surface(np.array([(0.45 * wide * far, (top + tip) / 2), (wide * far, tip - 0.06)]), 0.02),
            head.surface(np.array([(0.5 * wide * far, tip)]), 0.1),
            head.surface(np.array([(0.0, tip - 0.06)]), 0.2),
        ]
    )
    fill(canvas, bridge, dark)
    fill(canvas, head.oval(0, tip - 0.01, wide, 0.075, 0.1), shade(head.skin, 0.72))
    fill(canvas, head.oval(0, tip - 0.07, 0.78 * wide, 0.085, 0.17), blend(head.skin, WHITE, 0.13))
    for side in (-1, 1):
        fill(
            canvas, head.oval(side * 0.5 * wide, tip + 0.02, 0.2 * wide + 0.012, 0.028, 0.1, 10), shade(head.skin, 0.36)
        )


def _mouth(canvas: np.ndarray, head: Head, mood: Mood) -> None:
    """Lips, and what shows between them."""
    who = head.identity
    right = _mouth_corners(who, mood)[1]
    u = np.linspace(-1, 1, 13)
    bow = 1 - u * u
    centre, half = _mouth_centre(who), right[0]
    corner = right[1] - centre
    seam = centre + corner * (1 - bow) - 0.35 * corner * bow
    lean = 0.6 if mood.mouth_open else 1.0
    full = who.lip_fullness
    upper = seam - lean * full * (bow**0.7) * (1 - 0.3 * np.exp(-((u / 0.22) ** 2)))
    gap = seam + mood.mouth_open * np.sqrt(np.maximum(bow, 0))
    if mood.corner == 0 and mood.mouth_open:  # surprise opens upwards too
        seam, upper = seam - 0.25 * mood.mouth_open * bow, upper - 0.25 * mood.mouth_open * bow
    lower = gap + 1.15 * full * bow**0.7
    lip = blend(shade(head.skin, 0.74), (190, 40, 58), 0.28 + 0.55 * who.lip_redness)

    def between(first: np.ndarray, second: np.ndarray) -> np.ndarray:
        x = half * u
        return head.surface(np.concatenate([np.stack([x, first], 1), np.stack([x, second], 1)[::-1]]), 0.04)

    fill(canvas, between(upper, lower), lip)
    if mood.mouth_open:
        fill(canvas, between(seam, gap), (72, 18, 24))
        if mood.corner < 0:
            fill(canvas, between(seam, seam + 0.66 * (gap - seam)), (252, 250, 244))
    else:
        line = head.surface(np.stack([half * u, seam], axis=1), 0.04)
        stroke(canvas, line, shade(lip, 0.42), 0.04 * head.scale)


def _beard(canvas: np.ndarray, head: Head) -> None:
    """Whatever grows on the lower face, under the mouth's own colours."""
    who = head.identity
    if who.woman or who.beard == "none":
        return
    w, mouth = who.face_width, _mouth_centre(who)
    colour = blend(head.hair, DARK, 0.12)
    if who.beard in ("stubble", "full"):
        grow = 1.0 if who.beard == "stubble" else 1.05
        half = [(x * grow, 1 + (y - 1) * 1.0 + (grow - 1) * 1.6 * (y > 0.5)) for x, y in _outline_half(who) if y > 0]
        jaw = smooth(np.concatenate([[(0.985 * w, -0.05)], half])[:, :2], closed=False)
        jaw = np.concatenate([jaw, jaw[::-1] * (-1, 1)])
        inner = [(-0.90, -0.05), (-0.80, 0.22), (-0.56, 0.40), (-0.28, mouth - 0.2), (0.0, mouth - 0.19)]
        lower = np.array([(x * w, y) for x, y in inner] + [(-x * w, y) for x, y in inner[-2::-1]])
        colour = colour if who.beard == "full" else blend(head.skin, colour, 0.34)
        fill(
            canvas,
            np.concatenate([head.mass(jaw, _outline_depth(jaw[:, 1])), head.surface(smooth(lower, closed=False))]),
            colour,
        )
        return
    if who.beard == "goatee":
        half = [(0, mouth - 0.2), (0.25, mouth - 0.14), (0.33, mouth + 0.1), (0.26, 0.96), (0, 1.06)]
        fill(canvas, head.surface(smooth(_mirrored(half))), colour)
        return
    half = [(0, mouth - 0.2), (0.2, mouth - 0.18), (0.40, mouth + 0.06), (0.2, mouth - 0.03), (0, mouth - 0.05)]
    fill(canvas, head.surface(smooth(_mirrored(half)), 0.05), colour)


def _marks(canvas: np.ndarray, head: Head) -> None:
    """Blush, freckles and age lines: broad enough to survive 64 pixels."""
    who = head.identity
    w = who.face_width
    for side in (-1, 1):
        if who.blush > 0.3:
            rosy = blend(head.skin, (226, 84, 84), 0.28 * who.blush)
            fill(canvas, head.oval(side * 0.60 * w, 0.28, 0.2, 0.14), rosy)
        if who.freckles > 0.7:
            dot = blend(head.skin, (120, 62, 34), 0.5)
            for x, y in ((0.34, 0.20), (0.5, 0.3), (0.62, 0.19), (0.44, 0.42)):
                disc(canvas, head.surface(np.array([(side * x * w / 0.82, y)]))[0], 0.034 * head.scale, dot)
        if who.lines > 0.7:
            crease = blend(head.skin, shade(head.skin, 0.5), (who.lines - 0.3))
            mouth = _mouth_centre(who)
            fold = np.array([(0.22, mouth - 0.24), (0.36, mouth - 0.08), (0.40, mouth + 0.06)]) * (side, 1)
            stroke(canvas, head.surface(fold, 0.03), crease, 0.035 * head.scale)


def _mole(canvas: np.ndarray, head: Head) -> None:
    """A beauty spot on a cheek or the chin's side."""
    who = head.identity
    if who.mole_size < 0.6:
        return
    x = who.mole_x * 0.2 + np.copysign(0.36, who.mole_x)
    spot = head.surface(np.array([(x, 0.24 + 0.4 * who.mole_y)]), 0.03)[0]
    disc(canvas, spot, (0.03 + 0.035 * who.mole_size) * head.scale, shade(blend(head.skin, DARK, 0.8), 0.8))


# ---------------------------------------------------------------- head, ears, hair


def _skull_outline(head: Head) -> np.ndarray:
    """Pixels of the round of the head behind and above the face."""
    cos, sin = _turns(28)
    points = np.stack([0.99 * head.identity.face_width * cos, -0.42 + 0.88 * sin], axis=1)
    return head.mass(points, -0.12)


def _bare_head(canvas: np.ndarray, head: Head) -> None:
    """Skull and face in skin colour, without features."""
    fill(canvas, _skull_outline(head), head.skin)
    fill(canvas, _face_outline(head), head.skin)


def _ear(canvas: np.ndarray, head: Head, side: int) -> None:
    """One ear; the near one is drawn over the head, the far one behind it."""
    who = head.identity
    cos, sin = _turns(18)
    size = 0.5 + 0.5 * who.ear_size
    near = np.sin(head.yaw) * -side  # positive: turned towards the viewer
    x = side * (who.face_width + 0.03 * size) + (0.15 + 0.10 * max(near, 0)) * size * cos
    y = 0.05 + 0.23 * size * sin - 0.03 * side * cos
    fill(canvas, head.turned(x, y, -0.05), shade(head.skin, 0.93))
    inner = side * (who.face_width + 0.05 * size) + (0.07 + 0.06 * max(near, 0)) * size * cos
    fill(canvas, head.turned(inner, 0.05 + 0.13 * size * sin, -0.05), shade(head.skin, 0.72))


def _hair_back_outline(who: Identity) -> np.ndarray | None:
    """Closed outline of the hair behind the head (head units), or None for short styles."""
    wide, style = who.face_width + 0.12 + 0.14 * who.hair_volume, who.hair_style
    top = -1.42 - 0.08 * who.hair_volume
    dome = [(0.0, top), (0.62 * wide, top + 0.17), (0.96 * wide, -0.72)]
    if style == "long_straight":
        end = 1.35 + 0.75 * who.hair_length
        sides = [(1.02 * wide, 0.0), (1.06 * wide, 0.8), (1.08 * wide, end - 0.1), (0.5 * wide, end), (0, end)]
        return smooth(_mirrored(dome + sides))
    if style == "long_wavy":
        end = 1.3 + 0.6 * who.hair_length
        down = np.linspace(-0.4, end, 7)
        sides = [(wide * (1.06 + 0.09 * (i + 1) ** 0.5) + (0.09 if i % 2 else -0.05), y) for i, y in enumerate(down)]
        return smooth(_mirrored([*dome, *sides, (0.5 * wide, end + 0.1), (0, end)]))
    if style == "bob":
        end = 0.72 + 0.4 * who.hair_length
        sides = [(1.10 * wide, -0.1), (1.19 * wide, end - 0.3), (1.08 * wide, end), (0.5 * wide, end), (0, end)]
        return smooth(_mirrored(dome + sides))
    if style == "curly":
        cos, sin = _turns(60)
        bumps = 0.95 + 0.13 * np.abs(np.sin(np.arange(60) * np.pi / 5 + 0.3))  # a dozen big curls
        rx, ry = wide + 0.16 + 0.28 * who.hair_volume, 1.12 + 0.34 * who.hair_volume
        return np.stack([rx * bumps * cos, -0.42 + ry * bumps * sin], axis=1)
    return None


def _under_hat(points: np.ndarray) -> np.ndarray:
    """Press hair above the ears down until it fits under a hat."""
    pressed = points.copy()
    high = points[:, 1] < -0.1
    pressed[high, 1] = -0.1 + (points[high, 1] + 0.1) * (0.66 / max(0.66, -0.1 - points[:, 1].min()))
    return pressed


def _hair_back(canvas: np.ndarray, head: Head, hat: bool) -> None:
    """Hair that hangs behind the neck, buns and tails; drawn before the body."""
    who = head.identity
    dark = shade(head.hair, 0.96 if who.hair_style == "curly" else 0.78)
    outline = _hair_back_outline(who)
    if outline is not None:
        fill(canvas, head.mass(_under_hat(outline) if hat else outline, -0.15), dark)
    elif who.hair_style == "bun" and not hat:
        cos, sin = _turns(20)
        size = 0.36 + 0.14 * who.hair_volume
        fill(canvas, head.mass(np.stack([size * cos, -1.5 + size * sin], axis=1), -0.25), shade(head.hair, 0.86))
    elif who.hair_style == "ponytail":
        side, end = np.sign(who.parting) or 1.0, 1.1 + 0.7 * who.hair_length
        w = who.face_width
        tail = [
            (0.5, -0.9),
            (w + 0.25, -0.75),
            (w + 0.5, -0.2),
            (w + 0.5, 0.5),
            (w + 0.24, end),
            (w + 0.1, 0.5),
            (w, -0.1),
        ]
        lock = smooth(np.array(tail) * (side, 1))
        fill(canvas, head.mass(_under_hat(lock) if hat else lock, -0.2), shade(head.hair, 0.86))


def _hairline(who: Identity) -> np.ndarray:
    """(n, 2) edge of the hair on the forehead, image right to left, above the sideburns; y in head units."""
    w, peak = who.face_width, -0.82 - 0.14 * who.hairline
    if who.fringe == "full" and who.hair_style not in ("buzz", "quiff"):
        rim = [(0.90, -0.3), (0.82, -0.48), (0.45, -0.52), (0, -0.50), (-0.45, -0.52), (-0.82, -0.48), (-0.90, -0.3)]
        return np.array([(x * w, y) for x, y in rim])
    if who.fringe == "swept" and who.hair_style not in ("buzz", "quiff"):
        side = 1.0 if who.parting >= 0 else -1.0
        rim = [(0.92, -0.3), (0.80, -0.62), (0.46, -0.98), (0.1, -0.70), (-0.4, -0.54), (-0.8, -0.44), (-0.92, -0.25)]
        edge = np.array([(side * x * w, y) for x, y in rim])
        return edge if side > 0 else edge[::-1]
    part = 0.4 * who.parting * w
    half = [(0.92 * w, -0.3), (0.86 * w, -0.52), (0.58 * w, peak + 0.16)]
    return np.array([*half, (part, peak - 0.06), *((-x, y) for x, y in half[::-1])])


def _cap_volume(who: Identity) -> float:
    """How far the hair stands off the skull."""
    base = {"buzz": 0.015, "bun": 0.05, "ponytail": 0.06, "braids": 0.07, "short": 0.08, "curly": 0.2}
    return base.get(who.hair_style, 0.1) + (0 if who.hair_style == "buzz" else 0.09 * who.hair_volume)


def _hair_front(canvas: np.ndarray, head: Head, hat: bool) -> None:
    """The hair over the skull down to the hairline, then the locks beside the face."""
    who = head.identity
    if who.hair_style == "bald":
        return
    volume, burn = _cap_volume(who), 0.05 if who.hair_style in ("short", "quiff", "buzz") else -0.08
    angles = np.linspace(np.pi, 2 * np.pi, 19)
    rx, ry = who.face_width + volume, 0.92 + 1.1 * volume
    arc = np.stack([rx * np.cos(angles), -0.42 + ry * np.sin(angles)], axis=1)
    if who.hair_style == "quiff":  # a tall wave that leans away from the parting
        lean = -np.sign(who.parting)
        arc[:, 1] -= (0.12 + 0.16 * who.hair_volume) * np.exp(-(((arc[:, 0] - lean * 0.32) / 0.42) ** 4))
    line = smooth(_hairline(who), closed=False)
    if who.hair_style == "curly":
        line[:, 1] -= 0.09 * np.abs(np.sin(np.arange(len(line)) * np.pi / 5)) - 0.04
    if hat:
        arc[:, 1], line[:, 1] = np.maximum(arc[:, 1], _HAT_LINE - 0.1), np.maximum(line[:, 1], _HAT_LINE - 0.08)
    side = np.array([(0.97 * rx, burn)])
    tip = np.array([(0.93 * who.face_width, burn)])
    outer = head.mass(np.concatenate([side * (-1, 1), arc, side]), -0.12)
    inner = head.surface(np.concatenate([tip, line, tip * (-1, 1)]))
    colour = blend(head.skin, head.hair, 0.72) if who.hair_style == "buzz" else head.hair
    fill(canvas, np.concatenate([outer, inner]), colour)
    if not hat and who.hair_style not in ("buzz", "curly"):
        _sheen(canvas, head, rx, ry)
    if who.hair_style in ("long_straight", "long_wavy", "bob", "curly"):
        for flank in (-1, 1):
            _lock(canvas, head, flank, hat)


def _sheen(canvas: np.ndarray, head: Head, rx: float, ry: float) -> None:
    """One broad highlight over the crown."""
    angles = np.linspace(1.2, 1.62, 7) * np.pi if head.identity.parting > 0 else np.linspace(1.38, 1.8, 7) * np.pi
    outer = np.stack([0.80 * rx * np.cos(angles), -0.42 + 0.86 * ry * np.sin(angles)], axis=1)
    inner = np.stack([0.74 * rx * np.cos(angles), -0.42 + 0.72 * ry * np.sin(angles)], axis=1)
    inner[[0, -1]] = outer[[0, -1]]
    fill(canvas, head.mass(np.concatenate([outer, inner[::-1]]), -0.05), blend(head.hair, (255, 244, 226), 0.2))


def _lock(canvas: np.ndarray, head: Head, side: int, hat: bool) -> None:
    """Hair falling in front of one ear."""
    who = head.identity
    w = who.face_width
    wide = w + 0.12 + 0.13 * who.hair_volume
    end = {"bob": 0.62 + 0.4 * who.hair_length, "curly": 0.25}.get(who.hair_style, 1.2 + 0.7 * who.hair_length)
    top = max(-0.75, _HAT_LINE) if hat else -0.75
    wave = 0.08 if who.hair_style == "long_wavy" else 0.0
    down = np.linspace(top, end, 7)
    edge = wide * (0.94 + 0.1 * np.clip((down + 0.7) / 1.2, 0, 1)) + wave * np.array([0, -1, 1, -1, 1, -1, 0])
    outer = head.mass(smooth(np.stack([side * edge, down], axis=1), closed=False), 0.0)
    reach = min(end, 0.45)
    inner_y = np.linspace(reach, top, 5)
    inner = head.surface(np.stack([side * w * np.array([0.95, 0.94, 0.91, 0.88, 0.8]), inner_y], axis=1))
    if end > 0.7:
        foot = head.mass(np.array([(side * 0.86 * w, end), (side * 0.80 * w, 0.5 * (end + 0.5))]), 0.1)
        inner = np.concatenate([foot, inner])
    fill(canvas, np.concatenate([outer, smooth(inner, closed=False)]), head.hair)


def _braids(canvas: np.ndarray, head: Head) -> None:
    """Two plaits of beads that lie on the shoulders."""
    who = head.identity
    count = 5 + round(2 * who.hair_length)
    for side in (-1, 1):
        for bead in range(count):
            y = 0.05 + 0.26 * bead
            centre = head.mass(np.array([(side * (who.face_width + 0.13 + 0.02 * bead), y)]), -0.1)[0]
            tone = shade(head.hair, 0.98 if bead % 2 else 0.8)
            disc(canvas, centre, (0.2 - 0.012 * bead) * head.scale, tone)


# ---------------------------------------------------------------- body, eyewear, hats


def _at_body(head: Head, points: np.ndarray | list[tuple[float, float]]) -> np.ndarray:
    """Pixels of body points: they follow the head's place, not its turn."""
    sway = 0.16 * np.sin(head.yaw) - 0.25 * np.sin(head.roll)
    return np.array(points, float) * head.scale + np.array(head.centre) - (sway * head.scale, 0)


def _body(canvas: np.ndarray, head: Head, garment: str, colour: Colour, neck: bool = True) -> None:
    """Shoulders in a shirt or an open jacket over white; the neck if someone wears them."""
    big = 0.86 if head.identity.woman else 1.0
    throat = 0.36 if head.identity.woman else 0.48
    drop = 8.0
    line = [
        (0, 1.28),
        (throat + 0.1, 1.22),
        (1.05 * big, 1.48),
        (1.55 * big, 1.78),
        (1.86 * big, 2.5),
        (2.0 * big, 4.0),
    ]
    outline = smooth(_mirrored([*line, (2.0 * big, drop), (0, drop)]))
    fill(canvas, _at_body(head, outline), colour)
    for side in (-1, 1):  # sleeves
        seam = [(side * 1.22 * big, 2.35), (side * 1.34 * big, 3.2), (side * 1.36 * big, drop)]
        stroke(canvas, _at_body(head, seam), shade(colour, 0.66), 0.07 * head.scale)
    if garment == "jacket":
        inner = [(0, 1.2), (throat + 0.06, 1.2), (0.46, 2.3), (0.5, drop), (0, drop)]
        fill(canvas, _at_body(head, _mirrored(inner)), WHITE)
        lapel = shade(colour, 0.7) if sum(colour) > 150 else (74, 74, 84)
        for side in (-1, 1):
            flap = [(throat + 0.0, 1.16), (throat + 0.24, 1.24), (0.98, 1.95), (0.76, 2.1), (0.86, 2.25), (0.44, 3.1)]
            fill(canvas, _at_body(head, [(side * x, y) for x, y in flap]), lapel)
    else:
        collar = smooth(_mirrored([(0, 1.1), (throat + 0.14, 1.14), (throat * 0.8, 1.5), (0, 1.66)]))
        fill(canvas, _at_body(head, collar), shade(colour, 0.7) if sum(colour) > 150 else (74, 74, 84))
    if neck:
        _neck(canvas, head, throat)


def _neck(canvas: np.ndarray, head: Head, throat: float) -> None:
    """From behind the jaw into the collar, darker under the chin."""
    top = head.mass(np.array([(-throat, 0.3), (throat, 0.3)]), -0.1)
    foot = _at_body(
        head,
        smooth(
            np.array([(throat, 1.24), (0.6 * throat, 1.45), (0, 1.52), (-0.6 * throat, 1.45), (-throat, 1.24)]), False
        ),
    )
    fill(canvas, np.concatenate([top, foot]), shade(head.skin, 0.80))
    shadow = head.mass(np.array([(-throat, 0.7), (throat, 0.7), (0.6 * throat, 1.16), (-0.6 * throat, 1.16)]), 0.0)
    fill(canvas, shadow, shade(head.skin, 0.66))


def _eyewear(canvas: np.ndarray, head: Head, kind: str, square: float) -> None:
    """Glasses (rims) or sunglasses (dark lenses); square in [0, 1] bends the rims from round to rectangular."""
    if kind == "none":
        return
    who = head.identity
    cos, sin = _turns(22)
    power = 1 - 0.5 * square
    rim_x, rim_y = np.sign(cos) * np.abs(cos) ** power, np.sign(sin) * np.abs(sin) ** power
    frame = (26, 24, 30)
    half = min(0.285, 0.88 * who.eye_spacing)
    level = who.eye_level + 0.01
    for side in (-1, 1):
        ring = head.surface(
            np.stack([side * who.eye_spacing + half * rim_x, level + 0.82 * half * rim_y], axis=1), 0.06
        )
        if kind == "sunglasses":
            fill(canvas, ring, (30, 30, 38))
            gleam = [(-0.6, -0.5), (-0.1, -0.55), (-0.5, 0.25), (-0.72, 0.1)]
            shine = np.array([(side * who.eye_spacing + half * x, level + 0.8 * half * y) for x, y in gleam])
            fill(canvas, head.surface(shine, 0.06), (84, 88, 104))
        stroke(canvas, ring, frame, 0.062 * head.scale, closed=True)
        if np.sin(head.yaw) * side < 0.3:  # the far temple is hidden
            arm = np.array([(side * (who.eye_spacing + half), level - 0.05), (side * who.face_width, level - 0.04)])
            stroke(canvas, head.turned(arm[:, 0], arm[:, 1], np.array([0.4, 0.0])), frame, 0.06 * head.scale)
    bridge = np.array(
        [(-(who.eye_spacing - half), level - 0.06), (0, level - 0.1), (who.eye_spacing - half, level - 0.06)]
    )
    stroke(canvas, head.surface(bridge, 0.08), frame, 0.062 * head.scale)


def _ring(head: Head, radius: float, y: float, reach: float = 1.0) -> np.ndarray:
    """Pixels of the visible half of a horizontal ring around the head, image left to right."""
    t = np.linspace(-0.5 * np.pi, 0.5 * np.pi, 15) * reach - (head.yaw if reach == 1.0 else 0.0)
    return head.turned(radius * np.sin(t), np.full(15, y), 0.88 * radius * np.cos(t))


def _dome(head: Head, edge: np.ndarray, tall: float, flatness: float) -> np.ndarray:
    """A crown over a ring's visible half: pixels of the closed outline."""
    left, right = edge[0], edge[-1]
    middle, half = (left + right) / 2, (right - left) / 2
    up = np.array([np.sin(head.roll), -np.cos(head.roll)]) * tall * head.scale * np.cos(head.pitch)
    t = np.linspace(0, np.pi, 17)[:, None]
    return np.concatenate(
        [edge, middle + half * np.sign(np.cos(t)) * np.abs(np.cos(t)) ** flatness + up * np.sin(t) ** flatness]
    )


def _hat(canvas: np.ndarray, head: Head, kind: str, colour: Colour) -> None:
    """A cap with a visor or a beanie with a folded band and a bobble."""
    if kind == "none":
        return
    black = sum(colour) < 150
    dark = (66, 66, 76) if black else shade(colour, 0.7)
    light = (84, 84, 94) if black else blend(colour, WHITE, 0.3)
    radius = head.identity.face_width + 0.11
    edge = _ring(head, radius, _HAT_LINE)
    if kind == "cap":
        fill(canvas, _dome(head, edge, 0.76, 0.8), colour)
        angles = np.linspace(-1.2, 1.2, 13)
        back = head.turned(radius * np.sin(angles), np.full(13, _HAT_LINE - 0.04), 0.88 * radius * np.cos(angles))
        reach = 0.8 * np.cos(1.25 * angles)
        front = head.turned(
            1.08 * radius * np.sin(angles), _HAT_LINE + 0.02 + 0.3 * reach, 0.88 * radius * np.cos(angles) + reach
        )
        fill(canvas, np.concatenate([back, front[::-1]]), (16, 16, 20) if black else shade(colour, 0.55))
        crown = head.surface(np.array([(-0.22, -1.2), (0.22, -1.2), (0.2, -0.86), (-0.2, -0.86)]), 0.15)
        fill(canvas, crown, light)
        return
    top = _dome(head, edge, 0.90, 0.85)
    peak = top[len(edge) + 8]
    up = np.array([np.sin(head.roll), -np.cos(head.roll)])
    disc(canvas, peak + 0.12 * head.scale * up, 0.25 * head.scale, light)
    fill(canvas, top, colour)
    high, low = _ring(head, radius + 0.03, _HAT_LINE - 0.24), _ring(head, radius + 0.05, _HAT_LINE + 0.08)
    fill(canvas, np.concatenate([low, high[::-1]]), dark)


# ---------------------------------------------------------------- whole people


def person(canvas: np.ndarray, head: Head, identity: Identity, scene: Scene) -> None:
    """Draw one person over the background, back to front."""
    hat = scene.hat != "none"
    mood = _MOODS[scene.expression]
    details = np.random.default_rng((scene.detail, 7))
    gaze, square = details.uniform(-0.12, 0.12), details.random()
    _hair_back(canvas, head, hat)
    _body(canvas, head, scene.garment, PAINTS[scene.garment_colour])
    near = -1 if head.yaw > 0 else 1
    covered = identity.hair_style in _COVERED_EARS
    if not covered:
        _ear(canvas, head, -near)
        if abs(head.yaw) < 0.15:
            _ear(canvas, head, near)
    _bare_head(canvas, head)
    _marks(canvas, head)
    _beard(canvas, head)
    _nose(canvas, head, scene.light_side > 0)
    _mouth(canvas, head, mood)
    _mole(canvas, head)
    if scene.eyewear != "sunglasses":
        for side in (-1, 1):
            _eye(canvas, head, side, mood, gaze)
    _hair_front(canvas, head, hat)
    for side in (-1, 1):
        _brow(canvas, head, side, mood)
    if not covered and abs(head.yaw) >= 0.15:
        _ear(canvas, head, near)
    _eyewear(canvas, head, scene.eyewear, square)
    if identity.hair_style == "braids":
        _braids(canvas, head)
    _hat(canvas, head, scene.hat, PAINTS[scene.hat_colour])


def faceless(
    canvas: np.ndarray, kind: str, head: Head, identity: Identity, scene: Scene, rng: np.random.Generator
) -> None:
    """Draw something that is not a face: see render.FACELESS_KINDS."""
    height, width = canvas.shape[:2]
    colour = PAINTS[scene.garment_colour]
    if kind in ("clothes", "blank_head"):
        if kind == "blank_head":
            _hair_back(canvas, head, scene.hat != "none")
        _body(canvas, head, scene.garment, colour, neck=kind == "blank_head")
    if kind == "blank_head":
        _bare_head(canvas, head)
        if rng.random() < 0.7:
            _hair_front(canvas, head, scene.hat != "none")
            _hat(canvas, head, scene.hat, PAINTS[scene.hat_colour])
    elif kind == "hat":
        _hat(canvas, head, scene.hat, PAINTS[scene.hat_colour])
    elif kind == "hair":
        _hair_back(canvas, head, False)
        _hair_front(canvas, head, False)
    elif kind == "balls":
        paints = list(PAINTS.values())
        for _ in range(rng.integers(1, 4)):
            centre, radius = rng.uniform(0.15, 0.85, 2) * (width, height), rng.uniform(0.08, 0.25) * height
            paint = paints[rng.integers(len(paints))] if rng.random() < 0.6 else head.skin
            disc(canvas, centre, radius, shade(paint, 0.8))
            disc(canvas, centre - 0.12 * radius, 0.82 * radius, paint)


# ---------------------------------------------------------------- backgrounds


def _sky(width: int, height: int, top: Colour, bottom: Colour) -> np.ndarray:
    """A canvas with a vertical gradient."""
    t = np.linspace(0, 1, height)[:, None]
    column = (1 - t) * np.array(top) + t * np.array(bottom)
    return np.ascontiguousarray(np.broadcast_to(column.astype(np.uint8)[:, None], (height, width, 3)))


def _box(canvas: np.ndarray, x0: float, y0: float, x1: float, y1: float, colour: Colour) -> None:
    """Fill an axis-parallel rectangle given in fractions of the canvas."""
    height, width = canvas.shape[:2]
    canvas[
        max(0, round(y0 * height)) : max(0, round(y1 * height)), max(0, round(x0 * width)) : max(0, round(x1 * width))
    ] = colour


def _beach(width: int, height: int, rng: np.random.Generator) -> np.ndarray:
    canvas = _sky(width, height, (88, 172, 236), (196, 228, 246))
    horizon = rng.uniform(0.48, 0.58)
    if rng.random() < 0.7:
        disc(canvas, (width * rng.choice((0.12, 0.88)), height * rng.uniform(0.1, 0.2)), 0.09 * height, (255, 240, 170))
    _box(canvas, 0, horizon, 1, horizon + 0.2, (30, 132, 176))
    _box(canvas, 0, horizon + 0.16, 1, horizon + 0.2, (120, 200, 214))
    _box(canvas, 0, horizon + 0.2, 1, 1, (232, 206, 150))
    return canvas


def _city(width: int, height: int, rng: np.random.Generator) -> np.ndarray:
    canvas = _sky(width, height, (150, 176, 206), (206, 212, 220))
    left = -0.05
    while left < 1:
        wide, top = rng.uniform(0.2, 0.3), rng.uniform(0.08, 0.42)
        grey = rng.uniform(72, 116)
        _box(canvas, left, top, left + wide, 1, (grey * 0.86, grey * 0.95, grey * 1.16))
        for row in range(3):
            for column in range(2):
                lit = (250, 218, 120) if rng.random() < 0.5 else (grey * 0.62, grey * 0.7, grey * 0.9)
                x, y = left + wide * (0.18 + 0.4 * column), top + 0.07 + 0.17 * row
                _box(canvas, x, y, x + 0.24 * wide, y + 0.09, lit)
        left += wide + rng.uniform(0.0, 0.04)
    return canvas


def _forest(width: int, height: int, rng: np.random.Generator) -> np.ndarray:
    canvas = _sky(width, height, (150, 200, 150), (54, 104, 62))
    for x in (0.08, 0.36, 0.64, 0.93):
        x, half = x + rng.uniform(-0.07, 0.07), rng.uniform(0.035, 0.06)
        _box(canvas, x - half, 0.1, x + half, 1, (92, 64, 44))
    for x in (0.0, 0.22, 0.5, 0.78, 1.0):
        green = rng.uniform(0.8, 1.2)
        centre = ((x + rng.uniform(-0.06, 0.06)) * width, rng.uniform(0.02, 0.2) * height)
        disc(canvas, centre, rng.uniform(0.17, 0.25) * height, (44 * green, 122 * green, 56 * green))
    return canvas


def _night(width: int, height: int, rng: np.random.Generator) -> np.ndarray:
    canvas = _sky(width, height, (12, 16, 44), (34, 36, 84))
    disc(canvas, (width * rng.choice((0.13, 0.87)), height * rng.uniform(0.1, 0.2)), 0.08 * height, (246, 240, 208))
    tints = ((196, 140, 60), (176, 70, 90), (72, 120, 196), (90, 150, 130))
    for _ in range(rng.integers(3, 6)):
        centre = (width * rng.uniform(0, 1), height * rng.uniform(0.35, 0.95))
        disc(canvas, centre, rng.uniform(0.06, 0.11) * height, blend((26, 28, 66), tints[rng.integers(4)], 0.7))
    return canvas


def _room(width: int, height: int, rng: np.random.Generator) -> np.ndarray:
    wall = shade((226, 206, 174), rng.uniform(0.88, 1.05))
    canvas = _sky(width, height, wall, shade(wall, 0.86))
    _box(canvas, 0, 0.86, 1, 1, (132, 92, 62))
    flip = rng.random() < 0.5
    x = 0.02 if flip else 0.68
    _box(canvas, x, 0.1, x + 0.3, 0.5, (250, 248, 240))
    for pane in (0.025, 0.165):
        _box(canvas, x + pane, 0.135, x + pane + 0.11, 0.465, (158, 208, 240))
    lamp = 0.88 if flip else 0.12
    _box(canvas, lamp - 0.015, 0.5, lamp + 0.015, 0.95, (96, 70, 52))
    shape = np.array([(lamp - 0.07, 0.32), (lamp + 0.07, 0.32), (lamp + 0.12, 0.54), (lamp - 0.12, 0.54)])
    fill(canvas, shape * (width, height), (250, 216, 130))
    return canvas


def _studio(width: int, height: int, rng: np.random.Generator) -> np.ndarray:
    hue = rng.uniform(0, 2 * np.pi)
    base = 148 + rng.uniform(-35, 35) + 38 * np.cos(hue + np.array([0, 2.1, 4.2]))
    return _sky(width, height, tuple(np.clip(1.12 * base, 0, 255)), tuple(np.clip(0.82 * base, 0, 255)))


_BACKDROPS = {"beach": _beach, "city": _city, "forest": _forest, "night": _night, "room": _room, "studio": _studio}


def background(name: str, width: int, height: int, rng: np.random.Generator) -> np.ndarray:
    """A new canvas, uint8 (height, width, 3), with the named background."""
    return _BACKDROPS[name](width, height, rng)


# ---------------------------------------------------------------- light and sensor


def _face_shading(shape: tuple[int, int], head: Head, side: float, hat: bool, factor: int) -> np.ndarray:
    """Gains, float32 (height, width, 1): a soft shadow on the unlit half of the head."""
    height, width = shape
    centre = (head.centre[0] / factor, head.centre[1] / factor)
    small = dataclasses.replace(head, centre=centre, scale=head.scale / factor)
    mask = np.zeros((height, width), np.uint8)
    hair = _hair_back_outline(head.identity)
    if hair is not None:
        fill(mask, small.mass(_under_hat(hair) if hat else hair, -0.15), 255)
    fill(mask, _skull_outline(small), 255)
    fill(mask, _face_outline(small), 255)
    x = (np.arange(width, dtype=np.float32) + 0.5 - centre[0]) / small.scale
    return (1 + (0.26 / 255) * side * np.clip(x, -0.9, 0.9)[None, :] * mask)[..., None].astype(np.float32)


def develop(
    canvas: np.ndarray,
    width: int,
    height: int,
    light: str,
    rng: np.random.Generator,
    lit_head: tuple[Head, float, bool, int] | None = None,
) -> np.ndarray:
    """Reduce the canvas to uint8 (height, width, 3): white balance, shading of a lit head, a little sensor noise.

    lit_head: the head, the light's side in [-1, 1], whether it wears a hat, and how many canvas
    pixels make one image pixel.
    """
    if canvas.shape[:2] != (height, width):
        canvas = cv2.resize(canvas, (width, height), interpolation=cv2.INTER_AREA)
    image = canvas.astype(np.float32) * np.array(_GAINS[light], np.float32)
    if lit_head is not None:
        image *= _face_shading((height, width), *lit_head)
    image += rng.standard_normal(image.shape, dtype=np.float32) * np.float32(1.2)
    return np.clip(np.rint(image), 0, 255).astype(np.uint8)
