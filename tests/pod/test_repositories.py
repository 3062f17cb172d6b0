"""Repositories at pinned commits."""

from pathlib import Path

import pod_wheels
import pytest

from pod.errors import PodError
from pod.files import write_json
from pod.repositories import place
from pod.startup_settings import Repository


@pytest.fixture
def origin(tmp_path: Path) -> pod_wheels.Repository:
    return pod_wheels.Repository(tmp_path / "origin")


def bring(tmp_path: Path, origin: pod_wheels.Repository, commit: str) -> tuple[str, str]:
    wanted = Repository("node", origin.folder.as_uri(), commit)
    return place(wanted, tmp_path / "node", tmp_path / "state", tmp_path / "log")


def test_a_repository_goes_to_its_commit_and_on_to_the_next(tmp_path: Path, origin: pod_wheels.Repository) -> None:
    first, second = origin.commit({"a.py": "1\n"}), origin.commit({"a.py": "2\n", "b.py": ""})
    assert bring(tmp_path, origin, first) == ("RAN", f"was not there; now at {first[:12]}")
    assert not (tmp_path / "node/b.py").exists()
    assert bring(tmp_path, origin, first) == ("SKIPPED", f"at {first[:12]}")
    (tmp_path / "node/settings.json").write_text("of the owner")
    assert bring(tmp_path, origin, second) == ("RAN", f"was at {first[:12]}; now at {second[:12]}")
    assert (tmp_path / "node/a.py").read_text() == "2\n"
    assert (tmp_path / "node/settings.json").read_text() == "of the owner"


def test_a_changed_tree_is_not_switched(tmp_path: Path, origin: pod_wheels.Repository) -> None:
    first, second = origin.commit({"a.py": "1\n"}), origin.commit({"a.py": "2\n"})
    bring(tmp_path, origin, first)
    (tmp_path / "node/a.py").write_text("mine\n")
    status, why = bring(tmp_path, origin, second)
    assert (status, (tmp_path / "node/a.py").read_text()) == ("WARN", "mine\n")
    assert why == f"at {first[:12]} instead of {second[:12]}, changed by hand and left so: a.py"


def test_a_switch_that_was_killed_half_way_is_finished(tmp_path: Path, origin: pod_wheels.Repository) -> None:
    first, second = origin.commit({"a.py": "1\n"}), origin.commit({"a.py": "2\n"})
    bring(tmp_path, origin, first)
    write_json(tmp_path / "state/switching-node.json", {"to": second})
    (tmp_path / "node/a.py").write_text("torn")
    (tmp_path / "node/.git/index.lock").touch()
    assert bring(tmp_path, origin, second)[0] == "RAN"
    assert (tmp_path / "node/a.py").read_text() == "2\n"
    assert bring(tmp_path, origin, second)[0] == "SKIPPED"


def test_a_folder_of_somebody_else_is_left_alone(tmp_path: Path, origin: pod_wheels.Repository) -> None:
    (tmp_path / "node").mkdir()
    (tmp_path / "node/mine.py").touch()
    assert bring(tmp_path, origin, origin.commit({"a.py": ""}))[0] == "WARN"
    assert (tmp_path / "node/mine.py").exists()


def test_a_commit_that_is_gone_is_named(tmp_path: Path, origin: pod_wheels.Repository) -> None:
    origin.commit({"a.py": ""})
    with pytest.raises(PodError, match="commit 0123456789ab cannot be had"):
        bring(tmp_path, origin, "0123456789abcdef0123456789abcdef01234567")
    assert not (tmp_path / "node").exists()
