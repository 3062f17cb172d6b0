"""Hash every object of the cache, and every object of a remote that a version names: DVC believes what a name says."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from stages.contracts.fsck import Fsck, Kind, Problem
from stages.flows.fsck_journal import Journal, open_journal
from stages.flows.fsck_repair import repair
from stages.flows.named_objects import Names, list_names, open_listings
from stages.flows.object_hash import Verdict, judge
from stages.flows.storage import FolderStore, Held, Store, open_cache, open_remote, work_folder
from stages.runtime.files import write_json
from stages.runtime.progress import Progress

if TYPE_CHECKING:
    from dvc.repo import Repo

REPORT = "report.json"
BATCH = 512  # objects that wait for a thread at once
WAITING = 4  # threads per worker for a remote: they wait more than they compute
STEP_BYTES = 1 << 20  # progress counts an object as one step, and one more for each megabyte


@dataclass
class Scan:
    """One store, and what was found there."""

    store: Store
    held: dict[str, Held] = field(default_factory=dict)
    verdicts: dict[str, Verdict] = field(default_factory=dict)
    resumed: int = 0

    def sound(self, oid: str) -> bool:
        """Whether a good copy is here."""
        return self.verdicts.get(oid) == "sound"


def fsck(repo: "Repo", remote: str | None, workers: int, *, all_commits: bool = False, mend: bool = False) -> Fsck:
    """Check the cache and, when one is named, a remote; ``mend`` what a good copy is known of.

    The report is also written to .dvc/tmp/fsck/report.json.  An interrupted run is taken up where it was.

    Raises:
        UserError: when the remote does not answer, now or later, or something else is at work here.
    """
    started, folder = time.monotonic(), work_folder(repo)
    with open_journal(folder) as journal:
        scans = [Scan(open_cache(repo)), *([Scan(open_remote(repo, remote))] if remote else [])]
        names = list_names(repo, all_commits=all_commits)
        open_listings(names, lambda oid: read_listing(scans, oid))
        for scan in scans:
            scan.held = list_held(scan.store, names, workers)
        hash_objects(scans, journal, workers)
        alone = repo.config["remote"] == {}
        problems = find_problems(scans, names, alone=alone)
        if mend and problems:
            problems = repair(repo, problems, [scan.store for scan in scans], names)
    report = Fsck(
        stores=[scan.store.name for scan in scans], versions=names.revisions, named=len(names.objects),
        objects=sum(len(scan.verdicts) for scan in scans), resumed=sum(scan.resumed for scan in scans),
        bytes=sum(held.size for scan in scans for held in scan.held.values()),
        seconds=round(time.monotonic() - started, 3), elsewhere=count_elsewhere(scans, names),
        warnings=names.unread, problems=problems,
    )  # fmt: skip
    write_json(folder / REPORT, report.model_dump(mode="json"))
    return report


def read_listing(scans: list[Scan], oid: str) -> bytes | None:
    """A folder's listing from the first store where it is whole; None when it is so nowhere."""
    for scan in scans:
        held = scan.store.list_objects(oid[:2]).get(oid)
        if held is None:
            continue
        copy = scan.store.copy_of(oid, held.size)
        if judge(copy, oid) == "sound":
            return b"".join(copy.read())
    return None


def list_held(store: Store, names: Names, workers: int) -> dict[str, Held]:
    """What the cache holds, and what a remote holds of ``names``: others may keep theirs there too."""
    if isinstance(store, FolderStore) and store.name == "cache":
        return {oid: held for prefix in store.list_prefixes() for oid, held in store.list_objects(prefix).items()}
    with ThreadPoolExecutor(WAITING * workers) as pool:
        pages = pool.map(store.list_objects, sorted({oid[:2] for oid in names.objects}))
        return {oid: held for page in pages for oid, held in page.items() if oid in names.objects}


def hash_objects(scans: list[Scan], journal: Journal, workers: int) -> None:
    """Fill in the verdicts, the largest objects first."""
    work = [(scan, oid, held) for scan in scans for oid, held in scan.held.items()]
    work.sort(key=lambda item: -item[2].size)
    progress = Progress("fsck", sum(1 + held.size // STEP_BYTES for _, _, held in work))
    lock, read = threading.Lock(), 0

    def hash_one(item: tuple[Scan, str, Held]) -> None:
        nonlocal read
        scan, oid, held = item
        resumed = journal.knows(scan.store.name, oid, held)
        verdict: Verdict = "sound" if resumed else judge(scan.store.copy_of(oid, held.size), oid)
        if verdict == "sound" and not resumed:
            journal.note(scan.store.name, oid, held)
        with lock:
            scan.verdicts[oid] = verdict
            scan.resumed += resumed
            read += held.size
            progress.advance(1 + held.size // STEP_BYTES, MB=read / 1e6)

    with ThreadPoolExecutor(workers * (1 if len(scans) == 1 else WAITING)) as pool:
        for start in range(0, len(work), BATCH):
            for _ in pool.map(hash_one, work[start : start + BATCH]):
                pass


def find_problems(scans: list[Scan], names: Names, *, alone: bool) -> list[Problem]:
    """What is damaged, and what is missing where it belongs: HEAD's objects in the cache, all named ones in a remote.

    Where no good copy of an object is known, it is missing whoever names it.  ``alone``: there is no remote at all.
    """
    sizes = {oid: scan.held[oid].size for scan in scans for oid in scan.held if scan.sound(oid)}
    problems = []
    for scan in scans:
        where, cache = scan.store.name, scan is scans[0]
        bad = sorted(oid for oid, verdict in scan.verdicts.items() if verdict != "sound")
        absent = sorted(names.objects.keys() - scan.held.keys())
        for oid in [*bad, *absent]:
            named = names.objects.get(oid)
            if oid not in scan.held and named is not None:
                nowhere = oid not in sizes and (alone or len(scans) > 1)
                if not (named.current or nowhere if cache else named.pushed):
                    continue
            size = scan.held[oid].size if oid in scan.held else None
            expected = sizes.get(oid, named.size if named else None)
            kind = kind_of(scan.verdicts.get(oid), size, expected)
            what = named.what if named else ""
            problems.append(Problem(oid=oid, where=where, kind=kind, what=what, size=size, expected=expected))
    return problems


def kind_of(verdict: Verdict | None, size: int | None, expected: int | None) -> Kind:
    """What is wrong with an object that is not sound."""
    if size is None or verdict is None:
        return "missing"
    if verdict == "unreadable":
        return "unreadable"
    return "truncated" if expected is not None and size < expected else "damaged"


def count_elsewhere(scans: list[Scan], names: Names) -> int:
    """How many objects of other versions lie soundly in the remote alone: `dvc fetch` brings them when needed."""
    cache, remotes = scans[0], scans[1:]
    others = [oid for oid, named in names.objects.items() if not named.current and oid not in cache.held]
    return sum(any(scan.sound(oid) for scan in remotes) for oid in others)
