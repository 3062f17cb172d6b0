"""Whose LoRA draws, with which settings: a promoted version's, a file's, or what the sweep has chosen."""

from dataclasses import dataclass
from pathlib import Path

from stages.contracts.lora import SUFFIX, UNKNOWN_STEP, Header, read_header
from stages.contracts.paths import LORA, SCORECARD, VERSIONS
from stages.contracts.scorecard import Settings, read_choice, read_scorecard
from stages.flows.versions import list_versions
from stages.runtime.errors import UserError
from stages.runtime.provenance import hash_file, hash_path

FOLDERS = (LORA, LORA.parent)  # where a version's file may lie


@dataclass(frozen=True)
class Recipe:
    """Everything but prompt and seed that decides a picture, with the hashes of the files that it names."""

    version: str  # the promoted version, what the file says of itself, or its name
    cell: Settings
    lora_sha256: str
    base_sha256: str
    reference_sha256: str  # empty: no photo conditions the face
    manifest_sha256: str  # of the dataset that the LoRA was trained from; unknown: from elsewhere


def choose_recipe(lora: str | None = None) -> Recipe:
    """What to draw with.

    Args:
        lora: a version in metrics/versions with its winning configuration, or a .safetensors file with the sweep's;
            None: file and configuration that the sweep chose.

    Raises:
        UserError: when there is no such version or file, or nothing was chosen yet.
    """
    if lora is None:
        cell = _settings(read_choice().best)
        return _describe(cell, read_header(Path(cell.lora)).version or Path(cell.lora).stem)
    if lora.endswith(SUFFIX):
        header = read_header(Path(lora))
        changes = {"lora": Path(lora).as_posix(), "checkpoint": header.step or UNKNOWN_STEP}
        return _describe(_settings(read_choice().best).model_copy(update=changes), header.version or Path(lora).stem)
    return _of_version(lora)


def _of_version(name: str) -> Recipe:
    known = list_versions()
    if name not in known:
        have = f"there are {', '.join(known)}" if known else "nothing was promoted yet"
        raise UserError("--lora", f"no version {name!r} in {VERSIONS}, and no file (*{SUFFIX})", have)
    card = read_scorecard(VERSIONS / name / SCORECARD.name)
    cell = _settings(card.best_config)
    path = _find_file(card.lora_sha256, Path(cell.lora))
    if path is None:
        get = f"dvc get . {cell.lora} --rev lora/{name} --out {LORA.parent}/{name}{SUFFIX}"
        what = f"none of the files in {LORA} and {LORA.parent} is its LoRA (sha256 {card.lora_sha256[:12]}...)"
        raise UserError(f"version {name}", what, f"dvc pull {LORA}, or `{get}`")
    return _describe(cell.model_copy(update={"lora": path.as_posix()}), name)


def _find_file(sha256: str, first: Path) -> Path | None:
    """The file of that hash: where it was when it was judged, else anywhere beside it."""
    others = [path for folder in FOLDERS if folder.is_dir() for path in sorted(folder.glob(f"*{SUFFIX}"))]
    return next((path for path in (first, *others) if path.is_file() and hash_file(path) == sha256), None)


def _settings(cell: Settings) -> Settings:
    """A cell without its scores."""
    return Settings(**cell.model_dump(include=set(Settings.model_fields)))


def _describe(cell: Settings, version: str) -> Recipe:
    header: Header = read_header(Path(cell.lora))
    for kind, path in (("base model", cell.base), ("reference photo", cell.reference)):
        if path and not Path(path).exists():
            raise UserError(path, f"no such {kind}, and the winning configuration names it", "put it there")
    return Recipe(
        version=version,
        cell=cell,
        lora_sha256=hash_file(Path(cell.lora)),
        base_sha256=hash_path(Path(cell.base)),
        reference_sha256=hash_file(Path(cell.reference)) if cell.reference else "",
        manifest_sha256=header.dataset,
    )
