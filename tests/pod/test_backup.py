"""The backup drill: pack a workspace, lose it, and have every byte back, or be told why not."""

import gzip
import hashlib
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path
from typing import Any

import pytest
from comfyui.server import open_double

from pod import restore as restoring
from pod.__main__ import main
from pod.archive import Damaged, body_hash, is_safe, read_archive

ROOT = Path(__file__).parents[2]
FILES = {
    "params.yaml": b"train: {}\n", "dvc.yaml": b"stages: {}\n", "dvc.lock": b"", "conf/config.yaml": b"a: 1\n",
    "conf/workflows/lora.json": b"{}", "metrics/scorecard.json": b"{}", "metrics/history.jsonl": b"{}\n",
    "metrics/versions/v3/pictures/01.jpg": bytes(range(256)) * 50, "data/manifest.json": b"{}",
    "data/captions/001.txt": "amira, eine Frau, lächelnd".encode(), "data/photos.dvc": b"outs: []\n",
    "docs/findings.md": b"# Findings\n", "logs/cost.jsonl": b"", "conf/name with blanks é.yaml": b"x",
}  # fmt: skip
LEFT_OUT = {
    "data/photos/001.jpg": b"a face", "conf/.env": b"SECRET=1", ".dvc/config.local": b"secret", "logs/other.log": b"",
    "models/lora/amira.safetensors": b"weights",
}  # fmt: skip


def write(folder: Path, files: dict[str, bytes]) -> None:
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)


def hashes(folder: Path) -> dict[str, str]:
    """Every file below ``folder`` with its sha256."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def git(folder: Path, *words: str) -> str:
    return subprocess.run(["git", "-C", folder, *words], check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Settings for a workspace and a ComfyUI in ``tmp_path``; no server answers."""
    path = tmp_path / "my.toml"
    path.write_text(
        f'[pod]\nworkspace = "{(tmp_path / "ada").as_posix()}"\ncomfyui = "../ComfyUI"\n'
        'comfyui_url = "http://127.0.0.1:9"\n'
    )
    monkeypatch.setenv("PISTACHIO_POD", str(path))
    write(tmp_path / "ada", FILES | LEFT_OUT)
    return path


@pytest.fixture
def node(settings: Path) -> dict[str, str]:
    """A custom node, cloned from a repository and changed a little."""
    origin, clone = settings.parent / "origin", settings.parent / "ComfyUI/custom_nodes/Node"
    write(origin, {"node.py": b"a = 1\n"})
    git(settings.parent, "init", "--quiet", str(origin))
    git(origin, "add", ".")
    git(origin, "-c", "user.name=a", "-c", "user.email=a@b", "commit", "--quiet", "-m", "One")
    git(settings.parent, "clone", "--quiet", origin.as_uri(), str(clone))
    (clone / "node.py").write_bytes(b"a = 2\n")
    write(settings.parent / "ComfyUI/user/default/workflows", {"mine.json": b'{"nodes": []}'})
    return {"commit": git(origin, "rev-parse", "HEAD"), "address": origin.as_uri()}


def rows(capsys: pytest.CaptureFixture[str], *words: object, code: int = 0) -> dict[str, dict[str, Any]]:
    capsys.readouterr()
    assert main([str(word) for word in (words[0], "--json", *words[1:])]) == code
    return {row["what"]: row for row in json.loads(capsys.readouterr().out)["rows"]}


def packed(capsys: pytest.CaptureFixture[str], *words: object) -> Path:
    return Path(rows(capsys, "backup", *words)["archive"]["numbers"]["path"])


def test_an_empty_tree_becomes_the_original_by_hash(settings: Path, capsys: pytest.CaptureFixture[str]) -> None:
    archive = packed(capsys)
    bare = settings.parent / "bare"
    found = rows(capsys, "restore", archive, "--into", bare)
    assert found["files"]["status"] == "RAN"
    original = hashes(settings.parent / "ada")
    assert hashes(bare) == {name: original[name] for name in FILES}
    assert found["LoRAs"]["status"] == "WARN"
    assert "0 changed" in rows(capsys, "restore", archive, "--into", bare)["files"]["detail"]


def test_a_bare_machine_gets_workflows_and_nodes_with_their_changes(
    settings: Path, node: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    archive = packed(capsys, "--loras", "--output", settings.parent)
    before = hashes(settings.parent / "ada") | {f"c/{k}": v for k, v in hashes(settings.parent / "ComfyUI").items()}
    shutil.rmtree(settings.parent / "ComfyUI")
    shutil.move(settings.parent / "ada", settings.parent / "lost")
    (settings.parent / "ComfyUI").mkdir()
    found = rows(capsys, "restore", archive, "--into", settings.parent / "ada")
    assert (found["Node"]["status"], found["Node"]["todo"]) == ("WARN", "--nodes")
    assert found["LoRAs"]["status"] == "PASS"
    found = rows(capsys, "restore", archive, "--nodes")
    assert found["Node"]["detail"] == f"cloned at {node['commit'][:12]}, with its local changes"
    assert rows(capsys, "restore", archive)["Node"]["status"] == "PASS"
    after = hashes(settings.parent / "ada") | {f"c/{k}": v for k, v in hashes(settings.parent / "ComfyUI").items()}
    names = [
        *FILES,
        "models/lora/amira.safetensors",
        "c/custom_nodes/Node/node.py",
        "c/user/default/workflows/mine.json",
    ]
    assert {name: after[name] for name in names} == {name: before[name] for name in names}


def test_workflows_and_history_are_asked_of_a_running_server(
    settings: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "double").mkdir()
    with open_double(tmp_path / "double") as double:
        settings.write_text(settings.read_text().replace("http://127.0.0.1:9", double.url))
        import urllib.request

        request = urllib.request.Request(
            f"{double.url}/userdata/workflows%2Fa.json?overwrite=true", b'{"a": 1}', method="POST"
        )
        urllib.request.urlopen(request).close()
        archive = packed(capsys)
    rows(capsys, "restore", archive, "--into", tmp_path / "bare")
    assert (tmp_path / "bare/logs/comfyui/workflows/a.json").read_bytes() == b'{"a": 1}'


def test_the_same_content_is_known_whenever_it_is_packed(settings: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = packed(capsys)
    manifest = read_archive(first)
    assert "0 changed" in rows(capsys, "backup")["archive"]["detail"]
    time.sleep(1.1)
    for path in (settings.parent / "ada").rglob("*"):
        os.utime(path, (1, 1))
    second = packed(capsys, "--output", settings.parent / "elsewhere")
    again = read_archive(second)
    assert first.name == second.name
    assert manifest["made_at"] != again["made_at"]
    assert manifest["body"] == again["body"]

    def without_clock(path: Path) -> list[tuple[str, int, int, bytes]]:
        with tarfile.open(path) as tar:
            return [(m.name, m.mode, int(m.mtime), tar.extractfile(m).read()) for m in tar][1:]  # type: ignore[union-attr]

    assert without_clock(first) == without_clock(second)
    assert first.read_bytes()[4:8] == b"\0\0\0\0"  # gzip's own clock


def test_secrets_and_photos_stay_out(settings: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = {entry["path"] for entry in read_archive(packed(capsys))["body"]["files"]}
    assert names == {f"workspace/{name}" for name in FILES}


def test_a_link_that_leaves_the_workspace_is_refused(settings: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (settings.parent / "ada/conf/leak.yaml").symlink_to("/etc/passwd")
    assert main(["backup"]) == 2
    assert "leaves the workspace" in capsys.readouterr().err


@pytest.mark.parametrize("pattern", ["/etc/passwd", "../*", "conf/../../*", "", "."])
def test_a_pattern_that_leaves_the_workspace_is_named(
    settings: Path, capsys: pytest.CaptureFixture[str], pattern: str
) -> None:
    settings.write_text(settings.read_text() + f'[backup]\nkeep = ["{pattern}"]\n')
    assert main(["backup"]) == 2
    assert capsys.readouterr().err.startswith(f"error: backup.keep: {pattern!r} names nothing inside the workspace")


@pytest.mark.parametrize("where", [0.02, 0.3, 0.6, 0.95])
def test_a_damaged_byte_is_found_and_nothing_is_restored(
    settings: Path, capsys: pytest.CaptureFixture[str], where: float
) -> None:
    archive = packed(capsys)
    raw = bytearray(gzip.decompress(archive.read_bytes()))
    content = len(raw.rstrip(b"\0"))
    raw[int(content * where)] ^= 1
    archive.write_bytes(gzip.compress(bytes(raw)))
    assert rows(capsys, "backup", "--verify", archive, code=1)[archive.name]["status"] == "FAIL"
    rows(capsys, "restore", archive, "--into", settings.parent / "bare", code=1)
    assert not (settings.parent / "bare").exists()


def test_a_truncated_archive_is_found(settings: Path, capsys: pytest.CaptureFixture[str]) -> None:
    archive = packed(capsys)
    whole = archive.read_bytes()
    for share in (0.0, 0.1, 0.5, 0.99):
        archive.write_bytes(whole[: int(len(whole) * share)])
        assert rows(capsys, "backup", "--verify", archive, code=1)[archive.name]["status"] == "FAIL"


def forged(path: Path, names: list[str], members: list[str] | None = None) -> Path:
    """An archive whose manifest is right in itself, and whose names are not."""
    data = b"evil"
    entries = [{"path": n, "size": 4, "sha256": hashlib.sha256(data).hexdigest(), "executable": False} for n in names]
    body = {"format": "pistachio-backup-1", "files": entries, "loras": [], "nodes": []}
    text = json.dumps({"made_at": "", "sha256": body_hash(body), "body": body}).encode()
    with tarfile.open(path, "w:gz") as tar:
        for name, content in [("manifest.json", text), *((n, data) for n in (names if members is None else members))]:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return path


@pytest.mark.parametrize("name", ["../x", "workspace/../../x", "/etc/x", "C:/x", "C:x", "a\\..\\x", "a//b", "./a", ""])
def test_a_name_that_would_leave_the_folder_is_refused(tmp_path: Path, name: str) -> None:
    assert not is_safe(name)
    with pytest.raises(Damaged):
        read_archive(forged(tmp_path / "a.tar.gz", [name]))


def test_a_file_too_many_or_too_few_is_refused(tmp_path: Path) -> None:
    read_archive(forged(tmp_path / "a", ["workspace/a", "workspace/b"]))
    for members in (
        ["workspace/a"],
        ["workspace/a", "workspace/b", "workspace/c"],
        ["workspace/a"] * 2 + ["workspace/b"],
    ):
        with pytest.raises(Damaged):
            read_archive(forged(tmp_path / "b", ["workspace/a", "workspace/b"], members))


def test_other_bytes_are_kept_unless_forced(settings: Path, capsys: pytest.CaptureFixture[str]) -> None:
    archive = packed(capsys)
    bare = settings.parent / "bare"
    write(bare, {"params.yaml": b"mine: 1\n", "dvc.yaml": FILES["dvc.yaml"], "notes.txt": b"mine"})
    before = hashes(bare)
    found = rows(capsys, "restore", archive, "--into", bare, code=1)
    assert "params.yaml" in found["files"]["detail"]
    assert hashes(bare) == before
    rows(capsys, "restore", archive, "--into", bare, "--force")
    assert (bare / "params.yaml").read_bytes() == FILES["params.yaml"]
    assert (bare / "notes.txt").read_bytes() == b"mine"


def test_a_folder_or_a_link_in_the_way_is_named(settings: Path, capsys: pytest.CaptureFixture[str]) -> None:
    archive = packed(capsys)
    bare = settings.parent / "bare"
    (bare / "params.yaml").mkdir(parents=True)
    (bare / "metrics").symlink_to("/tmp")
    found = rows(capsys, "restore", archive, "--into", bare, "--force", code=1)
    assert "metrics/history.jsonl" in found["files"]["detail"]
    assert "params.yaml" in found["files"]["detail"]


def test_what_fails_half_way_is_undone(
    settings: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = packed(capsys)
    bare = settings.parent / "bare"
    write(bare, {"params.yaml": b"mine: 1\n", "conf/config.yaml": b"mine: 1\n"})
    before, moved, move = hashes(bare), [0], restoring._move

    def fail(source: Path, place: Path) -> None:
        moved[0] += 1
        if moved[0] == 9:
            raise OSError(28, "No space left on device")
        move(source, place)

    monkeypatch.setattr(restoring, "_move", fail)
    assert main(["restore", str(archive), "--into", str(bare), "--force"]) == 2
    assert "No space left" in capsys.readouterr().err
    assert hashes(bare) == before
    assert not (bare / "metrics").exists()


def test_a_restore_that_is_killed_is_undone_and_done_by_the_next(
    settings: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    archive = packed(capsys)
    bare = settings.parent / "bare"
    write(bare, {"params.yaml": b"mine: 1\n"})
    before = hashes(bare)
    code = (
        "import os, signal, sys\nfrom pod import restore\nmove, count = restore._move, [0]\n"
        "def dying(a, b):\n    count[0] += 1\n    move(a, b)\n"
        "    if count[0] == int(sys.argv[1]): os.kill(os.getpid(), signal.SIGKILL)\n"
        "restore._move = dying\nfrom pod.__main__ import main\nmain(['restore', *sys.argv[2:], '--force'])"
    )
    for step in (1, 5, 11):
        done = subprocess.run([sys.executable, "-c", code, str(step), archive, "--into", bare], check=False,
                              env=os.environ | {"PYTHONPATH": str(ROOT)})  # fmt: skip
        assert done.returncode == -signal.SIGKILL
        restoring.undo_leftovers(bare)
        assert hashes(bare) == before
    rows(capsys, "restore", archive, "--into", bare, "--force")
    assert set(hashes(bare)) == set(FILES)


def test_what_is_no_workspace_or_no_file_is_one_line(settings: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["restore", "nowhere.tar.gz"]) == main(["backup", "--verify", "nowhere.tar.gz"]) == 2
    (settings.parent / "ada/params.yaml").unlink()
    assert main(["backup"]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 3
