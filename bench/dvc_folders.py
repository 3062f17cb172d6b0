"""What DVC asks for a folder of 10,000 pictures, with the cache's links as .dvc/config has them and otherwise.

    python -m bench.dvc_folders [--count 10000] [--no-record]

No peer: figures go to bench/results/dvc_folders.json.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

from bench.harness import RESULTS
from bench.pipeline import DVC, open_workspace, run
from bench.results_file import append_result
from stages.runtime.entry import program

LINKS = ("reflink,copy", "hardlink,copy")
BYTES = 12_000  # of one picture, as the miniature's at 64 px
PIPELINE = """stages:
  sweep:
    cmd: python -c pass
    outs: [sweep]
"""


def write_pictures(folder: Path, count: int) -> None:
    """Files with bytes of their own, 200 to a folder as a sweep's cells are."""
    for number in range(count):
        file = folder / f"cell{number // 200:03d}" / f"{number}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(f"{number:012d}".encode() * (BYTES // 12))


def seconds(work: Callable[[], Any]) -> float:
    """How long it takes."""
    start = time.perf_counter()
    work()
    return round(time.perf_counter() - start, 2)


def measure(folder: Path, count: int, links: str) -> dict[str, float]:
    """Seconds of every step, and MB on disk of folder and cache together."""
    folder.mkdir()
    open_workspace(folder)
    run(folder, *DVC, "config", "cache.type", links)
    (folder / "dvc.yaml").write_text(PIPELINE)
    write_pictures(folder / "sweep", count)

    def dvc(*words: str) -> float:
        return seconds(lambda: run(folder, *DVC, *words))

    found = {"commit_first": dvc("commit", "-q", "-f"), "status_unchanged": dvc("status", "-q")}
    found["repro_unchanged"] = dvc("repro", "-q")
    one = folder / "sweep" / "cell000" / "0.png"
    one.unlink()  # a hard link is read-only, and is the cache's own file
    one.write_bytes(b"another picture")
    found["commit_one_changed"] = dvc("commit", "-q", "-f")
    run(folder, "rm", "-r", "sweep")
    found["checkout"] = dvc("checkout", "-q")
    blocks = {(file.stat().st_ino, file.stat().st_blocks) for file in folder.rglob("*") if file.is_file()}
    return found | {"megabytes": round(sum(held for _, held in blocks) * 512 / 1e6)}


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser("python -m bench.dvc_folders", description=__doc__)
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--no-record", action="store_true")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-dvc-") as work:
        found = {links: measure(Path(work) / links.split(",")[0], asked.count, links) for links in LINKS}
        found["an empty folder"] = measure(Path(work) / "empty", 1, LINKS[0])
    for links, figures in found.items():
        print(links, figures)
    if not asked.no_record:
        peers = {"dvc": {"version": version("dvc")}}
        append_result(
            RESULTS / "dvc_folders.json", "python -m bench.dvc_folders", peers, {"pictures": asked.count} | found
        )


if __name__ == "__main__":
    with program():
        main()
