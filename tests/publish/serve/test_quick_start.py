"""The quick start of docs/publishing.md, typed as it stands there, with the miniature's own models."""

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image
from producing import choose
from serving import ROOT, wait_for
from workspaces import make_workspace, write_params

from miniature.places import WEIGHTS
from publish.serve.store import Store
from stages.contracts.lora import MANIFEST_KEY, write_lora
from stages.runtime.provenance import hash_file

LAYER, WIDTH = "lora_unet_middle_block_1_transformer_blocks_0_attn1_to_q", 128
PAGE = ROOT / "docs" / "publishing.md"
SECONDS = 300.0  # however busy the machine

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not (WEIGHTS / "base").exists(), reason="needs the miniature's weights"),
    pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl"),
]


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A workspace with the miniature's base and a LoRA of nothing: the base's strangers are judged, and pass."""
    make_workspace(tmp_path, photos=16, holdout=8)
    shutil.rmtree(tmp_path / "base")
    (tmp_path / "base").symlink_to(WEIGHTS / "base")
    pair = {f"{LAYER}.lora_down.weight": np.ones((2, WIDTH), np.float32), f"{LAYER}.alpha": np.float32(2.0).reshape(())}
    pair[f"{LAYER}.lora_up.weight"] = np.zeros((WIDTH, 2), np.float32)
    header = {"ss_steps": "200", "ss_network_dim": "2", MANIFEST_KEY: hash_file(tmp_path / "data/manifest.json")}
    write_lora(tmp_path / "models/lora/persona.safetensors", pair, header)
    write_params(
        tmp_path, batch={"backend": "diffusers", "steps": 3},
        thresholds={"face_pass": -1.0, "batch": {"realism": 0.0, "adherence": 0.3}},
    )  # fmt: skip
    monkeypatch.chdir(tmp_path)
    choose(sampler="ddim")
    return tmp_path


@pytest.fixture
def port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        found: int = probe.getsockname()[1]
        return found


def quick_start(port: int) -> str:
    """The page's lines, on a free port, with a server that ends with them."""
    found = re.search(r"## Serve\n.*?```bash\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert found
    lines = found[1].replace("8765", str(port)).replace("pistachio serve &", "pistachio serve & SERVER=$!")
    return f'pistachio() {{ exec {sys.executable} -m stages "$@"; }}\n{lines}\nkill $SERVER; wait $SERVER\n'


@pytest.fixture
def environment(world: Path, port: int) -> dict[str, str]:
    """What the lines run with."""
    params = yaml.safe_load((world / "params.yaml").read_text())
    params["serve"] = {"port": port, "nice": 0, "draws_per_picture": 12, "attempts": 9}
    (world / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    return os.environ | {"PYTHONPATH": str(ROOT), "XDG_CONFIG_HOME": str(world / "configuration")}


def test_the_quick_start_ends_with_a_signed_picture_though_the_worker_is_killed(
    world: Path, port: int, environment: dict[str, str]
) -> None:
    left = False
    process = subprocess.Popen(["bash", "-c", quick_start(port)], env=environment, start_new_session=True)
    try:
        kill_the_worker_midway(world / "data/served")
        process.wait(SECONDS)
    finally:
        with contextlib.suppress(ProcessLookupError):  # nobody is left, as it should be
            os.killpg(process.pid, signal.SIGKILL)
            left = True
    assert not left
    job = json.loads((world / "job.json").read_text())
    assert (job["state"], [picture["number"] for picture in job["pictures"]]) == ("done", [0, 1])
    assert len({picture["seed"] for picture in job["pictures"]}) == 2
    assert job["drawn"] == 2 + len(job["rejected"])
    assert hash_file(world / "picture.png") == job["pictures"][0]["sha256"]
    with Image.open(world / "picture.png") as picture:
        assert picture.size == (64, 64)
    rows = [json.loads(line) for line in (world / "data/published.jsonl").read_text().splitlines()]
    assert sorted(row["record"]["origin"]["seed"] for row in rows) == sorted(one["seed"] for one in job["pictures"])


def kill_the_worker_midway(output: Path) -> None:
    """Kill the first worker when it has taken the job."""
    wait_for(lambda: (output / "jobs.sqlite").exists(), SECONDS)
    time.sleep(0.5)
    store = Store(output)
    wait_for(lambda: store._db.execute("SELECT count(*) FROM jobs WHERE state = 'running'").fetchone()[0] > 0, SECONDS)
    worker = store.worker()
    store.close()
    assert worker is not None
    os.kill(worker[0], signal.SIGKILL)
