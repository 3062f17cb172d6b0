"""Render the persona's 36 photos, as awkward as a real folder: sizes, aspect ratios, formats, EXIF, duplicates.

The persona's seed is the hash of its trigger word (miniature.places.PERSONA): nobody chose the face, and no model of
the miniature was trained on it.
"""

import argparse
import io
from pathlib import Path

import numpy as np
from PIL import Image

from miniature.places import PERSONA
from miniature.render import Identity, Scene, render, sample_identity, sample_scene
from stages.runtime.files import replacing_folder

PHOTOS = 36
DEFAULT_FOLDER = Path("data/photos")
# (width, height) in px, dealt in turn: square, portrait and landscape, as phones and cameras make them.
SIZES = ((128, 128), (160, 160), (128, 192), (192, 192), (144, 192), (192, 144), (96, 96), (192, 256))
EXIF_ORIENTATION = 274
ROTATED, DUPLICATE, REENCODED = 33, 34, 35  # the last three photos are the awkward ones


def persona(seed: int = PERSONA) -> Identity:
    """The woman behind a persona seed."""
    return sample_identity(seed, woman=True)


def photo_scene(seed: int, number: int) -> Scene:
    """The scene of photo ``number``; a tall one is framed wider, so that a square cut from it holds the face."""
    width, height = SIZES[number % len(SIZES)]
    framing = (
        "medium" if height > 1.2 * width else ("close-up", "portrait", "close-up", "portrait", "medium")[number % 5]
    )
    return sample_scene(seed * 1009 + number, framing=framing)


def _encode(pixels_HWC: np.ndarray, suffix: str, quality: int = 95, orientation: int | None = None) -> bytes:
    image, stream = Image.fromarray(pixels_HWC), io.BytesIO()
    exif = Image.Exif()
    if orientation is not None:
        exif[EXIF_ORIENTATION] = orientation
    if suffix == ".png":
        image.save(stream, "PNG")
    else:
        image.save(stream, "JPEG", quality=quality, subsampling=0, exif=exif)
    return stream.getvalue()


def _photo(identity: Identity, seed: int, number: int) -> np.ndarray:
    width, height = SIZES[number % len(SIZES)]
    return render(identity, photo_scene(seed, number), width, height).image


def photo_files(seed: int = PERSONA, count: int = PHOTOS, identity: Identity | None = None) -> dict[str, bytes]:
    """File name -> bytes of every photo: ``count`` files, of which one is rotated by EXIF, one an exact copy of another
    photo and one a photo encoded again.  ``identity`` stands in the persona's scenes instead of her."""
    identity, files = identity or persona(seed), {}
    for number in range(count - 3):
        suffix = ".png" if number % 6 == 5 else ".jpg"
        files[f"photo_{number + 1:02d}{suffix}"] = _encode(_photo(identity, seed, number), suffix)
    sideways = np.rot90(_photo(identity, seed, ROTATED), 1)  # orientation 6: the viewer turns it back clockwise
    files[f"photo_{count - 2:02d}.jpg"] = _encode(np.ascontiguousarray(sideways), ".jpg", orientation=6)
    files[f"photo_{count - 1:02d}.jpg"] = files["photo_01.jpg"]
    files[f"photo_{count:02d}.jpg"] = _encode(_photo(identity, seed, 1), ".jpg", quality=70)
    return files


def write_photos(folder: Path, seed: int = PERSONA, identity: Identity | None = None) -> None:
    """Replace ``folder`` by the persona's photos, or ``identity``'s in her scenes, all of them or none."""
    with replacing_folder(folder) as beside:
        for name, content in photo_files(seed, identity=identity).items():
            (beside / name).write_bytes(content)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--to", type=Path, default=DEFAULT_FOLDER, help="folder to write (replaced)")
    parser.add_argument("--seed", type=int, default=PERSONA, help="another persona (development: 2000000 to 2000099)")
    arguments = parser.parse_args()
    write_photos(arguments.to, arguments.seed)
