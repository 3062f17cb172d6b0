"""What `pip install git+...` gives: a wheel that makes workspaces without the repository."""

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import yaml
from workspaces import write_card

from miniature.persona import photo_files
from miniature.places import DEVELOPMENT, WEIGHTS

ROOT = Path(__file__).parents[1]
SOURCES = (
    "pyproject.toml",
    "setup.py",
    "MANIFEST.in",
    "README.md",
    "LICENSE",
    "dvc.yaml",
    "conf",
    "stages",
    "miniature",
)
FEW = {
    "caption": {"backend": "template"},
    "regularize": {"count": 4, "steps": 2},
    "train": {"steps": 4, "checkpoint_every": 4, "holdout_every": 4, "batch": 2, "prior_batch": 1, "rank": 4},
    "sweep": {"guidance": [3.0], "strengths": [1.0], "seeds": [101], "steps": 2},
    "eval": {"seeds": [1001], "steps": 2, "bootstrap": 100},
    "machine": {"threads": 1},
}
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not (WEIGHTS / "base").exists(), reason="needs the miniature's weights"),
]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The unpacked wheel: what lies in site-packages after an install."""
    folder = tmp_path_factory.mktemp("wheel")
    (folder / "source").mkdir()
    for name in SOURCES:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / "source" / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copyfile(ROOT / name, folder / "source" / name)
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*pip, "--wheel-dir", folder, folder / "source"], check=True, timeout=300, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "site")
    return folder / "site"


def run(folder: Path, installed: Path, *command: str) -> subprocess.CompletedProcess[str]:
    env = {
        "PATH": f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/bin", "PYTHONPATH": str(installed),
        "HOME": str(installed.parent), "DVC_SITE_CACHE_DIR": str(installed.parent / "dvc"), "OMP_NUM_THREADS": "1",
        "GIT_AUTHOR_NAME": "Ada", "GIT_AUTHOR_EMAIL": "ada@example.org",
        "GIT_COMMITTER_NAME": "Ada", "GIT_COMMITTER_EMAIL": "ada@example.org",
    }  # fmt: skip
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=900, env=env)


def test_the_wheel_holds_all_of_conf_the_pipeline_and_the_weights(installed: Path) -> None:
    for folder, inside in ((ROOT / "conf", "stages/template/conf"), (WEIGHTS, "miniature/weights")):
        for file in (path for path in folder.rglob("*") if path.is_file()):
            assert (installed / inside / file.relative_to(folder)).read_bytes() == file.read_bytes()
    assert (installed / "stages/template/dvc.yaml").read_bytes() == (ROOT / "dvc.yaml").read_bytes()
    assert {path.name for path in installed.iterdir() if path.is_dir() and not path.name.endswith(".dist-info")} == {
        "stages", "miniature"
    }  # fmt: skip


def test_a_workspace_made_by_the_wheel_runs_from_photos_to_scorecard(installed: Path, tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    for name, content in photo_files(DEVELOPMENT[6], 16).items():
        (tmp_path / "photos" / name).write_bytes(content)
    made = run(tmp_path, installed, "python", "-m", "stages", "init", "ada", "--photos", "photos")
    assert made.returncode == 0, made.stderr
    workspace = tmp_path / "ada"
    write_card(workspace, "ada")
    assert str(installed) not in "".join(path.read_text() for path in workspace.glob("*.*") if path.is_file())
    values = yaml.safe_load((workspace / "params.yaml").read_text())
    for name, section in FEW.items():
        values[name] |= section
    (workspace / "params.yaml").write_text(yaml.safe_dump(values))
    assert run(workspace, installed, "python", "-m", "stages", "check").returncode == 0
    done = run(workspace, installed, "dvc", "repro")
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    assert (workspace / "metrics/scorecard.json").exists()
    dry = run(workspace, installed, "dvc", "repro", "--dry", "--allow-missing")
    assert dry.returncode == 0
    assert "Running stage" not in dry.stdout
    assert not run(workspace, installed, "git", "ls-files", "data/photos", "data/eval", "models/lora").stdout
