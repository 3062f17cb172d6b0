"""Git repositories at pinned commits: cloned beside and renamed, never reset over somebody's changes."""

import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from pod.errors import PodError
from pod.files import read_json, write_json
from pod.processes import run
from pod.startup_settings import Repository
from pod.table import RAN, SKIPPED, WARN

QUIET = ("-c", "advice.detachedHead=false", "-c", "core.fsmonitor=false", "-c", "gc.auto=0")


class Git:
    """git in one folder."""

    def __init__(self, folder: Path, log: Path) -> None:
        self.folder, self.log = folder, log

    def __call__(self, *words: str) -> str:
        return run(["git", "-C", str(self.folder), *QUIET, *words], self.log).rstrip()


def place(wanted: Repository, folder: Path, state: Path, log: Path) -> tuple[str, str]:
    """Bring ``folder`` to the wanted commit; status and why.

    A tree with changes is left as it is and reported.  A switch that was killed half-way is finished: that it began
    on a clean tree stands in ``state``.

    Raises:
        PodError: when the commit cannot be had.
    """
    began = state / f"switching-{wanted.name}.json"
    git = Git(folder, log)
    if not (folder / ".git").exists():
        if folder.exists() and any(folder.iterdir()):
            return WARN, f"{folder} is no git repository: left as it is"
        _clone(wanted, folder, log)
        return RAN, f"was not there; now at {wanted.commit[:12]}"
    interrupted = (read_json(began) or {}).get("to") == wanted.commit
    head = git("rev-parse", "HEAD")
    if head == wanted.commit and not interrupted:
        changed = _changed(git)
        return (
            (WARN, f"at {head[:12]}, changed by hand and left so: {changed}")
            if changed
            else (SKIPPED, f"at {head[:12]}")
        )
    if not interrupted and (changed := _changed(git)):
        return WARN, f"at {head[:12]} instead of {wanted.commit[:12]}, changed by hand and left so: {changed}"
    write_json(began, {"to": wanted.commit})
    with suppress(FileNotFoundError):
        (folder / ".git/index.lock").unlink()  # of the switch that was killed
    _fetch(git, wanted)
    git("checkout", "--quiet", "--force", "--detach", wanted.commit)
    began.unlink(missing_ok=True)
    why = "a switch was broken off" if interrupted else f"was at {head[:12]}"
    return RAN, f"{why}; now at {wanted.commit[:12]}"


def _clone(wanted: Repository, folder: Path, log: Path) -> None:
    beside = folder.with_name(f".{folder.name}.part")
    _remove(beside)
    beside.mkdir(parents=True)
    git = Git(beside, log)
    git("init", "--quiet")
    git("remote", "add", "origin", wanted.url)
    _fetch(git, wanted)
    git("checkout", "--quiet", "--detach", wanted.commit)
    if folder.exists():
        folder.rmdir()  # it was empty
    beside.rename(folder)


def _fetch(git: Git, wanted: Repository) -> None:
    """Fetch the one commit; where a server does not give single commits, everything."""
    with suppress(PodError):
        git("cat-file", "-e", f"{wanted.commit}^{{commit}}")
        return
    try:
        git("fetch", "--quiet", "--depth", "1", wanted.url, wanted.commit)
    except PodError:
        git("fetch", "--quiet", "--tags", wanted.url, "+refs/heads/*:refs/remotes/origin/*")
    try:
        git("cat-file", "-e", f"{wanted.commit}^{{commit}}")
    except PodError:
        todo = f"is the commit in {wanted.url} still?"
        raise PodError(wanted.name, f"commit {wanted.commit[:12]} cannot be had", todo) from None


def _changed(git: Git) -> str:
    """Files that git knows and that differ from its commit, a few of them."""
    lines = git("status", "--porcelain", "--untracked-files=no").splitlines()
    names = [line[3:] for line in lines]
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _remove(folder: Path) -> None:
    """Remove a folder of git's, whose files are read-only on Windows."""

    def force(function: Callable[[str], object], path: str, _: object) -> None:
        Path(path).chmod(0o700)
        function(path)

    if folder.exists():
        shutil.rmtree(folder, onerror=force)
