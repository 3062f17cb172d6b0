"""Cartoon portraits on demand: identities, scenes, captions and the rendered pictures with their annotations.

An Identity says who (the same in every photo), a Scene says what changes from photo to photo. Everything is a pure
function of its arguments: the same identity, scene and size give the same bytes.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np

from miniature import drawing

EXPRESSIONS = ("neutral", "smiling", "surprised", "frowning")
EYEWEAR = ("none", "glasses", "sunglasses")
HATS = ("none", "cap", "beanie")
GARMENTS = ("shirt", "jacket")
COLOURS = ("red", "blue", "green", "yellow", "purple", "orange", "pink", "black")
BACKGROUNDS = ("beach", "city", "forest", "night", "room", "studio")
FRAMINGS = ("close-up", "portrait", "medium")
LIGHTS = ("daylight", "warm", "cool")

HAIR_STYLES = (
    "long_straight",
    "long_wavy",
    "bob",
    "curly",
    "short",
    "quiff",
    "buzz",
    "bun",
    "ponytail",
    "braids",
    "bald",
)
FRINGES = ("none", "full", "swept")
BEARDS = ("none", "stubble", "goatee", "full", "moustache")

# Range of every continuous identity field; vector() maps each range onto [-1, 1].
RANGES: dict[str, tuple[float, float]] = {
    "skin_tone": (0.0, 1.0),  # light to deep
    "skin_warmth": (-1.0, 1.0),  # rosy to golden
    "face_width": (0.72, 0.94),  # half width, in half face heights
    "jaw_width": (0.0, 1.0),
    "chin_width": (0.0, 1.0),
    "cheek": (0.0, 1.0),
    "hair_red": (0.0, 1.0),
    "hair_green": (0.0, 1.0),
    "hair_blue": (0.0, 1.0),
    "hair_volume": (0.0, 1.0),
    "hair_length": (0.0, 1.0),
    "parting": (-1.0, 1.0),  # side of the parting: image left to image right
    "hairline": (0.0, 1.0),  # low to high
    "eye_width": (0.165, 0.215),
    "eye_height": (0.10, 0.165),
    "eye_spacing": (0.33, 0.43),  # centre line to eye centre
    "eye_tilt": (-0.22, 0.30),  # positive: outer corner up
    "eye_level": (-0.14, 0.0),
    "eye_red": (0.0, 1.0),
    "eye_green": (0.0, 1.0),
    "eye_blue": (0.0, 1.0),
    "brow_thickness": (0.045, 0.125),
    "brow_arch": (0.0, 0.14),
    "brow_tilt": (-0.28, 0.14),
    "brow_height": (0.24, 0.34),  # above the eye centre
    "nose_length": (0.34, 0.50),  # below the eye centre
    "nose_width": (0.11, 0.24),
    "mouth_width": (0.22, 0.36),
    "mouth_level": (0.58, 0.68),
    "lip_fullness": (0.035, 0.12),
    "lip_redness": (0.0, 1.0),
    "ear_size": (0.7, 1.3),
    "mole_size": (0.0, 1.0),  # under 0.6: no mole
    "mole_x": (-1.0, 1.0),
    "mole_y": (0.0, 1.0),
    "freckles": (0.0, 1.0),  # under 0.7: none
    "blush": (0.0, 1.0),
    "lines": (0.0, 1.0),  # over 0.7: age lines
}

_CATEGORIES: dict[str, tuple] = {
    "woman": (False, True),
    "hair_style": HAIR_STYLES,
    "fringe": FRINGES,
    "beard": BEARDS,
}
_SWITCH_AT = {"fringe": 0.3, "hair_style": 0.45, "woman": 0.6, "beard": 0.75}  # fraction of a mix at which each turns

IDENTITY_DIM = len(RANGES) + 1 + len(HAIR_STYLES) + len(FRINGES) + len(BEARDS)

_WOMAN_STYLES = ("long_straight", "long_wavy", "bob", "curly", "short", "bun", "ponytail", "braids")
_MAN_STYLES = ("short", "short", "quiff", "quiff", "buzz", "bald", "curly", "long_straight")
_HAIR_COLOURS = np.array(
    [
        (28, 24, 28),
        (58, 38, 28),
        (104, 66, 38),
        (148, 60, 30),
        (206, 104, 40),
        (236, 190, 104),
        (248, 224, 164),
        (158, 158, 164),
    ]
)
_EYE_COLOURS = np.array([(86, 48, 24), (136, 88, 34), (62, 138, 72), (56, 124, 204), (110, 140, 158)])


@dataclass(frozen=True)
class Identity:
    """Who: everything that stays the same between photos. Floats lie in RANGES, lengths in half face heights."""

    woman: bool
    hair_style: str
    fringe: str
    beard: str
    skin_tone: float
    skin_warmth: float
    face_width: float
    jaw_width: float
    chin_width: float
    cheek: float
    hair_red: float
    hair_green: float
    hair_blue: float
    hair_volume: float
    hair_length: float
    parting: float
    hairline: float
    eye_width: float
    eye_height: float
    eye_spacing: float
    eye_tilt: float
    eye_level: float
    eye_red: float
    eye_green: float
    eye_blue: float
    brow_thickness: float
    brow_arch: float
    brow_tilt: float
    brow_height: float
    nose_length: float
    nose_width: float
    mouth_width: float
    mouth_level: float
    lip_fullness: float
    lip_redness: float
    ear_size: float
    mole_size: float
    mole_x: float
    mole_y: float
    freckles: float
    blush: float
    lines: float

    @property
    def class_word(self) -> str:
        """The caption's word for this person."""
        return "woman" if self.woman else "man"

    def vector(self) -> np.ndarray:
        """float32 (IDENTITY_DIM,): continuous fields mapped onto [-1, 1], then sex as +-1, then one-hot categories."""
        values = [2 * (getattr(self, name) - low) / (high - low) - 1 for name, (low, high) in RANGES.items()]
        values.append(1.0 if self.woman else -1.0)
        for field in ("hair_style", "fringe", "beard"):
            values.extend(float(getattr(self, field) == option) for option in _CATEGORIES[field])
        return np.array(values, dtype=np.float32)


def _rng(seed: int, salt: int) -> np.random.Generator:
    """An independent stream for each (seed, purpose)."""
    return np.random.default_rng((int(seed) % 2**63, salt))


def _sample_colour(rng: np.random.Generator, anchors: np.ndarray, spread: float) -> np.ndarray:
    """One of the anchor colours, moved a little in brightness and hue: (3,) in [0, 1]."""
    anchor = anchors[rng.integers(len(anchors))] / 255.0
    return np.clip(anchor * rng.uniform(1 - spread, 1 + spread) + rng.uniform(-0.03, 0.03, 3), 0, 1)


def _sample_hair(rng: np.random.Generator, woman: bool) -> dict:
    """Values of every field that a hairdresser could change."""
    styles = _WOMAN_STYLES if woman else _MAN_STYLES
    red, green, blue = (float(value) for value in _sample_colour(rng, _HAIR_COLOURS, 0.15))
    return {
        "hair_style": styles[rng.integers(len(styles))],
        "fringe": FRINGES[rng.integers(3)] if woman else FRINGES[2 * int(rng.random() < 0.4)],
        "hair_red": red,
        "hair_green": green,
        "hair_blue": blue,
        "hair_volume": float(rng.random()),
        "hair_length": float(rng.random()),
        "parting": float(rng.uniform(0.3, 1.0) * rng.choice((-1, 1))),
    }


def sample_identity(seed: int, *, woman: bool | None = None) -> Identity:
    """The person with this number; fixing `woman` keeps every other draw comparable."""
    rng = _rng(seed, 1)
    drawn_woman = bool(rng.random() < 0.5)
    woman = drawn_woman if woman is None else bool(woman)
    values = {name: float(rng.uniform(low, high)) for name, (low, high) in RANGES.items()}
    values.update(
        zip(("eye_red", "eye_green", "eye_blue"), map(float, _sample_colour(rng, _EYE_COLOURS, 0.12)), strict=True)
    )
    beard = "none" if woman else BEARDS[rng.choice(5, p=(0.4, 0.15, 0.15, 0.18, 0.12))]
    if woman:  # softer jaw, finer brows and fuller lips, so that the two classes can be told apart
        values["jaw_width"] *= 0.6
        values["brow_thickness"] = 0.045 + 0.5 * (values["brow_thickness"] - 0.045)
        values["lip_fullness"] = 0.06 + 0.7 * (values["lip_fullness"] - 0.035)
    else:
        values["jaw_width"] = 0.35 + 0.65 * values["jaw_width"]
        values["lip_redness"] *= 0.35
        values["brow_thickness"] = 0.07 + 0.68 * (values["brow_thickness"] - 0.045)
        values["lip_fullness"] = 0.035 + 0.6 * (values["lip_fullness"] - 0.035)
    values.update(_sample_hair(rng, woman))
    return Identity(woman=woman, beard=beard, **values)  # type: ignore[arg-type]


def alter_hair(identity: Identity, seed: int) -> Identity:
    """The same person after the hairdresser: another style, cut and colour (always another style)."""
    rng = _rng(seed, 2)
    hair = _sample_hair(rng, identity.woman)
    while hair["hair_style"] == identity.hair_style:
        hair = _sample_hair(rng, identity.woman)
    return dataclasses.replace(identity, **hair)


def mix_identities(a: Identity, b: Identity, fraction: float) -> Identity:
    """From a (0) to b (1): continuous fields move linearly, categorical ones switch one after another."""
    if fraction <= 0 or fraction >= 1:
        return a if fraction <= 0 else b
    values = {name: (1 - fraction) * getattr(a, name) + fraction * getattr(b, name) for name in RANGES}
    for name, threshold in _SWITCH_AT.items():
        values[name] = getattr(a if fraction < threshold else b, name)
    return Identity(**values)


@dataclass(frozen=True)
class Scene:
    """What changes from photo to photo.

    Angles in degrees: yaw +-40 (positive: looks to the image's right), pitch +-15 (positive: looks up), roll +-12
    (positive: head tips clockwise in the image). light_side in [-1, 1]: 1 lights the image-right side of the face.
    """

    yaw: float
    pitch: float
    roll: float
    expression: str
    eyewear: str
    hat: str
    hat_colour: str
    garment: str
    garment_colour: str
    background: str
    framing: str
    light: str
    light_side: float
    detail: int


_SCENE_FIELDS = tuple(field.name for field in dataclasses.fields(Scene))


def sample_scene(seed: int, **fixed) -> Scene:
    """The scene with this number; fixed fields override their draw and leave all the others as they were."""
    unknown = set(fixed) - set(_SCENE_FIELDS)
    if unknown:
        raise TypeError(f"unknown scene field(s): {', '.join(sorted(unknown))}")
    rng = _rng(seed, 3)

    def pick(options: tuple, p: tuple | None = None) -> str:
        return options[rng.choice(len(options), p=p)]

    values = {
        "yaw": float(np.clip(rng.normal(0, 14), -40, 40)),
        "pitch": float(np.clip(rng.normal(0, 5), -15, 15)),
        "roll": float(np.clip(rng.normal(0, 4), -12, 12)),
        "expression": pick(EXPRESSIONS),
        "eyewear": pick(EYEWEAR, (0.6, 0.25, 0.15)),
        "hat": pick(HATS, (0.7, 0.15, 0.15)),
        "hat_colour": pick(COLOURS),
        "garment": pick(GARMENTS),
        "garment_colour": pick(COLOURS),
        "background": pick(BACKGROUNDS),
        "framing": pick(FRAMINGS),
        "light": pick(LIGHTS),
        "light_side": float(rng.uniform(-1, 1)),
        "detail": int(rng.integers(2**31)),
    }
    return Scene(**(values | fixed))  # type: ignore[arg-type]


def describe(identity: Identity, scene: Scene) -> str:
    """The caption: class, expression, eyewear and hat if any, garment, background, framing, light."""
    parts = [f"a {identity.class_word}", scene.expression]
    if scene.eyewear != "none":
        parts.append(scene.eyewear)
    if scene.hat != "none":
        parts.append(f"{scene.hat_colour} {scene.hat}")
    parts += [f"{scene.garment_colour} {scene.garment}", f"{scene.background} background", scene.framing]
    return ", ".join([*parts, f"{scene.light} light"])


@dataclass(frozen=True)
class Render:
    """A picture and what is true of it; boxes and landmarks in pixels, x to the right, y down."""

    image: np.ndarray  # uint8 (height, width, 3) RGB
    bbox: np.ndarray | None  # float32 (4,) x0 y0 x1 y1: hairline to chin, ear to ear; None when faceless
    landmarks: (
        np.ndarray | None
    )  # float32 (5, 2): image-left eye, -right eye, nose tip, image-left, -right mouth corner
    attributes: dict[str, str]
    caption: str


_ATTRIBUTES = (
    "expression",
    "eyewear",
    "hat",
    "hat_colour",
    "garment",
    "garment_colour",
    "background",
    "framing",
    "light",
)


def _supersampling(width: int, height: int) -> int:
    """How many times larger to draw: much for miniatures, little where antialiased edges are enough."""
    longest = max(width, height)
    return 4 if longest <= 72 else 3 if longest <= 112 else 2 if longest <= 256 else 1


def render(identity: Identity, scene: Scene, width: int = 64, height: int | None = None) -> Render:
    """Photograph a person. width and height in pixels (48-512, aspect ratio 2:3 to 3:2); height defaults to width."""
    height = width if height is None else height
    factor = _supersampling(width, height)
    rng = _rng(scene.detail, 4)
    canvas = drawing.background(scene.background, width * factor, height * factor, rng)
    head = drawing.place_head(identity, scene, width * factor, height * factor, rng)
    drawing.person(canvas, head, identity, scene)
    image = drawing.develop(
        canvas, width, height, scene.light, rng, (head, scene.light_side, scene.hat != "none", factor)
    )
    limit = np.array([width, height], dtype=np.float32)
    box = drawing.face_box(head).reshape(2, 2) / factor
    return Render(
        image=image,
        bbox=np.clip(box, 0, limit).astype(np.float32).reshape(4),
        landmarks=np.clip(drawing.landmarks(head, scene) / factor, 0, limit - 1e-3).astype(np.float32),
        attributes={name: getattr(scene, name) for name in _ATTRIBUTES} | {"class": identity.class_word},
        caption=describe(identity, scene),
    )


FACELESS_KINDS = ("scenery", "clothes", "blank_head", "hat", "hair", "balls")


def render_faceless(seed: int, width: int = 64, height: int | None = None) -> Render:
    """A picture without a face, for hard negatives: scenery, empty clothes, blank heads, lone hats or hair, balls."""
    height = width if height is None else height
    factor = _supersampling(width, height)
    rng = _rng(seed, 5)
    kind = FACELESS_KINDS[rng.integers(len(FACELESS_KINDS))]
    identity = sample_identity(int(rng.integers(2**31)))
    scene = sample_scene(int(rng.integers(2**31)))
    if kind == "hat" and scene.hat == "none":
        scene = dataclasses.replace(scene, hat=HATS[1 + rng.integers(2)])
    canvas = drawing.background(scene.background, width * factor, height * factor, rng)
    head = drawing.place_head(identity, scene, width * factor, height * factor, rng)
    drawing.faceless(canvas, kind, head, identity, scene, rng)
    return Render(
        image=drawing.develop(canvas, width, height, scene.light, rng),
        bbox=None,
        landmarks=None,
        attributes={"background": scene.background, "light": scene.light, "class": "none"},
        caption=f"no face, {scene.background} background, {scene.light} light",
    )
