"""A batch of forty on the miniature's own models, killed twice: it ends complete, nothing doubled or lost."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from producing import check_folder, choose, params, policy
from workspaces import make_workspace, write_params

from miniature.places import WEIGHTS
from stages.contracts.batches import read_batch
from stages.contracts.lora import MANIFEST_KEY, write_lora
from stages.contracts.production import read_record
from stages.contracts.settings import read_machine
from stages.flows.production import open_production
from stages.flows.production_recipe import choose_recipe
from stages.flows.subject import read_subject
from stages.runtime.pictures import read_picture
from stages.runtime.provenance import hash_bytes, hash_file

PATIENCE = 600.0  # seconds, however busy the machine
LAYER, WIDTH = "lora_unet_middle_block_1_transformer_blocks_0_attn1_to_q", 128
LOOKS = ("smiling", "neutral", "frowning", "surprised", "smiling, glasses")
PROMPTS = [f"{{trigger}}, a {{class_word}}, {look}, {shirt} shirt, studio background, close-up"
           for shirt in ("red", "blue") for look in LOOKS]  # fmt: skip
# The LoRA of this test changes nothing, so the base model's strangers are judged: about half of them pass 0.
THRESHOLDS = {"face_pass": 0.0, "batch": {"realism": 0.0, "adherence": 0.3}}
BATCH = {"backend": "diffusers", "resolution": 64, "steps": 6, "micro_batch": 4, "count": 4, "prompts": PROMPTS}

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not (WEIGHTS / "base").exists(), reason="needs the miniature's weights"),
]


def make_world(folder: Path) -> None:
    """A workspace with the miniature's base and a LoRA of nothing."""
    make_workspace(folder, photos=16, holdout=8)
    shutil.rmtree(folder / "base")
    (folder / "base").symlink_to(WEIGHTS / "base")
    pair = {f"{LAYER}.lora_down.weight": np.ones((2, WIDTH), np.float32), f"{LAYER}.alpha": np.float32(2.0).reshape(())}
    pair[f"{LAYER}.lora_up.weight"] = np.zeros((WIDTH, 2), np.float32)
    header = {"ss_steps": "200", "ss_network_dim": "2", MANIFEST_KEY: hash_file(folder / "data/manifest.json")}
    write_lora(folder / "models/lora/persona.safetensors", pair, header)
    write_params(folder, batch=BATCH, thresholds=THRESHOLDS)
    choose(sampler="ddim")


def run(until: int | None = None) -> tuple[int, str]:
    """Make the batch; killed with everything that it started when so many pictures lie there.  Exit code, stderr."""
    command = [sys.executable, "-m", "stages", "batch", "--output-dir", "out"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    with Path("said.txt").open("w") as said:
        process = subprocess.Popen(command, stderr=said, stdout=said, start_new_session=True, env=environment)
        start = time.monotonic()
        while process.poll() is None and time.monotonic() - start < PATIENCE:
            if until is not None and len(list(Path("out").rglob("*.png"))) >= until:
                break
            time.sleep(0.02)
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        return process.wait(), Path("said.txt").read_text()


def test_a_batch_of_forty_killed_twice_ends_complete(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    make_world(tmp_path)
    for pictures in (9, 26):
        code, said = run(pictures)
        assert code == -signal.SIGKILL, said
        assert pictures <= len(list(Path("out").rglob("*.png"))) < 40
    kept = {
        path: read_record(path).pixels_sha256
        for path in Path("out").rglob("*.png")
        if path.with_suffix(".json").exists()
    }
    code, said = run()
    assert code == 0, said
    assert "batch: resumed, " in said
    batch = read_batch(Path("out"))
    assert (batch.state, batch.generated, len(batch.wishes)) == ("finished", 40, 10)
    assert batch.accepted >= 1
    assert batch.rejected >= 1
    check_folder()
    for path, digest in kept.items():
        assert hash_bytes(read_picture(path).tobytes()) == digest
    check_drawn_alone()


def check_drawn_alone() -> None:
    """A few pictures of the batch, drawn in another order and grouping: the same pixels and scores."""
    found = {p.name: read_record(p) for p in sorted(Path("out").rglob("*.png"))[::8]}
    with open_production(
        params(batch=BATCH, thresholds=THRESHOLDS), read_machine(), choose_recipe(), read_subject().sha256, policy()
    ) as production:
        origins = [record.origin for record in found.values()]
        orders = [
            production.order(o.prompt, o.seed, batch=o.batch, name=n) for n, o in zip(found, origins, strict=True)
        ]
        for made in production.make(orders[::-1]):
            record = found[made.order.name]
            assert made.record.pixels_sha256 == record.pixels_sha256
            assert made.record.origin == record.origin
            assert made.record.scores.similarity == pytest.approx(record.scores.similarity, abs=1e-6)
