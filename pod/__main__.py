"""``python -m pod COMMAND``: what a rented machine needs, before and after anything is installed on it."""

import argparse
import importlib
import sys
from collections.abc import Sequence
from pathlib import Path

from pod.errors import PodError, disk_error

COMMANDS = {
    "startup": "pod.startup",
    "doctor": "pod.doctor",
    "health": "pod.health",
    "watch": "pod.watch",
    "backup": "pod.backup",
    "restore": "pod.restore",
    "cost": "pod.cost",
    "cycle": "pod.cycle",
}
"""name -> module with ``add_arguments(parser)`` and ``run(arguments) -> int``; its docstring is its help."""

OVERVIEW = """Look after the rented machine.

  python -m pod startup    after every restart: everything installed, ComfyUI running, READY
  python -m pod doctor     what is wrong with the installation, and the line that repairs it
  python -m pod health     is everything up now?
  python -m pod watch      keep ComfyUI (and a pipeline) running
  python -m pod backup     everything that cannot be made again, in one archive
  python -m pod restore    the archive onto a bare machine
  python -m pod cost       the ledger of paid time
  python -m pod cycle      check, run, compare, back up and commit, unattended
"""
EPILOG = "python -m pod COMMAND --help explains a command.  Exit codes: 0 fine, 1 something fails, 2 bad input."


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; its exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    if not words or words[0] in ("-h", "--help"):
        print(f"{OVERVIEW}\ncommands: {', '.join(COMMANDS)}\n{EPILOG}")
        return 0 if words else 2
    try:
        if words[0] not in COMMANDS:
            raise PodError(words[0], "no such command", f"known: {', '.join(COMMANDS)}")
        return _run(words[0], words[1:])
    except PodError as error:
        print(f"error: {error.line}", file=sys.stderr)
        return 2
    except OSError as error:
        told = disk_error(error)
        if told is None:
            raise
        print(f"error: {told.line}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


def _run(name: str, words: list[str]) -> int:
    module = importlib.import_module(COMMANDS[name])
    return int(module.run(build_parser(name).parse_args(words)))


def build_parser(name: str) -> argparse.ArgumentParser:
    """The options of one command."""
    module = importlib.import_module(COMMANDS[name])
    parser = argparse.ArgumentParser(
        prog=f"python -m pod {name}", description=module.__doc__, epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("--config", type=Path, help="settings over those of pod/pod.toml (or PISTACHIO_POD)")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    module.add_arguments(parser)
    return parser


if __name__ == "__main__":
    sys.exit(main())
