"""Scores become rows of per_image.csv, the ends of the likeness rulers, and a scorecard."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from stages.contracts.lora import read_header
from stages.contracts.manifest import Manifest
from stages.contracts.paths import EVAL_IMAGES, MANIFEST
from stages.contracts.protocol import protocol_hash
from stages.contracts.scorecard import Anchors, Choice, Interval, Scorecard, Settings
from stages.contracts.settings import Dataset, Eval, Judges, Thresholds
from stages.flows.scoring import Score, Shot
from stages.measures.bootstrap import cluster_interval
from stages.measures.identity import ruler
from stages.measures.overall import overall_score
from stages.runtime.provenance import hash_file, hash_json

TRAINING_KEYS = ("ss_", "modelspec.")
LONGEST_VALUE = 200  # characters; kohya's tag frequencies and bucket lists are no settings


def measure_anchors(base: Sequence[Score], real: Sequence[Score]) -> tuple[Anchors, Anchors]:
    """The rulers' ends under the face pack and under the second judge; faces that are not found count as 0.

    Raises:
        UserError: when a judge does not tell the person from the base model's faces.
    """
    first = Anchors(base=_mean(s.similarity for s in base), real=_mean(s.similarity for s in real))
    second = Anchors(base=_mean(s.second_similarity for s in base), real=_mean(s.second_similarity for s in real))
    for ends in (first, second):
        ruler(np.zeros(1), ends.base, ends.real)  # refuses now, before hours of drawing
    return first, second


def _mean(values: Iterable[float]) -> float:
    return float(np.mean(list(values)))


def table_rows(
    name: str, shots: Sequence[Shot], scores: Sequence[Score], anchors: tuple[Anchors, Anchors], face_pass: float
) -> list[dict[str, Any]]:
    """Rows of per_image.csv for one set, as ordered as the shots; ``likeness`` is on the rulers of ``anchors``."""
    first, second = anchors
    return [
        {
            "set": name, "prompt_index": shot.prompt_index, "prompt": shot.request.prompt, "seed": shot.request.seed,
            "file": shot.path.relative_to(EVAL_IMAGES).as_posix(), "face_found": int(score.face_found),
            "similarity": score.similarity, "second_similarity": score.second_similarity,
            "likeness": float(ruler(np.array(score.similarity), first.base, first.real)),
            "second_likeness": float(ruler(np.array(score.second_similarity), second.base, second.real)),
            "passed": int(score.passes(face_pass)), "texture_score": score.skin.texture,
            "color_naturalness_score": score.skin.tone, "realism_score": score.skin.realism,
            "adherence": score.adherence,
        }
        for shot, score in zip(shots, scores, strict=True)
    ]  # fmt: skip


def add_prior_preservation(rows: Sequence[dict[str, Any]]) -> None:
    """Add to every row what the LoRA leaves of the class word: 100 minus the likeness that it draws without trigger.

    DreamBooth's prior preservation (Ruiz et al. 2022, arXiv:2208.12242, section 4.3: PRES) on the likeness ruler: of a
    version's picture the partner of the same prompt and seed in set ``class`` is asked, of any other picture itself.
    """
    alike = {(row["prompt_index"], row["seed"]): row["likeness"] for row in rows if row["set"] == "class"}
    for row in rows:
        own = row["set"] != "lora"
        row["prior_preservation"] = 100 - (row["likeness"] if own else alike[row["prompt_index"], row["seed"]])


def training_params(metadata: Mapping[str, str]) -> dict[str, str]:
    """What a LoRA's header says about its training, without hashes and without what is no setting but a listing."""
    return {
        key: value
        for key, value in sorted(metadata.items())
        if key.startswith(TRAINING_KEYS) and "hash" not in key and len(value) <= LONGEST_VALUE
    }


def describe_origin(
    choice: Choice, manifest: Manifest, *, eval: Eval, dataset: Dataset, judges: Judges, thresholds: Thresholds
) -> dict[str, Any]:
    """The scorecard's fields that say what was judged, by what, under which settings.

    Raises:
        UserError: when the LoRA file is missing or its header cannot be read.
    """
    lora = Path(choice.best.lora)
    header = read_header(lora)
    sha256, protocol = hash_file(lora), protocol_hash(eval, dataset, judges, manifest)
    bars = thresholds.model_dump(mode="json")
    chosen = choice.best.model_dump(mode="json", include=set(Settings.model_fields))
    return {
        "run_id": hash_json([protocol, sha256, chosen, bars])[:12], "lora_version": header.version or lora.stem,
        "lora_sha256": sha256, "protocol": protocol, "dataset": dataset.name,
        "dataset_manifest_sha256": hash_file(MANIFEST), "training_params": training_params(header.metadata),
        "notes": eval.notes, "best_config": choice.best, "worst_config": choice.worst, "thresholds": bars,
        "licences": {name: judge.licence for name, judge in judges},
    }  # fmt: skip


def make_scorecard(
    rows: Sequence[dict[str, Any]], anchors: tuple[Anchors, Anchors], origin: Mapping[str, Any], settings: Eval,
    thresholds: Thresholds,
) -> Scorecard:  # fmt: skip
    """Means and intervals over the LoRA's pictures.

    Args:
        rows: of per_image.csv, all sets.
        anchors: of the face pack's ruler and the second judge's.
        origin: what ``describe_origin`` says.
        settings: of the bootstrap.
        thresholds: weights and grades.
    """
    table = pd.DataFrame(rows)
    ours, base = table[table["set"] == "lora"], table[table["set"] == "base"]
    mean = {name: float(value) for name, value in ours.mean(numeric_only=True).items()}

    def spread(column: str) -> Interval:
        values, prompts = ours[column].to_numpy(float), ours["prompt_index"].tolist()
        low, high = cluster_interval(values, prompts, resamples=settings.bootstrap, seed=settings.seed)
        return Interval(low=low, high=high)

    overall = overall_score(mean["likeness"], mean["realism_score"], thresholds.weights)
    return Scorecard(
        **origin, images_evaluated=len(ours), face_detection_rate=mean["face_found"],
        face_similarity_mean=mean["similarity"], face_similarity_interval=spread("similarity"),
        face_similarity_pass=mean["passed"], second_similarity_mean=mean["second_similarity"],
        second_similarity_interval=spread("second_similarity"), likeness=mean["likeness"],
        likeness_interval=spread("likeness"), second_likeness=mean["second_likeness"],
        second_likeness_interval=spread("second_likeness"), anchors=anchors[0], second_anchors=anchors[1],
        texture_score=mean["texture_score"], color_naturalness_score=mean["color_naturalness_score"],
        skin_realism_mean=mean["realism_score"], prompt_adherence_mean=mean["adherence"],
        base_prompt_adherence_mean=float(base["adherence"].mean()), prior_preservation=mean["prior_preservation"],
        prior_preservation_interval=spread("prior_preservation"), overall_score=overall,
        overall_grade=thresholds.grades.of(overall),
    )  # fmt: skip
