"""Sweep and eval draw with ComfyUI: the same artifacts whatever happens to servers and client on the way.

On the double, which draws a stranger who turns into the persona as the LoRA gets stronger, and the persona where a
photo conditions the face: it says nothing about what a real LoRA does.
"""

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from comfyui.server import Double
from comfyui_worlds import ROOT, hurry, open_server, settings
from workspaces import PARAMS, write_params

from stages import eval as judge
from stages import sweep
from stages.contracts.manifest import read_manifest
from stages.contracts.scorecard import read_choice, read_scorecard
from stages.flows import drawing
from stages.runtime.errors import UserError

MADE = ("data/sweep", "data/eval", "metrics")


@pytest.fixture
def server(
    workspace: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Double]:
    hurry(monkeypatch)
    with open_server(tmp_path_factory.mktemp("server")) as double:
        write(workspace, double)
        yield double


def write(workspace: Path, *doubles: Double, **changes: dict[str, object]) -> None:
    """params.yaml that draws with ComfyUI."""
    backend = {"backend": "comfyui"}
    comfyui = settings(Path("base")).model_dump(mode="json") | changes.pop("comfyui", {})
    machine = PARAMS["machine"] | {"comfyui_urls": [double.url for double in doubles], "comfyui_patience": 60.0}
    changed = {"sweep": backend | changes.pop("sweep", {}), "eval": backend | changes.pop("eval", {})}
    write_params(workspace, comfyui=comfyui, machine=machine, **changed)


def artifacts(workspace: Path) -> dict[str, bytes]:
    files = [path for name in MADE for path in sorted((workspace / name).rglob("*")) if path.is_file()]
    return {path.relative_to(workspace).as_posix(): path.read_bytes() for path in files}


def test_sweep_and_eval_find_what_the_server_draws_best(workspace: Path, server: Double) -> None:
    sweep.main()
    choice = read_choice()
    assert (choice.best.checkpoint, choice.best.strength) == (200, 1.0)
    assert server.drawn == len(set(server.accepted)) == choice.images
    judge.main()
    card = read_scorecard()
    assert card.likeness > 60
    assert card.face_detection_rate == 1.0
    assert sorted(p.name.split("-")[0] for p in server.loras.glob("persona*")) == ["persona", "persona"]


def test_a_server_that_dies_again_and_again_and_a_killed_client_change_no_byte(
    workspace: Path, server: Double, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep.main()
    judge.main()
    expected = artifacts(workspace)
    for after in (3, 9, 20):
        server.faults.die("KSampler", back_after=0.05, after=after)
    server.faults.swallow("POST /prompt", after=2, times=3)
    server.faults.spoil("truncated", after=5, times=2)
    written = 0

    def write(image: np.ndarray, *paths: Path) -> None:
        nonlocal written
        written += 1
        if written == 13:
            raise KeyboardInterrupt
        real(image, *paths)

    real = drawing._write
    with monkeypatch.context() as patch:
        patch.setattr(drawing, "_write", write)
        with pytest.raises(KeyboardInterrupt):
            sweep.main()
    sweep.main()
    judge.main()
    assert artifacts(workspace) == expected
    assert server.lives >= 3


def test_two_servers_make_the_same_artifacts_as_one(
    workspace: Path, server: Double, tmp_path_factory: pytest.TempPathFactory
) -> None:
    sweep.main()
    expected = artifacts(workspace)
    with open_server(tmp_path_factory.mktemp("other")) as other:
        write(workspace, server, other)
        other.faults.slow(0.05, times=5)
        server.faults.slow(0.05, times=5)
        sweep.main()
        assert other.drawn > 0
    assert artifacts(workspace) == expected


def test_modes_are_swept_side_by_side_and_the_photo_is_never_a_holdout_photo(workspace: Path, server: Double) -> None:
    manifest = read_manifest()
    seen = [
        photo.model_copy(update={"face_share": 0.3 + number / 100, "yaw": 0.0})
        for number, photo in enumerate(manifest.images)
    ]
    from stages.contracts.manifest import write_manifest

    write_manifest(manifest.model_copy(update={"images": seen}))
    modes = ["lora", "lora+instantid", "lora+ipadapter"]
    write(workspace, server, sweep={"modes": modes, "guidance": [2.0], "strengths": [0.5, 1.0]})
    sweep.main()
    table = pd.read_csv("metrics/sweep_summary.csv")
    assert set(table["mode"]) == set(modes)
    best = table.groupby("mode")["similarity_mean"].max()
    assert best["lora+instantid"] > 0.6
    choice = read_choice()
    if choice.best.mode != "lora":
        photo = next(p for p in manifest.images if choice.best.reference.endswith(p.filename))
        assert photo.split == "train"
    judge.main()
    card = read_scorecard()
    assert card.gating_judge == ("faces" if choice.best.mode == "lora" else "second")
    assert card.best_config.reference == choice.best.reference


def test_a_holdout_photo_as_the_reference_is_refused_before_anything_is_deleted(
    workspace: Path, server: Double
) -> None:
    sweep.main()
    before = artifacts(workspace)
    holdout = read_manifest().side("holdout")[0]
    write(workspace, server, comfyui={"reference": f"data/photos/{holdout.filename}"})
    with pytest.raises(UserError, match=r"is the holdout photo 000\.png, with which pictures are compared"):
        sweep.main()
    assert artifacts(workspace) == before


def test_what_comfyui_lacks_is_said_before_anything_is_deleted(workspace: Path, server: Double) -> None:
    sweep.main()
    before = artifacts(workspace)
    (server.folders.paths("checkpoints")[0] / "base.safetensors").unlink()
    with pytest.raises(UserError, match="is not on the server"):
        sweep.main()
    server.stop()
    with pytest.raises(UserError, match="no ComfyUI server answers"):
        sweep.main()
    assert artifacts(workspace) == before


def test_figures_drawn_by_two_backends_are_of_two_protocols(workspace: Path, server: Double) -> None:
    sweep.main()
    judge.main()
    ours = read_scorecard().protocol
    write_params(workspace, eval={"backend": "drawing:Drawing"})
    judge.main()
    assert read_scorecard().protocol != ours


def test_no_listener_is_left_when_a_stage_is_done(workspace: Path, server: Double) -> None:
    sweep.main()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("bell ")]


FEW = (
    "generate=comfyui", "caption=template", "regularize.count=8", "regularize.steps=4", "train.steps=6",
    "train.checkpoint_every=3", "train.holdout_every=3", "train.batch=2", "train.rank=4", "train.samples.prompts=[]",
    "train.samples.probe_seeds=[7]", "sweep.guidance=[3.0]", "sweep.strengths=[1.0]", "sweep.seeds=[101]",
    "sweep.confirm_seeds=[201]", "eval.seeds=[1001]", "eval.bootstrap=200", "compare.baseline=none",
    "machine.comfyui_patience=60.0",
)  # fmt: skip


@pytest.mark.slow
def test_dvc_runs_the_whole_pipeline_with_comfyui(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From a clone: every stage, composed by Hydra and run by DVC; the server dies on the way."""
    clone = tmp_path / "clone"
    subprocess.run(["git", "clone", "-q", str(ROOT), str(clone)], check=True)
    for role in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{role}_NAME", "Ada")
        monkeypatch.setenv(f"GIT_{role}_EMAIL", "ada@example.org")
    for name, value in {"PYTHONPATH": str(clone), "DVC_NO_ANALYTICS": "1", "XDG_CACHE_HOME": str(tmp_path / "cache"),
                        "DVC_SITE_CACHE_DIR": str(tmp_path / "site")}.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    with open_server(tmp_path / "server") as double:
        double.faults.die("KSampler", back_after=0.5, after=5)
        overrides = [*FEW, f"machine.comfyui_urls=[{double.url}]"]
        command = ["dvc", "exp", "run", *(word for override in overrides for word in ("-S", override))]
        done = subprocess.run(command, cwd=clone, capture_output=True, text=True, timeout=1500, check=False)
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        assert double.lives == 2
    card = read_scorecard(clone / "metrics/scorecard.json")
    assert card.images_evaluated == 24
    assert (clone / "metrics/report.html").stat().st_size > 10_000
    assert len((clone / "logs/comfyui.jsonl").read_text().splitlines()) >= 24 * 3
