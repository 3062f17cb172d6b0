"""Bring diffusers' and kohya's training scripts beside the project, for `bench.gpu` and `bench.train`.

    python -m bench.bring_peers FOLDER && . FOLDER/env && python -m bench.gpu

Each is cloned at the commit that was measured with, and gets a Python of its own, which takes torch, and what else is
not pinned here, from the Python that this runs with: the card's torch is there once.
"""

import argparse
import shlex
import subprocess
import sys
import sysconfig
import venv
from dataclasses import dataclass
from pathlib import Path

from stages.runtime.entry import program
from stages.runtime.errors import UserError
from stages.runtime.files import write_text


@dataclass(frozen=True)
class Source:
    """Where a peer comes from, and what its Python needs that ours has not, or not so."""

    variable: str
    url: str
    commit: str
    packages: tuple[str, ...]


SOURCES = (
    Source("PISTACHIO_DIFFUSERS", "https://github.com/huggingface/diffusers",
           "58eb52c0803ea9af3abec60841c2a093bdf1f951", ("datasets",)),
    Source("PISTACHIO_KOHYA", "https://github.com/kohya-ss/sd-scripts", "48d368fa557731ad0488c07304dfeba8c07910eb",
           ("accelerate==1.6.0", "transformers==4.54.1", "diffusers==0.32.1", "huggingface-hub==0.34.3",
            "safetensors==0.4.5", "einops==0.7.0", "ftfy==6.3.1", "toml==0.10.2", "voluptuous==0.15.2",
            "imagesize==1.4.1", "rich==14.1.0", "sentencepiece==0.2.1")),
)  # fmt: skip


def _run(*command: str | Path) -> None:
    if subprocess.run(command, check=False).returncode:
        raise UserError(" ".join(map(str, command[:3])), "failed, see above", "run it again: what is there is kept")


def bring(source: Source, url: str, folder: Path) -> dict[str, Path]:
    """Clone and environment of one peer, as far as they are not there; the variables that name them.

    Raises:
        UserError: when git or pip fails.
    """
    clone, home = folder / source.variable.lower(), folder / f"{source.variable.lower()}_python"
    if not clone.exists():
        _run("git", "clone", "--quiet", "--filter=blob:none", "--no-checkout", url, clone)
    _run("git", "-C", clone, "checkout", "--quiet", source.commit)
    python = home / "bin" / "python"
    if not python.exists():
        venv.create(home, with_pip=True)
        packages = sysconfig.get_path("purelib", vars={"base": str(home), "platbase": str(home)})
        write_text(Path(packages) / "ours.pth", sysconfig.get_path("purelib") + "\n")
    _run(python, "-m", "pip", "install", "--quiet", *source.packages)
    return {source.variable: clone, f"{source.variable}_PYTHON": python}


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where they shall lie")
    parser.add_argument("--from", dest="urls", nargs=2, default=[source.url for source in SOURCES],
                        metavar=("DIFFUSERS", "SD_SCRIPTS"), help="other addresses to clone from")  # fmt: skip
    asked = parser.parse_args()
    folder = asked.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    lines = []
    for source, url in zip(SOURCES, asked.urls, strict=True):
        print(f"{source.url}: bringing it", file=sys.stderr)
        lines += [f"export {name}={shlex.quote(str(path))}" for name, path in bring(source, url, folder).items()]
    write_text(folder / "env", "\n".join(lines) + "\n")


if __name__ == "__main__":
    with program():
        main()
