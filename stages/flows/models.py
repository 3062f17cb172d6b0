"""Weights from conf/models, as they lie here: which are asked for, which are there, which are what they should be."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from stages.contracts.models import Model, Part, read_seen
from stages.contracts.paths import REGISTRY
from stages.contracts.settings import read_yaml
from stages.runtime.errors import UserError
from stages.runtime.files import write_json
from stages.runtime.provenance import hash_file, hash_json
from stages.runtime.state import cache_folder


def choose_models(
    registry: Mapping[str, Model], names: Sequence[str], profile: str | None, everything: bool
) -> list[str]:
    """The names of the models that were asked for, in the registry's order.

    Raises:
        UserError: when nothing or too much is asked for, or a name or profile is not known.
    """
    if bool(names) + (profile is not None) + everything != 1:
        raise UserError("models", "say which", "NAME..., --profile PROFILE or --all")
    if everything:
        return list(registry)
    if profile is not None:
        folders = {Path(folder) for folder in _profile_models(profile)}
        return [name for name, model in registry.items() if model.folder in folders]
    unknown = [name for name in names if name not in registry]
    if unknown:
        raise UserError("models", f"no model {unknown[0]!r} in {REGISTRY}", f"known: {', '.join(registry)}")
    return [name for name in registry if name in names]


def _profile_models(profile: str) -> list[str]:
    path = REGISTRY.parent / "profile" / f"{profile}.yaml"
    if not path.is_file():
        known = ", ".join(sorted(p.stem for p in path.parent.glob("*.yaml")))
        raise UserError("--profile", f"no profile {profile!r}", f"known: {known}")
    return list((read_yaml(path).get("models") or {}).values())


def expected_parts(name: str, model: Model) -> dict[str, Part]:
    """The files of ``model``, with the hash of their first fetch where conf/models pins none."""
    seen = read_seen().get(name, {})
    return {
        path: part if part.sha256 or path not in seen else part.model_copy(update=seen[path].model_dump())
        for path, part in model.files.items()
    }


def find_missing(name: str, model: Model) -> dict[str, Part]:
    """The files that are not there, or are there with another content than they must have."""
    parts = expected_parts(name, model)
    return {path: part for path, part in parts.items() if fault(model.folder / path, part)}


def find_unwritten(model: Model) -> list[str]:
    """The files that are written rather than fetched, and are not there as conf/models says."""
    texts = {path: model.folder / path for path in model.writes}
    return [
        path for path, text in model.written().items()
        if not texts[path].is_file() or texts[path].read_bytes() != text.encode()
    ]  # fmt: skip


def fault(path: Path, part: Part) -> str:
    """What is wrong with the file ``path``, which should be ``part``; empty when nothing is."""
    if not path.is_file():
        return "is not there"
    size = path.stat().st_size
    if part.size is not None and size != part.size:
        return f"has {size} bytes, not {part.size}"
    if part.sha256 is not None and (found := hash_file(path)) != part.sha256:
        return f"has sha256 {found}, not {part.sha256}"
    return ""


class State(BaseModel):
    """A model at a glance; nothing is hashed for it."""

    model_config = ConfigDict(frozen=True)

    name: str
    folder: Path
    licence: str
    non_commercial: bool
    size: int = Field(description="bytes, of the files whose size is known")
    files: int
    pinned: int = Field(description="files whose sha256 is known")
    present: int = Field(description="files that are there")
    verified: bool = Field(description="all are there, and have not been touched since they were found to be right")


def look_at(name: str, model: Model) -> State:
    """What can be said of a model without reading it."""
    there = [path for path in model.files if (model.folder / path).is_file()]
    return State(
        name=name, folder=model.folder, licence=model.licence, non_commercial=model.non_commercial, size=model.size,
        files=len(model.files), pinned=sum(part.sha256 is not None for part in model.files.values()),
        present=len(there), verified=len(there) == len(model.files) and _stamps(model) == _remembered(model),
    )  # fmt: skip


def verify_model(name: str, model: Model) -> tuple[list[str], list[str]]:
    """Hash every file that is there: what is wrong, and which files nobody has pinned."""
    parts = expected_parts(name, model)
    problems = [
        f"{model.folder / path}: {why}" for path, part in parts.items() if (why := fault(model.folder / path, part))
    ]
    problems += [f"{model.folder / path}: is not what conf/models says" for path in find_unwritten(model)]
    known = {*model.files, *model.writes}
    here = (path.relative_to(model.folder).as_posix() for path in model.folder.rglob("*") if path.is_file())
    problems += [f"{model.folder / path}: is not in conf/models" for path in sorted(here) if path not in known]
    if not problems:
        remember(model)
    return problems, [path for path, part in parts.items() if part.sha256 is None]


def record_path(model: Model) -> Path:
    """Where this machine notes that the model was found to be right: outside the work tree, it is of this disk."""
    return cache_folder(None) / "models" / f"{hash_json(str(model.folder.resolve()))[:24]}.json"


def remember(model: Model) -> None:
    """Note that every file is right as it lies here now."""
    write_json(record_path(model), _stamps(model))


def _remembered(model: Model) -> dict[str, list[int]] | None:
    try:
        stamps: dict[str, list[int]] = json.loads(record_path(model).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return stamps


def _stamps(model: Model) -> dict[str, list[int]]:
    """Size and time of change of every file that is there."""
    found = {path: model.folder / path for path in model.files if (model.folder / path).is_file()}
    return {path: [file.stat().st_size, file.stat().st_mtime_ns] for path, file in found.items()}
