"""Benchmarks against the peers, side by side.

python -m bench NAME...   alternate ours and the peer, check the result, append to bench/results/NAME.json
python -m bench all       every one that needs no GPU; where a peer is missing, its line says how to get it
python -m bench compare   is a newest row below an earlier one of the same kind of machine?
python -m bench page      write the newest rows' table into docs/speed.md
"""

import argparse
import ast
import importlib
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from bench.harness import PAIRS, RESULTS, run_benchmark
from bench.page import write_page
from bench.regressions import find_regressions, read_rows
from stages.runtime.entry import program
from stages.runtime.errors import UserError

EPILOG = "Exit codes: 0 fine, 1 a regression, 2 bad input or a missing peer."


def list_benchmarks() -> dict[str, str]:
    """name -> what it does, of every module here that prepares cases; none is imported."""
    found = {}
    for path in sorted(Path(__file__).parent.glob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        if any(isinstance(node, ast.FunctionDef) and node.name == "prepare" for node in tree.body):
            found[path.stem] = next(
                str(ast.literal_eval(node.value))
                for node in tree.body
                if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "DOES"
            )
    return found


def compare(results: Path = RESULTS) -> int:
    """Print every regression; 1 when there is one."""
    lines = [line for path in sorted(results.glob("*.json")) for line in find_regressions(read_rows(path))]
    print("\n".join(lines) or "no benchmark is below an earlier row of the same kind of machine")
    return 1 if lines else 0


def run(name: str, pairs: int, work: Path | None, results: Path | None) -> None:
    """Run one benchmark in ``work``/NAME, or in a temporary folder."""
    module = importlib.import_module(f"bench.{name}")
    print(f"{name}: {module.DOES}", file=sys.stderr)
    with tempfile.TemporaryDirectory(prefix=f"bench-{name}-") as temporary:
        folder = work / name if work else Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        run_benchmark(name, module.prepare(folder), pairs, results)


def run_all(names: Sequence[str], pairs: int, work: Path | None, results: Path | None) -> int:
    """Run every benchmark that can be run here; 2 when a peer was missing."""
    missing = 0
    for name in names:
        if getattr(importlib.import_module(f"bench.{name}"), "GPU", False):
            print(f"{name}: needs a GPU, passed over: python -m bench {name}")
            continue
        try:
            run(name, pairs, work, results)
        except UserError as error:
            missing = 2
            print(f"{name}: not run: {error.line}", flush=True)
    return missing


def build_parser(known: dict[str, str]) -> argparse.ArgumentParser:
    """The command line."""
    listing = "\n".join(f"  {name:<12}{does}" for name, does in known.items())
    parser = argparse.ArgumentParser(
        "python -m bench", description=f"{__doc__}\n{listing}", epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("names", nargs="+", metavar="NAME", help="benchmarks, `all`, `compare` or `page`")
    parser.add_argument("--pairs", type=int, default=PAIRS, help=f"pairs of runs ({PAIRS})")
    parser.add_argument("--work", type=Path, help="keep the input here and use it again (a temporary folder)")
    parser.add_argument("--no-record", action="store_true", help="append nothing to bench/results/")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmarks that are named; the exit code."""
    known = list_benchmarks()
    parser = build_parser(known)
    words = list(sys.argv[1:] if argv is None else argv)
    if not words:
        parser.print_help()
        return 2
    asked = parser.parse_args(words)
    if asked.names == ["compare"]:
        return compare()
    if asked.names == ["page"]:
        write_page()
        return 0
    results = None if asked.no_record else RESULTS
    if asked.pairs < 1:
        raise UserError("--pairs", f"{asked.pairs} pairs are none", "ask for at least 1; 5 give an interval")
    if asked.names == ["all"]:
        return run_all(list(known), asked.pairs, asked.work, results)
    if unknown := [name for name in asked.names if name not in known]:
        raise UserError(unknown[0], "no such benchmark", f"known: {', '.join(known)}")
    for name in asked.names:
        run(name, asked.pairs, asked.work, results)
    return 0


if __name__ == "__main__":
    with program():
        sys.exit(main())
