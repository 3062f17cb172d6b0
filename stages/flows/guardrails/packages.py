"""The pinned packages: installed as constraints.txt says, found by Python, and content with each other."""

import importlib.util
from collections.abc import Iterable, Iterator, Mapping
from importlib.metadata import Distribution, PackageNotFoundError, distribution, packages_distributions
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

PROGRAM = "pistachio"
ALIKE = (("onnxruntime", "onnxruntime-gpu"),)  # two packages that write the same modules: either will do, not both
LEFT_OUT = frozenset({"opencv-python-headless"})  # insightface asks for either, and pip cannot say so


def package_problems(constraints: Path | None, program: str = PROGRAM) -> list[str]:
    """One line per package that this program needs and that is missing, another version, or unhappy with another.

    Args:
        constraints: file of ``name==version`` lines; None: versions are compared with what packages ask alone.
        program: the distribution whose requirements count.
    """
    pins = read_pins(constraints) if constraints is not None and constraints.is_file() else {}
    modules: dict[str, list[str]] = {}
    for module, owners in packages_distributions().items():
        for owner in owners:
            modules.setdefault(canonicalize_name(owner), []).append(module)
    try:
        wanted = _requirements(distribution(program), frozenset())
    except PackageNotFoundError:
        return [f"{program}: is not installed; pip install --constraint constraints.txt -e ."]
    problems = _walk(program, wanted, pins, modules, {canonicalize_name(program)})
    return sorted({*problems, *_both_installed(ALIKE)})


def read_pins(constraints: Path) -> dict[str, str]:
    """name -> version of a constraints file."""
    lines = (line.partition("#")[0].strip() for line in constraints.read_text(encoding="utf-8").splitlines())
    pairs = (line.split("==") for line in lines if line.count("==") == 1)
    return {canonicalize_name(name.strip()): version.strip() for name, version in pairs}


def _requirements(installed: Distribution, extras: Iterable[str]) -> list[Requirement]:
    """What a distribution asks for here, with these extras."""
    found = []
    for text in installed.requires or []:
        requirement = Requirement(text)
        environments = [{"extra": extra} for extra in ("", *extras)]
        if requirement.marker is None or any(requirement.marker.evaluate(each) for each in environments):
            found.append(requirement)
    return found


def _walk(
    asker: str, wanted: list[Requirement], pins: Mapping[str, str], modules: Mapping[str, list[str]], seen: set[str]
) -> Iterator[str]:
    """Problems of everything that ``asker`` needs, and of what that needs."""
    for requirement in wanted:
        name = canonicalize_name(requirement.name)
        if name in LEFT_OUT or any(name == one and _is_installed(other) for one, other in ALIKE):
            continue
        try:
            installed = distribution(name)
        except PackageNotFoundError:
            yield f"{name}: is not installed, and {asker} needs it; pip install --constraint constraints.txt {name}"
            continue
        version = Version(installed.version)
        if requirement.specifier and not requirement.specifier.contains(version, prereleases=True):
            yield f"{name}: {version} is installed, and {asker} needs {requirement.specifier}"
        if name in seen:
            continue
        seen.add(name)
        if name in pins and version.public != Version(pins[name]).public:
            yield f"{name}: {version} is installed, constraints.txt says {pins[name]}; pip install {name}=={pins[name]}"
        own = modules.get(name, [])
        if own and not any(importlib.util.find_spec(module) for module in own if "/" not in module):
            yield f"{name}: is installed, and Python does not find it; pip install --force-reinstall {name}"
        yield from _walk(name, _requirements(installed, requirement.extras), pins, modules, seen)


def _both_installed(pairs: Iterable[tuple[str, str]]) -> Iterator[str]:
    for one, other in pairs:
        if _is_installed(one) and _is_installed(other):
            yield f"{one}, {other}: both are installed and overwrite each other; pip uninstall both, install one"


def _is_installed(name: str) -> bool:
    try:
        distribution(name)
    except PackageNotFoundError:
        return False
    return True
