"""Put a good copy in the place of a bad one, or move the bad one to where DVC does not trust it."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stages.contracts.fsck import Problem
from stages.flows.named_objects import Names
from stages.flows.object_hash import judge
from stages.flows.storage import CloudStore, Copy, Store, file_copy
from stages.runtime.errors import UserError
from stages.runtime.progress import Progress

if TYPE_CHECKING:
    from dvc.repo import Repo


def repair(repo: "Repo", problems: list[Problem], stores: list[Store], names: Names) -> list[Problem]:
    """Repair what a good copy is known of, the cache first; set aside what none is known of.

    Good copies are looked for in the other store and among the workspace's own files, and hashed before they are used;
    what was written is read back.

    Raises:
        UserError: when DVC is at work here, or the remote stops answering.
    """
    from dvc.lock import LockError
    from dvc.repo import lock_repo

    progress, done = Progress("fsck: repair", len(problems), unit="object"), []
    try:
        with lock_repo(repo):
            for problem in problems:
                done.append(_repair(problem, stores, names))
                progress.advance()
    except LockError:
        raise UserError(Path(repo.root_dir), "DVC is at work here", "run again when it is done") from None
    return done


def _repair(problem: Problem, stores: list[Store], names: Names) -> Problem:
    store = next(store for store in stores if store.name == problem.where)
    others = [other for other in stores if other is not store]
    copies = list(_copies(problem.oid, others, names))
    if isinstance(store, CloudStore):
        copies = [copy for copy in copies if copy.path is not None]
    good = next((copy for copy in copies if judge(copy, problem.oid) == "sound"), None)
    if good is not None:
        store.write_object(problem.oid, good)
        if _sound(store, problem.oid):
            return _with(problem, repaired=True, done=f"repaired from {good.where}")
        done = f"written anew from {good.where}, and it reads back wrong: look after {problem.where}"
        return _with(problem, done=done)
    if problem.kind == "missing":
        return _with(problem, done="no good copy is known")
    try:
        return _with(problem, done=f"no good copy is known; set aside as {store.set_aside(problem.oid)}")
    except UserError as error:
        return _with(problem, done=f"no good copy is known; left where it is, and DVC still trusts it ({error.line})")


def _copies(oid: str, others: list[Store], names: Names) -> Iterator[Copy]:
    """Where a good copy may be: in the other stores, and where `dvc checkout` put it."""
    for other in others:
        held = other.list_objects(oid[:2]).get(oid)
        if held is not None:
            yield other.copy_of(oid, held.size)
    named = names.objects.get(oid)
    if named is not None and named.path.is_file():
        yield file_copy(named.path, "the workspace")


def _sound(store: Store, oid: str) -> bool:
    held = store.list_objects(oid[:2]).get(oid)
    return held is not None and judge(store.copy_of(oid, held.size), oid) == "sound"


def _with(problem: Problem, **values: Any) -> Problem:
    return problem.model_copy(update=values)
