"""A scorecard: what was judged, by whom, and what the pictures come to."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from stages.contracts.findings import gating_judge
from stages.contracts.lora import UNKNOWN, read_header
from stages.contracts.manifest import Manifest
from stages.contracts.paths import MANIFEST
from stages.contracts.protocol import protocol_hash
from stages.contracts.scorecard import Choice, Scorecard, Settings
from stages.contracts.settings import ComfyUI, Dataset, Eval, Judges, Thresholds, read_promotion
from stages.flows.findings import (
    describe_poses,
    interval_of,
    measure_agreement,
    measure_diversity,
    measure_likeness,
    measure_memorisation,
    raise_flags,
)
from stages.flows.judged import Judged, Rulers
from stages.flows.licences import licences_of
from stages.measures.memorisation import Yardstick
from stages.measures.overall import overall_score
from stages.measures.rulers import ALL
from stages.runtime.provenance import hash_file, hash_json

TRAINING_KEYS = ("ss_", "modelspec.")
LONGEST_VALUE = 200  # characters; kohya's tag frequencies and bucket lists are no settings


def training_params(metadata: Mapping[str, str]) -> dict[str, str]:
    """What a LoRA's header says about its training, without hashes and without what is no setting but a listing."""
    return {
        key: value
        for key, value in sorted(metadata.items())
        if key.startswith(TRAINING_KEYS) and "hash" not in key and len(value) <= LONGEST_VALUE
    }


def describe_origin(
    choice: Choice,
    manifest: Manifest,
    *,
    eval: Eval,
    comfyui: ComfyUI,
    dataset: Dataset,
    judges: Judges,
    thresholds: Thresholds,
) -> dict[str, Any]:
    """The scorecard's fields that say what was judged, by what, under which settings.

    Raises:
        UserError: when the LoRA file is missing or its header cannot be read.
    """
    lora = Path(choice.best.lora)
    header = read_header(lora)
    sha256, protocol = hash_file(lora), protocol_hash(eval, comfyui, dataset, judges, manifest)
    bars = thresholds.model_dump(mode="json", exclude={"batch"})  # which decides about production's pictures alone
    chosen = choice.best.model_dump(mode="json", include=set(Settings.model_fields))
    return {
        "run_id": hash_json([protocol, sha256, chosen, bars])[:12], "lora_version": header.version or lora.stem,
        "lora_sha256": sha256, "protocol": protocol, "dataset": dataset.name,
        "dataset_manifest_sha256": hash_file(MANIFEST), "lora_dataset": header.dataset,
        "training_params": training_params(header.metadata),
        "notes": eval.notes, "best_config": choice.best, "worst_config": choice.worst, "thresholds": bars,
        # What is known of licences today; it is no dependency, and the gate asks conf/ again.
        "licences": licences_of(
            Path(choice.best.base), choice.best.mode, eval.backend, judges, comfyui, read_promotion()
        ),
    }  # fmt: skip


def warn_of_dataset(origin: Mapping[str, Any]) -> list[str]:
    """Why the figures may flatter a LoRA that was not trained on this manifest's training photos."""
    trained_on = origin["lora_dataset"]
    if trained_on == origin["dataset_manifest_sha256"]:
        return []
    known = "unknown" if trained_on == UNKNOWN else f"another dataset (manifest sha256 {trained_on})"
    return [
        f"What this LoRA was trained on is {known}: the holdout photos may be among its training photos, so likeness "
        "may flatter, and memorising is judged only against the photos at hand."
    ]


def make_scorecard(
    judged: Judged, rows: Sequence[dict[str, Any]], rulers: Rulers, yardstick: Yardstick, origin: Mapping[str, Any],
    settings: Eval, thresholds: Thresholds, warnings: Sequence[str] = (),
) -> Scorecard:  # fmt: skip
    """Means and intervals over the LoRA's pictures, and what stands beside them.

    Args:
        judged: what was drawn and scored.
        rows: of per_image.csv, all sets.
        rulers: both judges'.
        yardstick: what is close among real photos.
        origin: what ``describe_origin`` says.
        settings: of the bootstrap.
        thresholds: weights, grades and the limits of the flags.
        warnings: what the reader should know about the measuring.
    """
    table = pd.DataFrame(rows)
    ours, base = table[table["set"] == "lora"], table[table["set"] == "base"]
    intervals = measure_likeness(judged, rulers, settings)
    figures = {**_means(ours, base, settings), "likeness_interval": intervals["faces"][ALL],
               "second_likeness_interval": intervals["second"][ALL]}  # fmt: skip
    mode = origin["best_config"].mode
    judge = gating_judge(mode)
    gate = "second_likeness" if judge == "second" else "likeness"
    memorisation = measure_memorisation(ours, base, yardstick, settings)
    overall = overall_score(figures[gate], figures["skin_realism_mean"], thresholds.weights)
    return Scorecard(
        **origin, **figures, anchors=rulers["faces"], second_anchors=rulers["second"], overall_score=overall,
        overall_grade=thresholds.grades.of(overall), gating_judge=judge, poses=describe_poses(ours, intervals),
        agreement=measure_agreement(ours, mode, thresholds.judges_apart, settings),
        diversity=measure_diversity(judged, ours, base, settings), memorisation=memorisation,
        flags=raise_flags(
            (figures[gate], figures[f"{gate}_interval"]),
            (figures["prior_preservation"], figures["prior_preservation_interval"]), memorisation, ours,
            thresholds.flags,
        ),
        warnings=list(warnings),
    )  # fmt: skip


def _means(ours: pd.DataFrame, base: pd.DataFrame, settings: Eval) -> dict[str, Any]:
    """The scorecard's means and the intervals of those that have one."""
    mean = {name: float(value) for name, value in ours.mean(numeric_only=True).items()}
    return {
        "images_evaluated": len(ours), "face_detection_rate": mean["face_found"],
        "face_similarity_mean": mean["similarity"],
        "face_similarity_interval": interval_of(ours, "similarity", settings),
        "face_similarity_pass": mean["passed"], "second_similarity_mean": mean["second_similarity"],
        "second_similarity_interval": interval_of(ours, "second_similarity", settings),
        "likeness": mean["likeness"], "second_likeness": mean["second_likeness"],
        "texture_score": mean["texture_score"], "color_naturalness_score": mean["color_naturalness_score"],
        "skin_realism_mean": mean["realism_score"], "prompt_adherence_mean": mean["adherence"],
        "base_prompt_adherence_mean": float(base["adherence"].mean()),
        "prior_preservation": mean["prior_preservation"],
        "prior_preservation_interval": interval_of(ours, "prior_preservation", settings),
        "texture_z": _known(mean["texture_z"]), "tone_z": _known(mean["tone_z"]),
    }  # fmt: skip


def _known(value: float) -> float | None:
    return value if np.isfinite(value) else None
