"""Change one thing of recipe v3 at a time, on development identities: what does each part of it do?

    python -m miniature.ablation            runs what is missing, writes miniature/ablation.json (an hour on two cores)
    python -m miniature.ablation --table    prints the table of docs/training.md

Every variation is trained on the same three pairs of identity and training seed as the recipe itself, with the same
number of steps and photos per step (but where steps are the question), and used with the same settings: its last
checkpoint, one guidance, strength 1.  Differences are taken pair by pair.
"""

import argparse
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from miniature.trial import ALONE, run_trial
from stages.contracts.scorecard import read_scorecard
from stages.runtime.files import write_json

RESULT = Path(__file__).parent / "ablation.json"
PAIRS = (("dev1", 1), ("dev3", 3), ("dev4", 4))  # identity and training seed
USE = ["sweep.guidance=[2.0]", "sweep.strengths=[1.0]", *ALONE]
RECIPE = "v3"
VARIATIONS: dict[str, list[str]] = {
    "generic captions": ["caption=template"],
    "no regularization images": ["regularize=none", "train.prior_batch=0"],
    "AdamW, rate 0.002": [
        "train.optimizer.name=adamw", "train.optimizer.learning_rate=0.002", "train.optimizer.betas=[0.9,0.999]",
    ],
    "rank 8": ["train.rank=8"],
    "text encoders as they are": ["train.text_encoders=false", "train.cache_text=true"],
    "half the steps": ["train.steps=250"],
}  # fmt: skip
FIGURES = {
    "similarity": "face_similarity_mean", "likeness": "likeness", "second_likeness": "second_likeness",
    "prior_preservation": "prior_preservation", "adherence": "prompt_adherence_mean",
    "face_found": "face_detection_rate",
}  # fmt: skip


def measure(variation: str, identity: str, seed: int) -> dict[str, float]:
    """Run one variation on one identity, unless that was done, and read its figures."""
    changes = VARIATIONS.get(variation, [])
    steps = next((int(c.removeprefix("train.steps=")) for c in changes if c.startswith("train.steps=")), 500)
    saved = [f"train.checkpoint_every={steps}", f"train.holdout_every={steps // 5}"]
    folder = run_trial(RECIPE, identity, seed, [*changes, *saved, *USE])
    card = read_scorecard(folder / "metrics" / "scorecard.json")
    return {name: round(float(getattr(card, field)), 4) for name, field in FIGURES.items()}


def paired_difference(changed: list[float], recipe: list[float], confidence: float = 0.95) -> dict[str, float]:
    """Mean difference over the pairs with Student's interval: between-identity and between-seed spread is in it."""
    difference = np.subtract(changed, recipe)
    mean, error = float(difference.mean()), float(stats.sem(difference))
    reach = error * float(stats.t.ppf(0.5 + confidence / 2, len(difference) - 1))
    return {"mean": round(mean, 4), "low": round(mean - reach, 4), "high": round(mean + reach, 4)}


def run_all() -> dict[str, Any]:
    """Every variation on every pair, two at a time, one thread each."""
    jobs = [(name, *pair) for name in ("recipe", *VARIATIONS) for pair in PAIRS]
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(lambda job: (job, measure(*job)), jobs))
    runs: dict[str, list[dict[str, float]]] = {}
    for (name, _, _), figures in found:
        runs.setdefault(name, []).append(figures)
    differences = {
        name: {f: paired_difference([r[f] for r in runs[name]], [r[f] for r in runs["recipe"]]) for f in FIGURES}
        for name in VARIATIONS
    }
    return {"recipe": RECIPE, "pairs": [list(pair) for pair in PAIRS], "runs": runs, "differences": differences}


def render_table(result: dict[str, Any]) -> str:
    """The differences as Markdown, the recipe's own means first."""
    shown = {"similarity": 3, "likeness": 0, "second_likeness": 0, "prior_preservation": 0, "adherence": 3}
    lines = ["| | " + " | ".join(name.replace("_", " ") for name in shown) + " |", "|---|" + "---|" * len(shown)]
    means = {name: np.mean([run[name] for run in result["runs"]["recipe"]]) for name in shown}
    lines.append("| **the recipe** | " + " | ".join(f"{means[n]:.{d}f}" for n, d in shown.items()) + " |")
    for variation, figures in result["differences"].items():
        cells = [
            f"{figures[n]['mean']:+.{d}f} ({figures[n]['low']:+.{d}f} to {figures[n]['high']:+.{d}f})"
            for n, d in shown.items()
        ]
        lines.append(f"| {variation} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", action="store_true", help="print the table of what was measured")
    if not parser.parse_args().table:
        write_json(RESULT, run_all())
    print(render_table(json.loads(RESULT.read_text())))


if __name__ == "__main__":
    main()
