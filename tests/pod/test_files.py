"""Files of the pod: whole or not there, and one process at a time."""

import subprocess
import sys
from pathlib import Path

import pytest

from pod.errors import PodError
from pod.files import locked, read_json, sha256_file, write_atomic, write_json


def test_a_file_is_replaced_whole_and_nothing_is_left_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "sub/a.json"
    write_json(path, {"a": 1})
    write_json(path, {"a": 2})
    assert read_json(path) == {"a": 2}
    assert [file.name for file in path.parent.iterdir()] == ["a.json"]


def test_the_hash_is_of_the_bytes(tmp_path: Path) -> None:
    write_atomic(tmp_path / "a", b"abc")
    assert sha256_file(tmp_path / "a") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_what_is_no_json_is_nothing(tmp_path: Path) -> None:
    (tmp_path / "torn").write_text('{"a": ')
    assert read_json(tmp_path / "torn") is None
    assert read_json(tmp_path / "none") is None


def test_a_lock_keeps_another_process_out_and_dies_with_its_holder(tmp_path: Path) -> None:
    code = "import sys; from pathlib import Path; from pod.files import locked\n"
    code += "with locked(Path(sys.argv[1]), 'work'): print('held', flush=True); sys.stdin.read()"
    holder = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path / "lock")], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"held\n"
    with pytest.raises(PodError, match="another process is at work"), locked(tmp_path / "lock", "work"):
        pass
    holder.kill()
    holder.wait()
    with locked(tmp_path / "lock", "work"):
        pass
