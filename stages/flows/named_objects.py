"""Which of DVC's objects the committed versions name, listings opened."""

import hashlib
import json
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stages.contracts.paths import VERSIONS
from stages.flows.object_hash import DIR
from stages.runtime.errors import UserError, one_line

if TYPE_CHECKING:
    from dvc.repo import Repo

DVC_FILES = ("*dvc.yaml", "*dvc.lock", "*.dvc", "params.yaml", ".dvc/config", ".dvcignore")


@dataclass(frozen=True)
class Named:
    """An object that a version names."""

    what: str  # the file or folder that it is, and the version
    size: int | None  # bytes; None: only its listing names it, and that says no sizes
    current: bool  # HEAD names it
    path: Path  # where `dvc checkout` puts it
    pushed: bool = True  # belongs in the remote


@dataclass
class Names:
    """What the versions name."""

    objects: dict[str, Named] = field(default_factory=dict)
    revisions: int = 0
    unread: list[str] = field(default_factory=list)  # why something could not be found out, a line each

    def add(self, oid: str, named: Named) -> None:
        """Name an object; who named it first gives the name, HEAD being first."""
        self.objects.setdefault(oid, named)


def list_names(repo: "Repo", *, all_commits: bool) -> Names:
    """What HEAD, branches, tags and promoted versions name; ``all_commits``: what any commit names.

    Listings are named, not yet opened.

    Raises:
        UserError: when the repository has no commit.
    """
    from dvc.exceptions import DvcException

    names, root = Names(), Path(repo.root_dir)
    top = Path(_git(root, "rev-parse", "--show-toplevel").strip() or root)
    revisions = find_revisions(root, all_commits=all_commits)
    names.revisions = len(revisions)
    for number, revision in enumerate(different(root, revisions)):
        try:
            with repo.switch(revision):
                for out in repo.index.outs:
                    # A commit's files have git's top folder as their root.
                    path = top / Path(out.fs_path).relative_to(Path(out.fs_path).anchor)
                    _add_out(names, out, path, f"{out} ({revision[:7]})", current=number == 0)
        except DvcException as error:
            names.unread.append(f"commit {revision[:7]}: {one_line(str(error))}")
    return names


def _add_out(names: Names, out: Any, path: Path, what: str, *, current: bool) -> None:
    # Imported data belongs to another repository; what `cache: false` says is git's.
    if not out.use_cache or not out.hash_info or out.stage.is_repo_import:
        return
    if out.hash_info.name != "md5":
        names.unread.append(
            f"{what}: kept as DVC 2 did ({out.hash_info.name}), which is not checked; dvc cache migrate"
        )
        return
    # A folder's size is that of its files; which size its listing has nobody says.
    size = None if out.hash_info.isdir else out.meta.size
    names.add(out.hash_info.value, Named(what, size, current, path, out.can_push and not out.remote))


def open_listings(names: Names, read: Callable[[str], bytes | None]) -> None:
    """Name the files of every listing; ``read`` gives a listing's bytes, whole and right, or None."""
    for oid, listing in [item for item in names.objects.items() if item[0].endswith(DIR)]:
        data = read(oid)
        if data is None:
            names.unread.append(f"{listing.what}: its listing is lost, so which files it had is not known")
            continue
        for entry in json.loads(data):
            what = f"{entry['relpath']} in {listing.what}"
            path = listing.path / entry["relpath"]
            names.add(entry["md5"], Named(what, entry.get("size"), listing.current, path, listing.pushed))


def find_revisions(root: Path, *, all_commits: bool) -> list[str]:
    """Commits, HEAD first: tips of branches, tags, and the commits that recorded a promoted version; or all.

    Raises:
        UserError: when there is no commit.
    """
    head = _git(root, "rev-parse", "--verify", "--quiet", "HEAD^{commit}").split()
    if not head:
        raise UserError(root, "no commit yet, so no version names anything", "commit dvc.yaml and dvc.lock first")
    refs = ["--branches", "--tags", "--remotes", "HEAD"]
    if all_commits:
        found = _git(root, "rev-list", *refs).split()
    else:
        # A tag may be missing in a clone; the commit that recorded a version is not.
        recorded = _git(root, "log", "--format=%H", *refs, "--", f"{VERSIONS.as_posix()}/*/scorecard.json")
        found = _git(root, "rev-list", "--no-walk", *refs).split() + recorded.split()
    return list(dict.fromkeys(head + found))


def different(root: Path, revisions: list[str]) -> Iterator[str]:
    """The commits whose DVC files are not those of one before: reading one takes DVC a fifth of a second."""
    seen = set()
    for revision in revisions:
        files = _git(root, "ls-tree", "-r", "-z", "--full-tree", revision)
        ours = [line for line in files.split("\0") if any(Path(line.partition("\t")[2]).match(p) for p in DVC_FILES)]
        key = hashlib.sha256("\0".join(ours).encode()).digest()
        if key not in seen:
            seen.add(key)
            yield revision


def _git(root: Path, *arguments: str) -> str:
    try:
        done = subprocess.run(
            ["git", *arguments], cwd=root, capture_output=True, text=True, errors="surrogateescape", check=False
        )
    except OSError as error:
        raise UserError("git", f"cannot be started ({error.strerror})", "install it") from None
    return done.stdout if done.returncode == 0 else ""
