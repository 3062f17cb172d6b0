"""fsck finds what DVC trusts, and repairs it from the good side; the remote is a folder here."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from filelock import FileLock
from stored import Stored, dvc, flip, git, make_stored, place, truncate

from stages.contracts.fsck import Fsck
from stages.flows.fsck import fsck
from stages.flows.storage import Copy, FolderStore, open_repo
from stages.runtime.errors import UserError


@pytest.fixture
def stored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stored:
    monkeypatch.setenv("DVC_SITE_CACHE_DIR", str(tmp_path / "site"))
    made = make_stored(tmp_path)
    monkeypatch.chdir(made.folder)
    return made


def run(remote: str | None = "disk", *, mend: bool = False, all_commits: bool = False) -> Fsck:
    with open_repo() as repo:
        return fsck(repo, remote, 2, mend=mend, all_commits=all_commits)


def found(report: Fsck) -> set[tuple[str, str, str]]:
    return {(problem.where, problem.kind, problem.oid) for problem in report.problems}


def test_a_sound_repository_is_clean_and_every_object_was_hashed_on_both_sides(stored: Stored) -> None:
    report = run()
    assert report.problems == []
    assert report.warnings == []
    assert report.named == 5 + 1 + 2
    assert report.objects == 2 * report.named
    assert report.versions == 2


def test_a_truncated_object_in_the_cache_that_dvc_trusts_is_found_and_repaired_from_the_remote(stored: Stored) -> None:
    whole = truncate(stored.cache, stored.photo)
    assert "up to date" in dvc(stored.folder, "status").stdout
    report = run()
    assert found(report) == {("cache", "truncated", stored.photo)}
    assert report.problems[0].expected == 5000
    assert "000.jpg in photos" in report.problems[0].what
    assert place(stored.cache, stored.photo).stat().st_size == 2500
    repaired = run(mend=True)
    assert [problem.done for problem in repaired.problems] == ["repaired from disk"]
    assert repaired.left == []
    assert place(stored.cache, stored.photo).read_bytes() == whole
    assert place(stored.cache, stored.photo).stat().st_mode & 0o777 == 0o444
    assert run().problems == []


def test_a_truncated_object_in_the_remote_that_push_trusts_is_repaired_from_the_cache(stored: Stored) -> None:
    whole = truncate(stored.remote, stored.model)
    assert "up to date" in dvc(stored.folder, "push").stdout
    assert found(run()) == {("disk", "truncated", stored.model)}
    assert [problem.done for problem in run(mend=True).problems] == ["repaired from cache"]
    assert place(stored.remote, stored.model).read_bytes() == whole
    assert run().problems == []


def test_one_flipped_bit_is_found_on_either_side(stored: Stored) -> None:
    flip(stored.cache, stored.photo)
    flip(stored.remote, stored.model)
    assert found(run()) == {("cache", "damaged", stored.photo), ("disk", "damaged", stored.model)}
    assert run(mend=True).left == []
    assert run().problems == []


def test_a_damaged_listing_does_not_hide_the_files_that_it_names(stored: Stored) -> None:
    truncate(stored.cache, stored.listing)
    truncate(stored.remote, stored.photo)
    assert found(run()) == {("cache", "truncated", stored.listing), ("disk", "truncated", stored.photo)}
    assert run(mend=True).left == []


def test_what_head_names_must_be_in_the_cache_and_what_any_version_names_in_the_remote(stored: Stored) -> None:
    for oid in (stored.photo, stored.old):
        place(stored.cache, oid).unlink()
    report = run()
    assert found(report) == {("cache", "missing", stored.photo)}
    assert report.elsewhere == 1
    place(stored.remote, stored.old).unlink()
    assert found(run()) == {
        ("cache", "missing", stored.photo), ("cache", "missing", stored.old), ("disk", "missing", stored.old),
    }  # fmt: skip
    repaired = run(mend=True)
    assert {problem.done for problem in repaired.left} == {"no good copy is known"}
    assert place(stored.cache, stored.photo).exists()


def test_what_is_missing_of_a_folder_in_the_remote_is_sent_again_where_push_sees_nothing(stored: Stored) -> None:
    place(stored.remote, stored.photo).unlink()
    assert "up to date" in dvc(stored.folder, "push").stdout
    assert found(run(mend=True)) == {("disk", "missing", stored.photo)}
    assert place(stored.remote, stored.photo).exists()
    assert run().problems == []


def test_an_old_version_is_read_from_its_tag_and_with_all_commits_without_one(stored: Stored) -> None:
    truncate(stored.remote, stored.old)
    assert found(run()) == {("disk", "truncated", stored.old)}
    git(stored.folder, "tag", "--delete", "lora/first")
    assert run().problems == []
    assert found(run(all_commits=True)) == {("disk", "truncated", stored.old)}


def test_a_version_that_was_recorded_is_read_without_its_tag(stored: Stored) -> None:
    git(stored.folder, "tag", "--delete", "lora/first", "lora/second")
    git(stored.folder, "checkout", "--quiet", "-b", "recorded", "HEAD~1")
    card = stored.folder / "metrics/versions/v1/scorecard.json"
    card.parent.mkdir(parents=True)
    card.write_text("{}")
    git(stored.folder, "add", "--all")
    git(stored.folder, "commit", "--quiet", "--message", "record v1")
    git(stored.folder, "rm", "--quiet", "--force", "model.bin.dvc")
    git(stored.folder, "add", "--all")
    git(stored.folder, "commit", "--quiet", "--message", "without the model")
    truncate(stored.remote, stored.old)
    assert ("disk", "truncated", stored.old) in found(run())


def test_where_the_other_side_is_no_better_the_workspace_s_own_file_repairs_both(stored: Stored) -> None:
    whole = truncate(stored.cache, stored.model)
    truncate(stored.remote, stored.model)
    report = run(mend=True)
    assert [problem.done for problem in report.problems] == ["repaired from the workspace", "repaired from cache"]
    assert place(stored.cache, stored.model).read_bytes() == place(stored.remote, stored.model).read_bytes() == whole


def test_without_a_good_copy_the_bad_ones_are_kept_where_dvc_does_not_trust_them(stored: Stored) -> None:
    halves = {store: truncate(store, stored.photo)[:2500] for store in (stored.cache, stored.remote)}
    (stored.folder / "photos/000.jpg").unlink()
    report = run(mend=True)
    assert len(report.left) == 2
    assert all("set aside as" in problem.done for problem in report.left)
    aside = stored.folder / ".dvc/tmp/fsck/damaged" / stored.photo
    assert aside.read_bytes() == halves[stored.cache]
    assert (stored.remote.parents[1] / "damaged" / stored.photo).read_bytes() == halves[stored.remote]
    assert not place(stored.cache, stored.photo).exists()
    assert dvc(stored.folder, "pull").returncode != 0
    place(stored.cache, stored.photo).parent.mkdir(exist_ok=True)
    place(stored.cache, stored.photo).write_bytes(b"something else")
    run(mend=True)
    assert aside.read_bytes() == halves[stored.cache]
    assert aside.with_name(f"{stored.photo}.1").read_bytes() == b"something else"


def test_an_object_of_the_cache_that_no_version_names_is_hashed_too(stored: Stored) -> None:
    oid = "ab" + "0" * 30
    place(stored.cache, oid).parent.mkdir(exist_ok=True)
    place(stored.cache, oid).write_bytes(b"left by a run that was never committed")
    report = run()
    assert found(report) == {("cache", "damaged", oid)}
    assert report.problems[0].what == ""


def test_another_s_objects_in_the_same_remote_are_left_alone(stored: Stored) -> None:
    oid = stored.photo[:2] + "0" * 30
    place(stored.remote, oid).write_bytes(b"another workspace's, and damaged")
    assert run(mend=True).problems == []


def test_without_a_remote_whatever_a_version_names_must_be_in_the_cache(stored: Stored) -> None:
    place(stored.cache, stored.old).unlink()
    assert run(None).problems == []  # the remote may have it
    dvc(stored.folder, "remote", "remove", "disk")
    assert found(run(None)) == {("cache", "missing", stored.old)}


def test_an_interrupted_run_is_taken_up_and_its_findings_are_forgotten_after_a_day(
    stored: Stored, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = FolderStore.copy_of
    left = iter(range(6))

    def stop(store: FolderStore, oid: str, size: int) -> Copy:
        if not oid.endswith(".dir") and next(left, None) is None:
            raise KeyboardInterrupt
        return read(store, oid, size)

    monkeypatch.setattr(FolderStore, "copy_of", stop)
    with pytest.raises(KeyboardInterrupt):
        run()
    monkeypatch.setattr(FolderStore, "copy_of", read)
    journal = stored.folder / ".dvc/tmp/fsck/sound.tsv"
    lines = journal.read_text()
    journal.write_text(lines + "disk\tab")  # torn by a kill
    first = run()
    assert first.resumed >= 5
    assert first.problems == []
    assert not journal.exists()
    assert run().resumed == 0
    journal.write_text(lines)
    os.utime(journal, (0, 0))
    assert run().resumed == 0


def test_what_was_found_sound_is_read_again_once_it_changed(stored: Stored, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = stored.folder / ".dvc/tmp/fsck/sound.tsv"
    journal.parent.mkdir(parents=True)
    status = place(stored.cache, stored.model).stat()
    stamp = f"{status.st_size}-{status.st_mtime_ns}-{status.st_ino}"
    journal.write_text(f"cache\t{stored.model}\t{stamp}\n")
    flip(stored.cache, stored.model)
    assert found(run()) == {("cache", "damaged", stored.model)}


def test_two_runs_at_once_are_refused(stored: Stored) -> None:
    folder = stored.folder / ".dvc/tmp/fsck"
    folder.mkdir(parents=True)
    with FileLock(folder / "lock"), pytest.raises(UserError, match="another fsck is at work here"):
        run()


def test_a_repair_waits_for_no_dvc_that_is_at_work(stored: Stored) -> None:
    truncate(stored.cache, stored.photo)
    with open_repo() as other, other.lock, pytest.raises(UserError, match="DVC is at work here"):
        run(mend=True)
    assert place(stored.cache, stored.photo).stat().st_size == 2500


def test_a_good_copy_that_rots_while_it_is_read_replaces_nothing(stored: Stored) -> None:
    store = FolderStore("cache", stored.cache, stored.folder / "aside")

    def breaks_off() -> Iterator[bytes]:
        yield b"half"
        raise OSError(5, "Input/output error")

    before = place(stored.cache, stored.photo).read_bytes()
    with pytest.raises(OSError, match="Input/output"):
        store.write_object(stored.photo, Copy("disk", breaks_off, None))
    assert place(stored.cache, stored.photo).read_bytes() == before
    assert [path.name for path in place(stored.cache, stored.photo).parent.glob(".*")] == []


def test_a_commit_whose_pipeline_cannot_be_read_is_a_warning(stored: Stored) -> None:
    (stored.folder / "dvc.yaml").write_text("stages:\n  a:\n    cmd: run ${nowhere}\n")
    git(stored.folder, "add", "--all")
    git(stored.folder, "commit", "--quiet", "--message", "broken")
    report = run()
    assert len(report.warnings) == 1
    assert report.warnings[0].startswith("commit ")
    assert report.problems == []


def test_an_output_that_git_keeps_is_no_object(stored: Stored) -> None:
    (stored.folder / "dvc.yaml").write_text(
        "stages:\n  a:\n    cmd: echo 1 > score.json\n    metrics:\n    - score.json:\n        cache: false\n"
    )
    assert dvc(stored.folder, "repro").returncode == 0
    git(stored.folder, "add", "--all")
    git(stored.folder, "commit", "--quiet", "--message", "a metric")
    assert run().problems == []


def test_there_must_be_a_repository_and_a_commit_and_the_remote(tmp_path: Path, stored: Stored) -> None:
    with pytest.raises(UserError, match="remote nowhere: not in .dvc/config \\(known: disk\\)"):
        run("nowhere")
    os.chdir(tmp_path)
    with pytest.raises(UserError, match="no DVC repository"):
        run()
