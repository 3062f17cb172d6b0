"""Two versions on the same prompt and seed, side by side, and nobody can tell which is which."""

import csv
import re
import secrets
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from pydantic import Field

from publish.review.gallery import Item, Picture, find_pictures, name_item, read_entry
from stages.contracts.artifact import Closed, read_artifact
from stages.contracts.paths import EVAL_IMAGES, PER_IMAGE, VERSIONS
from stages.contracts.production import record_path
from stages.contracts.version_pictures import INDEX, read_version_pictures
from stages.runtime.errors import UserError
from stages.runtime.files import write_json
from stages.runtime.pictures import hash_pixels, read_picture
from stages.runtime.seeds import derive_seed

ASSIGNMENT = "assignment.json"
SHOT = re.compile(r"^p(\d+)_s(\d+)$")
Key = tuple[str, int]  # prompt and seed
KEPT = Path("metrics/votes")
MADE_AGAIN = (EVAL_IMAGES.parts, ("data", "sweep"))  # DVC replaces these folders with whatever lies in them


class Side(Closed):
    """Which version stood on the left."""

    item: str
    prompt: str
    seed: int
    left: Literal["first", "second"]


class Assignment(Closed):
    """assignment.json: who stood where, decided by a seed before anybody looked."""

    seed: int = Field(description="of the sides and of the order")
    first: str = Field(description="name of the version that is judged")
    second: str = Field(description="of the one against which")
    pairs: tuple[Side, ...]


@dataclass(frozen=True)
class Shots:
    """The pictures of one version by prompt and seed."""

    name: str
    pictures: dict[Key, Picture]


def find_version(name: str) -> Path:
    """A folder, or a promoted version's by its name.

    Raises:
        UserError: when there is neither.
    """
    path = Path(name)
    if path.is_dir():
        return path
    if (VERSIONS / name).is_dir():
        return VERSIONS / name
    raise UserError(name, "neither a folder nor a promoted version", "name a folder of pictures; `pistachio history`")


def read_shots(folder: Path) -> Shots:
    """The pictures of a batch, of a promoted version, or of data/eval/SET, by prompt and seed.

    Raises:
        UserError: when the folder is none of these.
    """
    if (folder / INDEX).is_file():
        pictures = _version_shots(folder)
    else:
        paths, _ = find_pictures(folder)
        recorded = any(record_path(path).is_file() for path in paths)
        pictures = _recorded_shots(folder, paths) if recorded else _eval_shots(folder, paths)
    return Shots(folder.resolve().name, pictures)


def _recorded_shots(folder: Path, paths: list[Path]) -> dict[Key, Picture]:
    found: dict[Key, Picture] = {}
    for path in paths:
        picture = read_entry(path, folder)
        if picture.record is not None:
            found.setdefault((picture.record.origin.prompt, picture.record.origin.seed), picture)
    return found


def _version_shots(folder: Path) -> dict[Key, Picture]:
    texts = _read_prompts(folder / PER_IMAGE.name)
    root = folder.resolve()
    return {
        (texts[prompt], seed): Picture(path, root, path.name, hash_pixels(read_picture(path)))
        for (prompt, seed), path in read_version_pictures(folder).items()
        if prompt in texts and path.is_file()
    }


def _eval_shots(folder: Path, paths: list[Path]) -> dict[Key, Picture]:
    tables = [folder / PER_IMAGE.name, folder.parent / PER_IMAGE.name, folder.resolve().parents[2] / PER_IMAGE]
    table = next((path for path in tables if path.is_file()), None)
    if table is None:
        what = "neither records beside the pictures nor a per_image.csv that says their prompts"
        raise UserError(folder, what, "name a batch, a promoted version, or data/eval/lora of a workspace")
    texts, root, found = _read_prompts(table), folder.resolve(), {}
    for path in paths:
        shot = SHOT.match(path.stem)
        if shot and int(shot[1]) in texts:
            found[texts[int(shot[1])], int(shot[2])] = Picture(path, root, path.name, hash_pixels(read_picture(path)))
    return found


def _read_prompts(table: Path) -> dict[int, str]:
    """prompt_index -> prompt of a per_image.csv."""
    try:
        with table.open(newline="", encoding="utf-8") as stream:
            rows = [row for row in csv.DictReader(stream) if row.get("set", "lora") == "lora"]
        return {int(row["prompt_index"]): row["prompt"] for row in rows}
    except FileNotFoundError:
        raise UserError(table, "not found", "restore it from git") from None
    except (KeyError, ValueError, TypeError) as error:
        raise UserError(table, f"is no table of pictures ({error})", "restore it from git") from None


def match_pairs(
    first: Shots, second: Shots, place: Path, seed: int | None, *, writable: bool = True
) -> tuple[list[Item], Assignment]:
    """Pairs in the stored order, each with its versions on the stored sides; new pairs are added to what is stored.

    Args:
        first: the version that is judged.
        second: the other.
        place: folder of assignment.json.
        seed: of sides and order; None: the stored one, or a random one.
        writable: store what is new.

    Raises:
        UserError: when nothing matches, or another seed is stored.
    """
    common = [key for key in first.pictures if key in second.pictures]
    if not common:
        what = f"shares no prompt and seed with {second.name} ({len(first.pictures)} and {len(second.pictures)} known)"
        raise UserError(first.name, what, "draw both with the same prompts and seeds")
    path = place / ASSIGNMENT
    stored = _read_assignment(path)
    if stored is not None and seed not in (None, stored.seed):
        raise UserError(path, f"was made with seed {stored.seed}", "leave --seed out, or name another --votes folder")
    drawn = stored.seed if stored else secrets.randbelow(2**31) if seed is None else seed
    sides = {side.item: side for side in stored.pairs} if stored else {}
    items = []
    for key in common:
        one, other = _made_even(first.pictures[key], second.pictures[key])
        name = name_item("pair", *key, one.pixels_sha256, other.pixels_sha256)
        left: Literal["first", "second"] = "first" if derive_seed(drawn, "side", name) % 2 else "second"
        side = sides.setdefault(name, Side(item=name, prompt=key[0], seed=key[1], left=left))
        shown = (one, other) if side.left == "first" else (other, one)
        record = one.record
        items.append(Item(name, record.origin.text if record else key[0], shown, side.left == "first"))
    assignment = Assignment(seed=drawn, first=first.name, second=second.name, pairs=tuple(sides.values()))
    if writable and assignment != stored:
        write_json(path, assignment.model_dump(mode="json"))
    return sorted(items, key=lambda item: derive_seed(drawn, "order", item.id)), assignment


def _read_assignment(path: Path) -> Assignment | None:
    if not path.exists():
        return None
    return read_artifact(Assignment, path, "restore it: without it the votes say nothing")


def _made_even(one: Picture, other: Picture) -> tuple[Picture, Picture]:
    """Both as large as the smaller one, and both a JPEG where one is: small copies must not be known for such."""
    shapes = [read_picture(each.path).shape for each in (one, other)]
    side = min(max(shape[:2]) for shape in shapes)
    sizes = [tuple(max(1, round(length * side / max(shape[:2]))) for length in shape[1::-1]) for shape in shapes]
    lossy = [each.path.suffix.lower() in (".jpg", ".jpeg") for each in (one, other)]
    alike = (other.path if lossy[1] and not lossy[0] else None, one.path if lossy[0] and not lossy[1] else None)
    made = [replace(each, size=size, alike=as_) for each, size, as_ in zip((one, other), sizes, alike, strict=True)]
    return made[0], made[1]


def find_place(folder: Path, votes: Path | None) -> Path:
    """Where votes on the pictures of ``folder`` are kept: with them, unless that would not last.

    DVC makes evaluations again and a promotion replaces its version's folder: those votes lie in metrics/votes.

    Raises:
        UserError: when ``votes`` names a folder that DVC makes again.
    """
    if votes is not None:
        if _workspace_of(votes) is not None:
            todo = "keep the votes elsewhere: --votes metrics/votes"
            raise UserError(votes, "DVC makes this folder again, and votes in it would be lost", todo)
        return votes
    workspace = folder.resolve().parents[2] if (folder / INDEX).is_file() else _workspace_of(folder)
    return folder if workspace is None else workspace / KEPT


def _workspace_of(folder: Path) -> Path | None:
    """The workspace whose DVC makes ``folder`` again; None: none does."""
    parts = folder.resolve().parts
    for again in MADE_AGAIN:
        for start in range(len(parts) - len(again) + 1):
            if parts[start : start + len(again)] == again:
                return Path(*parts[:start])
    return None
