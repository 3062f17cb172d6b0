"""Remake the recorded versions v2 and v3 of the synthetic persona, after the weights, the protocol or the code changed.

    make rebaseline WHY="the manifest has more fields"

Each recipe is composed, run and committed, then promoted and committed, so that `dvc metrics diff` of two commits shows
the review.  Needs a clean work tree; what is done already is not repeated.
"""

import argparse
import subprocess
import sys

from dvc.utils.hydra import compose_and_dump

from miniature.trial import ROOT
from stages.contracts.paths import SCORECARD, VERSIONS

RECIPES = ("v2", "v3")


def run(*command: str) -> str:
    """Run a command in the repository; its output, which is shown too."""
    print("$", " ".join(command), flush=True)
    done = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)
    print(done.stdout, end="", flush=True)
    return done.stdout.strip()


def commit(message: str) -> None:
    """Commit everything, unless nothing changed."""
    run("git", "add", "--all")
    if run("git", "status", "--porcelain"):
        run("git", "commit", "--quiet", "--message", message)


def remake(recipe: str, why: str) -> str:
    """Run one recipe and record it as its version; the commit that holds its figures."""
    compose_and_dump(ROOT / "params.yaml", str(ROOT / "conf"), None, "config", "", [f"experiment={recipe}"])
    run("dvc", "repro")
    commit(f"Run {recipe} of the persona: {why}")
    figures = run("git", "rev-parse", "--short", "HEAD")
    recorded = ROOT / VERSIONS / recipe / SCORECARD.name
    if not recorded.exists() or recorded.read_bytes() != (ROOT / SCORECARD).read_bytes():
        run(sys.executable, "-m", "stages", "promote", recipe, "--force", "--why", why)
        commit(f"Record {recipe} of the persona: {why}")
    return figures


def main() -> None:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("why", help="one sentence for metrics/history.jsonl")
    why = parser.parse_args().why
    commits = [remake(recipe, why) for recipe in RECIPES]
    print(f"the review: dvc metrics diff {' '.join(commits)}")


if __name__ == "__main__":
    main()
