"""Settings of the pod: pod.toml beside this file, and over it the owner's own (--config, else PISTACHIO_POD)."""

import os
import sys
import tomllib
import types
import typing
from dataclasses import MISSING, dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from pod.amounts import is_amount
from pod.errors import PodError

T = TypeVar("T")
DEFAULTS = Path(__file__).with_name("pod.toml")
VARIABLE = "PISTACHIO_POD"
TABLES = ("pod", "startup", "doctor", "health", "watch", "backup", "cost", "cycle")


@dataclass(frozen=True)
class Places:
    """Table [pod]: what several commands need.  Relative paths start at the workspace."""

    workspace: Path  # the folder with params.yaml
    comfyui: Path  # its checkout
    comfyui_url: str
    python: Path  # of the workspace; it runs pistachio
    comfyui_python: Path  # what ComfyUI runs with
    state: Path  # pid files, stamps, locks
    logs: Path

    def __post_init__(self) -> None:
        try:
            parts = urlsplit(self.comfyui_url)
            right = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        except ValueError:
            right = False
        if not right:
            raise PodError("pod.comfyui_url", f"{self.comfyui_url!r} is no address", "http://127.0.0.1:8188")

    def at(self, path: Path) -> Path:
        """``path`` as the workspace sees it."""
        return self.workspace / path

    @property
    def interpreter(self) -> str:
        """The workspace's Python, or this one where it has none."""
        own = self.at(self.python).absolute()
        return str(own) if own.is_file() else sys.executable

    def activated(self, config: Path | None = None) -> dict[str, str]:
        """The environment in which the workspace's programs come first, as after `activate` (stages say `python`).

        With ``config`` the programs read the same settings.
        """
        path = os.pathsep.join([str(Path(self.interpreter).parent), os.environ.get("PATH", os.defpath)])
        named = _owner_s(config)
        return os.environ | {"PATH": path} | ({VARIABLE: str(named.absolute())} if named else {})


def read_settings(name: str, kind: type[T], config: Path | None = None) -> T:
    """Table ``[name]`` as the dataclass ``kind``: defaults of the class, then pod.toml, then the owner's file.

    Raises:
        PodError: naming the file and the first key that is unknown, missing or of another type.
    """
    values: dict[str, Any] = {}
    for path in _files(config):
        found = _read(path)
        if unknown := sorted(set(found) - set(TABLES)):
            raise PodError(path, f"no table [{unknown[0]}]", f"known: {', '.join(TABLES)}")
        table = found.get(name, {})
        if name == "pod" and path != DEFAULTS and isinstance(table.get("workspace"), str):
            # a step that is started in the workspace must find the same one
            table = table | {"workspace": str(path.absolute().parent / Path(table["workspace"]).expanduser())}
        _build(kind, table, f"{path}: {name}", partly=True)
        values = _merged(values, table)
    built = _build(kind, values, name)
    return typing.cast(T, built)


def _owner_s(config: Path | None) -> Path | None:
    """The owner's own file, where there is one."""
    return config or (Path(os.environ[VARIABLE]) if os.environ.get(VARIABLE) else None)


def _files(config: Path | None) -> list[Path]:
    named = _owner_s(config)
    return [DEFAULTS, *([named] if named else [])]


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise PodError(path, "there is no such file", "name the pod's settings with --config FILE") from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise PodError(path, f"cannot be read ({error})", "a TOML file") from None


def _merged(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    """Tables are merged key by key; lists and values are replaced."""
    both = dict(old)
    for key, value in new.items():
        both[key] = _merged(old[key], value) if isinstance(value, dict) and isinstance(old.get(key), dict) else value
    return both


def _build(kind: Any, value: Any, where: str, partly: bool = False) -> Any:
    """``value`` of a TOML file as a dataclass; ``partly``: what is missing is no fault yet."""
    if not isinstance(value, dict):
        raise PodError(where, f"{value!r} is no table")
    hints = typing.get_type_hints(kind)
    known = {item.name: item for item in fields(kind)}
    if unknown := sorted(set(value) - set(known)):
        raise PodError(f"{where}.{unknown[0]}", "no such key", f"known: {', '.join(known)}")
    missing = [k for k, f in known.items() if k not in value and f.default is MISSING and f.default_factory is MISSING]
    if missing and not partly:
        raise PodError(f"{where}.{missing[0]}", "is missing")
    built = {key: _convert(hints[key], item, f"{where}.{key}", partly) for key, item in value.items()}
    return None if partly else kind(**built)


def _convert(hint: Any, value: Any, where: str, partly: bool = False) -> Any:
    """``value`` as the type that a field is annotated with; ``partly``: what is missing in a table is no fault yet."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (types.UnionType, typing.Union):
        return _convert(next(kind for kind in arguments if kind is not type(None)), value, where, partly)
    if is_dataclass(hint):
        return _build(hint, value, where, partly)
    if origin is tuple and isinstance(value, list):
        return tuple(_convert(arguments[0], item, f"{where}[{number}]") for number, item in enumerate(value))
    if origin is dict and isinstance(value, dict):
        return {key: _convert(arguments[1], item, f"{where}.{key}", partly) for key, item in value.items()}
    if hint is Path and isinstance(value, str):
        return Path(value).expanduser()
    if isinstance(value, int | float) and not is_amount(value):
        raise PodError(where, f"{value!r} is no number from 0 on")
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if origin is None and isinstance(value, hint) and (hint is bool or not isinstance(value, bool)):
        return value
    raise PodError(where, f"{value!r} is not {getattr(hint, '__name__', hint)}")
