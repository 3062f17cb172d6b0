"""Try recipes on rendered women: every run is the pipeline's own stages in a workspace of its own.

    python -m miniature.trial v2 v3 --identity dev0 --seeds 0 1 2      tune on development identities
    python -m miniature.trial persona                                  the final trial, once: miniature/trial.json

A run lies in the cache folder under a name that hashes its params, the weights and the code; a run that is finished is
not repeated.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import pandas as pd
import yaml
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from miniature.figures import weights_sha256
from miniature.persona import persona, write_photos
from miniature.places import DEVELOPMENT, PERSONA, cache_folder
from miniature.render import Identity, mix_identities
from stages.contracts.paths import SUBJECT
from stages.contracts.scorecard import Scorecard, read_scorecard
from stages.measures.bootstrap import cluster_interval
from stages.runtime.files import write_json
from stages.runtime.provenance import hash_json, hash_path

ROOT = Path(__file__).parent.parent
RESULT = Path(__file__).parent / "trial.json"
STAGES = ("caption", "manifest", "regularize", "train", "sweep", "eval")
IDENTITIES = {"persona": PERSONA} | {f"dev{i}": seed for i, seed in enumerate(DEVELOPMENT)}
COMPOSING = Lock()  # Hydra composes for one thread at a time
ALONE = ["machine.threads=1", "+machine.state_dir=state"]  # beside another run
STRANGER = "dev7"  # whose LoRA is judged against the persona


def find_person(identity: str) -> tuple[int, Identity]:
    """In whose scenes somebody is photographed, and who she is.

    ``dev1`` is a development person; ``dev1-045`` is 45% of the way from there to the persona, in dev1's scenes.
    """
    name, _, share = identity.partition("-")
    seed = IDENTITIES[name]
    return seed, mix_identities(persona(seed), persona(), int(share) / 100) if share else persona(seed)


def recipe_params(recipe: str, seed: int, overrides: list[str]) -> dict[str, Any]:
    """params.yaml of one run: conf/ composed with the recipe, the training seed and further overrides."""
    with COMPOSING, initialize_config_dir(str(ROOT / "conf"), version_base=None):
        config = compose("config", [f"experiment={recipe}", f"train.seed={seed}", "compare.baseline=none", *overrides])
    return OmegaConf.to_container(config, resolve=True)  # type: ignore[return-value]


def make_workspace(identity: str, params: dict[str, Any]) -> Path:
    """A folder with photos, params.yaml and a link to the weights; the same inputs give the same folder."""
    made_from = hash_json([params, weights_sha256(), hash_path(ROOT / "stages")])[:10]
    folder = cache_folder() / "trials" / f"{identity}-{params['train']['version']}-{made_from}"
    if not (folder / "params.yaml").exists():
        write_photos(folder / "data" / "photos", *find_person(identity))
        (folder / "miniature").symlink_to(ROOT / "miniature")
        shutil.copyfile(ROOT / SUBJECT, folder / SUBJECT)  # of nobody: they are all drawn
        (folder / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    return folder


def run_stage(folder: Path, stage: str) -> None:
    """Run one stage of the pipeline in ``folder``, once; its log lies beside."""
    done = folder / f".{stage}.done"
    if done.exists():
        return
    environment = os.environ | {"PYTHONPATH": str(ROOT), "TERM": "dumb"}
    with (folder / f"{stage}.log").open("w") as log:
        subprocess.run(
            [sys.executable, "-m", f"stages.{stage}"], cwd=folder, env=environment, check=True, stdout=log, stderr=log
        )
    done.touch()


def run_trial(recipe: str, identity: str, seed: int, overrides: list[str]) -> Path:
    """Run the whole pipeline for one recipe, identity and training seed; the workspace holds the results."""
    folder = make_workspace(identity, recipe_params(recipe, seed, overrides))
    for stage in STAGES:
        run_stage(folder, stage)
    return folder


def judge_as(identity: str, trained: Path, params: dict[str, Any]) -> Path:
    """Judge the LoRA of workspace ``trained`` against the photos of another identity."""
    folder = make_workspace(identity, params | {"train": params["train"] | {"version": f"of_{trained.name}"}})
    for stage in ("caption", "manifest"):
        run_stage(folder, stage)
    (folder / "models").mkdir(exist_ok=True)
    for made in ("models/lora", "data/regularization"):
        shutil.copytree(trained / made, folder / made, dirs_exist_ok=True)
    (folder / "metrics").mkdir(exist_ok=True)
    shutil.copy(trained / "metrics" / "sweep_choice.json", folder / "metrics")
    run_stage(folder, "eval")
    return folder


def pooled(folders: list[Path], rows: str, column: str, confidence: float = 0.95) -> dict[str, float]:
    """Mean and cluster-bootstrap interval of a per-image column over several runs; prompts are the clusters."""
    frames = [pd.read_csv(folder / "metrics" / "per_image.csv") for folder in folders]
    table = pd.concat([frame[frame["set"] == rows] for frame in frames])
    values, clusters = table[column].to_numpy(float), table["prompt_index"].tolist()
    low, high = cluster_interval(values, clusters, confidence=confidence, resamples=4000, seed=0)
    return {"mean": round(float(values.mean()), 4), "low": round(low, 4), "high": round(high, 4), "images": len(values)}


def summarise(folders: list[Path], rows: str = "lora") -> dict[str, Any]:
    """One row of the trial's table: similarity and ruler under both judges, pass and detection rates."""
    columns = (
        "similarity",
        "second_similarity",
        "likeness",
        "second_likeness",
        "passed",
        "face_found",
        "realism_score",
        "adherence",
        "prior_preservation",
    )
    return {column: pooled(folders, rows, column) for column in columns}


def show(name: str, folder: Path) -> Scorecard:
    """Print one run's line."""
    card = read_scorecard(folder / "metrics" / "scorecard.json")
    best, ends = card.best_config, card.anchors
    parts = (
        f"{name:28s} similarity {card.face_similarity_mean:.3f} (base {ends.base:.3f}, real {ends.real:.3f})",
        f"ruler {card.likeness:.0f}/{card.second_likeness:.0f}",
        f"pass {card.face_similarity_pass:.2f} found {card.face_detection_rate:.2f}",
        f"prior preservation {card.prior_preservation:.0f} adherence {card.prompt_adherence_mean:.3f}",
        f"skin {card.skin_realism_mean:.2f} {card.overall_grade}",
        f"step {best.checkpoint} guidance {best.guidance:g} strength {best.strength:g}",
    )
    print("  ".join(parts), flush=True)
    return card


def run_persona(seeds: list[int]) -> None:
    """The final trial: base, v2, v3 and a stranger's LoRA on the persona, once, three training seeds; two at a time."""
    jobs = [job for seed in seeds for job in (("v2", "persona", seed), ("v3", "persona", seed), ("v3", STRANGER, seed))]
    with ThreadPoolExecutor(2) as pool:
        trained = dict(zip(jobs, pool.map(lambda job: run_trial(job[0], job[1], job[2], ALONE), jobs), strict=True))
    folders: dict[str, list[Path]] = {"v2": [], "v3": [], "stranger": []}
    for (recipe, identity, seed), folder in trained.items():
        if identity == STRANGER:
            judged = judge_as("persona", folder, recipe_params("v3", seed, ALONE))
            folders["stranger"].append(judged)
            show(f"stranger's LoRA seed {seed}", judged)
        else:
            folders[recipe].append(folder)
            show(f"persona {recipe} seed {seed}", folder)
    result = {"seeds": seeds, "base": summarise(folders["v3"][:1], "base")}
    result |= {name: summarise(found) for name, found in folders.items()}
    card = read_scorecard(folders["v3"][0] / "metrics" / "scorecard.json")
    result["real"] = {"similarity": card.anchors.real, "second_similarity": card.second_anchors.real}
    write_json(RESULT, result)
    print(RESULT)


def main() -> None:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipes", nargs="+", help="experiments of conf/experiment, or the word persona")
    parser.add_argument("--identity", nargs="+", default=["dev0"], choices=sorted(IDENTITIES))
    parser.add_argument("--seeds", type=int, nargs="+", default=None)
    parser.add_argument("--set", nargs="*", default=[], help="Hydra overrides, for example train.steps=300")
    arguments = parser.parse_args()
    if arguments.recipes == ["persona"]:
        run_persona(arguments.seeds or [0, 1, 2])
        return
    cards = []
    for identity in arguments.identity:
        for recipe in arguments.recipes:
            for seed in arguments.seeds or [0]:
                folder = run_trial(recipe, identity, seed, arguments.set)
                cards.append(show(f"{identity} {recipe} seed {seed}", folder))
    print(f"mean similarity {np.mean([card.face_similarity_mean for card in cards]):.3f}")
    print(json.dumps({"overrides": arguments.set}))


if __name__ == "__main__":
    main()
