"""Content for report pages: a run that was never made, in the shapes of one that was."""

from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np

from stages.contracts.calibration import Calibration, JudgeCalibration, Rate, Threshold
from stages.contracts.comparison import METRICS, Comparison, ConfigDifference, MetricComparison, Recommendation, Version
from stages.contracts.findings import Agreement, Diversity, Ends, Flag, Memorisation, PoseFigures
from stages.contracts.manifest import Manifest, Summary
from stages.contracts.scorecard import Anchors, Cell, Choice, Confirmation, Interval, Scorecard
from stages.contracts.settings import Thresholds
from stages.reports.page.content import Content, Pair, Row
from stages.reports.page.thumbnails import make_thumbnail

STEPS, GUIDANCE, SAMPLERS, STRENGTHS = (100, 200, 300), (2.0, 3.0), ("ddim", "euler"), (0.8, 1.0)
LEADERS = 20  # cells from here on were drawn again
PROMPTS, SEEDS = 10, (1001, 1002)
VERDICTS = ("IMPROVED", "REGRESSED", "EQUIVALENT", "INCONCLUSIVE")


def cell(step: int = 300, **values: Any) -> Cell:
    settings = {"base": "models/base", "mode": "lora", "checkpoint": step, "lora": f"models/lora/x-{step}.safetensors",
                "guidance": 3.0, "sampler": "ddim", "strength": 1.0, "images": 8, "similarity_mean": 0.7,
                "pass_rate": 0.9, "detection_rate": 1.0}  # fmt: skip
    return Cell(**(settings | values))


def make_flags(*raised: str) -> list[Flag]:
    """All four; those of ``raised`` are up."""
    names = ("copying", "wrong_identity", "leaking", "memorising")
    around = Interval(low=68.0, high=80.0)
    return [
        Flag.model_validate({"name": name, "raised": name in raised, "value": 74.0, "interval": around, "limit": 105.0,
                             "says": f"a sentence about {name.replace('_', ' ')}"})
        for name in names
    ]  # fmt: skip


def make_calibration() -> Calibration:
    """The threshold refuses one of ten photos and lets nobody of twenty pass."""
    strict = Threshold(far=0.01, value=0.55, low=None, high=None, frr=rate(0, 10), needed=300)
    judge = JudgeCalibration(threshold=0.6, genuine=[0.55 + 0.04 * i for i in range(10)],
                             impostor=[-0.1 + 0.02 * i for i in range(20)], frr=rate(1, 10), far=rate(0, 20),
                             strict=strict, warnings=[])  # fmt: skip
    return Calibration(dataset="amira", references=10, class_images=8, base_pictures=12, faces=judge, second=judge)


def rate(count: int, trials: int) -> Rate:
    return Rate(count=count, trials=trials, rate=count / trials, low=0.0, high=0.4)


def make_choice(**values: Any) -> Choice:
    """Cell 20 was chosen; cell 23 cannot be told from it."""
    best, naive = cell(200, strength=1.0, sampler="ddim"), cell(300, sampler="euler")
    confirmation = Confirmation(naive=naive, naive_again=naive, left_out=0, images=4, level=0.05)
    tied = [best.model_dump() | {"cell": 20, "p_worse": 1.0}, naive.model_dump() | {"cell": 23, "p_worse": 0.4}]
    choice = {"best": best, "worst": cell(100), "cells": 24, "images": 64, "confirmation": confirmation,
              "tied": tied, "confirmed": (20, 21, 22, 23)}  # fmt: skip
    return Choice.model_validate(choice | values)


def make_checkpoints() -> list[Row]:
    return [
        {"base": "models/base", "mode": "lora", "checkpoint": float(step), "guidance": 3.0, "sampler": "ddim",
         "strength": 1.0, "images": 4.0, "similarity_mean": 0.5 + step / 1000,
         "similarity_mean_low": 0.45 + step / 1000,
         "similarity_mean_high": 0.55 + step / 1000, "similarity_sd": 0.05, "pass_rate": 0.5, "detection_rate": 1.0,
         "second_similarity_mean": 0.7, "adherence_mean": 0.3, "nearest_photo_mean": 0.8, "holdout_loss": 0.05,
         "recommended": float(step == 200),
         "overfits": 0.0}
        for step in STEPS
    ]  # fmt: skip


def make_card(**values: Any) -> Scorecard:
    around, points = Interval(low=0.55, high=0.65), Interval(low=68.0, high=80.0)
    card: dict[str, Any] = {
        "run_id": "abcdef012345", "lora_version": "v3", "lora_sha256": "1" * 64, "protocol": "2" * 64,
        "dataset": "amira", "dataset_manifest_sha256": "3" * 64, "training_params": {"ss_network_dim": "32"},
        "notes": "a remark", "images_evaluated": PROMPTS * len(SEEDS), "face_detection_rate": 1.0,
        "face_similarity_mean": 0.6, "face_similarity_interval": around, "face_similarity_pass": 0.7,
        "second_similarity_mean": 0.7, "second_similarity_interval": around, "likeness": 74.0,
        "likeness_interval": points, "second_likeness": 70.0, "second_likeness_interval": points,
        "anchors": Anchors(base=0.05, real=0.8, poses={"frontal": Ends(base=0.1, real=0.9, photos=12, pictures=20)}),
        "second_anchors": Anchors(base=0.1, real=0.9), "texture_score": 0.3,
        "color_naturalness_score": 0.9, "skin_realism_mean": 0.5, "prompt_adherence_mean": 0.31,
        "base_prompt_adherence_mean": 0.32, "prior_preservation": 82.0, "prior_preservation_interval": points,
        "overall_score": 0.61, "overall_grade": "C", "best_config": cell(), "worst_config": cell(100, sampler="euler"),
        "thresholds": Thresholds().model_dump(mode="json"),
        "licences": {"faces": "non-commercial research only", "second": "CC0"},
        "flags": make_flags(), "warnings": ["Only 8 holdout photos show skin."], "texture_z": -1.5, "tone_z": 0.2,
        "poses": {"frontal": PoseFigures(images=14, likeness=76.0, likeness_interval=points, second_likeness=71.0,
                                         second_likeness_interval=points)},
        "agreement": Agreement(images=20, correlation=0.81, correlation_interval=Interval(low=0.6, high=0.9),
                               difference=4.0, difference_interval=Interval(low=-1.0, high=9.0), disagree=False,
                               conditioned=None, alarm=False),
        "memorisation": Memorisation(share=0.05, share_interval=Interval(low=0.0, high=0.15), base_share=0.0,
                                     limit=3.0, photos=36),
        "diversity": Diversity(within=0.12, within_interval=Interval(low=0.1, high=0.14), base_within=0.2, across=0.3,
                               real=0.35, pose_within=None, pose_within_interval=None, base_pose_within=None,
                               pose_across=0.05, pose_real=0.06),
    }  # fmt: skip
    return Scorecard(**(card | values))


def make_comparison(card: Scorecard, **values: Any) -> Comparison:
    metrics = [
        MetricComparison(
            metric=metric, baseline=0.5, candidate=0.55, delta=0.05, interval=Interval(low=0.01, high=0.09),
            verdict=VERDICTS[i % 4], p_value=0.01, p_adjusted=0.04, detectable=0.04, margin=0.03 if i else 0.0,
            more_images=26 if VERDICTS[i % 4] == "INCONCLUSIVE" else None, guarded=i in (1, 3), method="studentized",
        )
        for i, metric in enumerate(METRICS)
    ]  # fmt: skip
    version = {"run_id": card.run_id, "lora_sha256": card.lora_sha256, "overall_score": 0.6, "overall_grade": "C",
               "best_config": card.best_config}  # fmt: skip
    advice = Recommendation(action="adopt", reason="Improved on prior_preservation, regressed on nothing.")
    comparison: dict[str, Any] = {
        "comparable": True, "baseline": Version(name="v2", **version),
        "candidate": Version(name=card.lora_version, **version), "protocol": card.protocol, "confidence": 0.95,
        "prompts": PROMPTS, "images": PROMPTS * len(SEEDS), "metrics": metrics,
        "config_differences": [ConfigDifference(key="train.rank", baseline=16, candidate=32)],
        "recommendation": advice,
    }  # fmt: skip
    return Comparison(**(comparison | values))


def make_scores(prompts: int = PROMPTS, text: str = "amira, a woman") -> list[Row]:
    """Picture number n of the version has the similarity 0.40 + 0.02 n, so that half of twenty pass 0.60."""
    levels = {"lora": 0.40, "base": 0.0, "class": 0.1}
    return [
        {
            **dict.fromkeys(METRICS, 0.5), "set": name, "prompt_index": float(prompt), "prompt": f"{text}, {prompt}",
            "seed": float(seed), "file": f"{name}/p{prompt:02d}_s{seed}.png", "face_found": 1.0, "yaw": 12.5,
            "similarity": level + 0.02 * (prompt * len(SEEDS) + i), "second_similarity": 0.7, "adherence": 0.3,
            "pose": "frontal", "closeness": 0.1 * prompt if i else None, "nearest_photo": f"{prompt:03d}.png",
        }
        for name, level in levels.items()
        for prompt in range(prompts)
        for i, seed in enumerate(SEEDS)
    ]  # fmt: skip


def make_sweep(**texts: str) -> list[Row]:
    """24 cells; the similarity grows from 0.40 by 0.02 with every cell, so that 14 reach 0.60.

    The last four were drawn again on fresh seeds, where they are 0.05 less alike; the first of them was chosen.
    """
    return [
        {"cell": float(number), "base": "models/base", "mode": "lora", "checkpoint": float(step),
         "lora": f"models/lora/x-{step}.safetensors", "guidance": guidance,
         "sampler": texts.get(sampler, sampler), "strength": strength, "images": 2.0,
         "similarity_mean": 0.40 + 0.02 * number, "similarity_mean_low": 0.35 + 0.02 * number,
         "similarity_mean_high": 0.45 + 0.02 * number, "similarity_sd": 0.05, "pass_rate": 0.5, "detection_rate": 1.0,
         "second_similarity_mean": 0.7, "adherence_mean": 0.3 + 0.001 * number,
         "confirm_images": 4.0 if number >= LEADERS else 0.0,
         "confirm_similarity_mean": 0.35 + 0.02 * number if number >= LEADERS else None,
         "confirm_similarity_mean_low": 0.30 + 0.02 * number if number >= LEADERS else None,
         "confirm_similarity_mean_high": 0.40 + 0.02 * number if number >= LEADERS else None,
         "p_worse": 0.5 if number >= LEADERS else None, "leader": float(number >= LEADERS),
         "tied": float(number in (20, 23)), "cheapest": float(number == 20), "chosen": float(number == 20),
         "rank": 24.0 - number}
        for number, (step, sampler, guidance, strength) in enumerate(product(STEPS, SAMPLERS, GUIDANCE, STRENGTHS))
    ]  # fmt: skip


def make_manifest(*warnings: str) -> Manifest:
    summary = Summary(
        total_images=36, total_captions=36, unique_captions=34, caption_distribution={}, mean_image_size_bytes=1.0,
        resolution_set=["64x64"], train_images=26, holdout_images=10, duplicates=[], warnings=list(warnings),
        advice=["No left profile: add 2."],
    )  # fmt: skip
    return Manifest(
        name="amira", trigger="amira", class_word="woman", photos="p", captions="c", images=[], summary=summary
    )


def picture(number: int = 0) -> str:
    return make_thumbnail(np.full((32, 32, 3), 8 * (number % 30), np.uint8), 64)


def make_content(**values: Any) -> Content:
    """A whole page: nothing is missing."""
    card = make_card()
    scores, sweep = make_scores(), make_sweep()
    ours = [row for row in scores if row["set"] == "lora"]
    content = Content(
        card=card, comparison=make_comparison(card), scores=scores, sweep=sweep,
        loss=[{"step": 10.0 * i, "loss": 0.1 / (i + 1), "holdout_loss": None if i % 5 else 0.05 + 0.01 * abs(i - 10)}
              for i in range(21)],
        checkpoints=make_checkpoints(), choice=make_choice(), calibration=make_calibration(),
        manifest=make_manifest("2 photos are the same file"),
        pairs=[Pair({**row, "similarity": 0.5}, row, picture(1), picture(2)) for row in ours[::2]],
        pictures={row["file"]: picture(i) for i, row in enumerate(scores)},
        sweep_pictures={int(row["cell"]): [(f"p{i:02d}_s101", picture(i)) for i in range(2)] for row in sweep},
        notes=["Pictures are small copies."],
    )  # fmt: skip
    return replace(content, **values)
