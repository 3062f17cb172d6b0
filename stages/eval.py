"""Judge fresh pictures, drawn with the settings that the sweep chose, beside the base model's.

reads: data/manifest.json, data/regularization, models/lora, metrics/sweep_choice.json
writes: data/eval, metrics/report.md, metrics/calibration.json, metrics/eval_montage.png, metrics/scorecard.json,
    metrics/per_image.csv
"""

from typing import Any

import numpy as np

from stages.contracts.calibration import write_calibration
from stages.contracts.manifest import Manifest, read_manifest
from stages.contracts.paths import EVAL_IMAGES, EVAL_MONTAGE, PER_IMAGE, REGULARIZATION, REPORT
from stages.contracts.regularization import ClassImage, read_regularization
from stages.contracts.scorecard import PER_IMAGE_COLUMNS, Choice, Scorecard, Settings, read_choice, write_scorecard
from stages.contracts.settings import ComfyUI, Dataset, Eval, Judges, Section, Thresholds, read_machine, read_params
from stages.flows.calibration import calibrate
from stages.flows.findings import warn_of_references
from stages.flows.judged import Judged, Photos, Rulers, measure_rulers
from stages.flows.permission import permit
from stages.flows.picture_rows import measure_yardstick, table_rows
from stages.flows.scorecards import describe_origin, make_scorecard, warn_of_dataset
from stages.flows.scoring import Score, Shot, Studio, open_studio, plan, read_photos, score, shrink, without_trigger
from stages.reports.montage import montage
from stages.reports.scorecard import markdown
from stages.reports.tables import write_table
from stages.runtime.entry import run_stage
from stages.runtime.files import write_text
from stages.runtime.pictures import read_picture, write_png
from stages.runtime.progress import track

SHOWN = 10  # prompts in the montage


class Params(Section):
    """The sections of params.yaml that this stage depends on."""

    dataset: Dataset
    eval: Eval
    comfyui: ComfyUI
    judges: Judges
    thresholds: Thresholds


def plan_sets(choice: Choice, params: Params) -> dict[str, list[Shot]]:
    """What to draw: the base model alone first, then the LoRA with the chosen settings, with the trigger and without.

    Prompts, seeds and starting noise are the same, but for the trigger.  Without it nothing else conditions the face:
    a photo would draw the person whatever the LoRA knows.
    """
    chosen = Settings(**choice.best.model_dump(include=set(Settings.model_fields)))
    alone = {"lora": "", "guidance": params.eval.base_guidance, "sampler": params.eval.base_sampler}
    bare = {"mode": "lora", "reference": ""}
    cells = {"base": chosen.model_copy(update=bare | alone), "lora": chosen, "class": chosen.model_copy(update=bare)}
    nameless = tuple(without_trigger(prompt, params.dataset) for prompt in params.eval.prompts)
    protocols = dict.fromkeys(cells, params.eval) | {"class": params.eval.model_copy(update={"prompts": nameless})}
    return {name: plan(cell, protocols[name], params.dataset, EVAL_IMAGES / name) for name, cell in cells.items()}


def score_photos(studio: Studio, params: Params, manifest: Manifest) -> Photos:
    """The training photos, scored like pictures (what 100 on the ruler is made of), beside the holdout photos."""
    train = manifest.side("train")
    images = read_photos(params.dataset.photos, train, params.eval.resolution)
    captions = [photo.caption_text for photo in train]
    scores = list(score(images, captions, studio.references, studio.instruments))
    return Photos(train, scores, manifest.side("holdout"), studio.references)


def score_others(studio: Studio, params: Params, images: list[ClassImage]) -> list[Score]:
    """The class images, scored like pictures: what other people's faces come to."""
    pixels = shrink((read_picture(REGULARIZATION / image.file) for image in images), params.eval.resolution)
    return list(score(pixels, [image.caption for image in images], studio.references, studio.instruments))


def show(sets: dict[str, list[Shot]], params: Params, manifest: Manifest) -> np.ndarray:
    """Real holdout photos; the same prompts and seeds by the base model and by the LoRA, with and without trigger."""
    first = sets["lora"][:: len(params.eval.seeds)][:SHOWN]
    numbers = [sets["lora"].index(shot) for shot in first]
    real = read_photos(params.dataset.photos, manifest.side("holdout")[:SHOWN], params.eval.resolution)
    rows = [list(real), *([read_picture(sets[name][i].path) for i in numbers] for name in ("base", "lora", "class"))]
    labels = ("base model", "LoRA, same prompts, seeds and noise", f"LoRA, without the word {params.dataset.trigger}")
    return montage(rows, ["real photos, never trained on", *labels])


def judge_sets(
    studio: Studio, sets: dict[str, list[Shot]], params: Params, manifest: Manifest, others: list[ClassImage]
) -> tuple[Judged, Rulers]:
    """Draw and score everything; the base model's pictures come first, because the rulers need them."""
    photos, pose = score_photos(studio, params, manifest), params.judges.faces.pose
    scores = {"base": list(track(studio.score(sets["base"]), "eval, base model", len(sets["base"])))}
    rulers = measure_rulers(sets["base"], scores["base"], photos, pose, params.eval.pose_photos)
    for name, label in (("lora", "eval, LoRA"), ("class", "eval, class word alone")):
        scores[name] = list(track(studio.score(sets[name]), label, len(sets[name])))
    return Judged(sets, scores, photos, score_others(studio, params, others), pose), rulers


def write_findings(
    judged: Judged, rulers: Rulers, origin: dict[str, Any], manifest: Manifest, params: Params
) -> Scorecard:
    """Write table, calibration and report; the scorecard itself is the caller's to write, last of all."""
    yardstick = measure_yardstick(judged.photos, params.thresholds.flags.closer_than)
    rows = table_rows(judged, rulers, yardstick, params.thresholds)
    calibration = calibrate(judged, params.thresholds, params.dataset.name)
    warnings = [
        *warn_of_dataset(origin),
        *warn_of_references(judged.photos.references),
        *calibration.faces.warnings,
        *calibration.second.warnings,
    ]
    card = make_scorecard(judged, rows, rulers, yardstick, origin, params.eval, params.thresholds, warnings)
    write_table(PER_IMAGE, rows, PER_IMAGE_COLUMNS)
    write_calibration(calibration)
    write_text(REPORT, markdown(card, rows, calibration, manifest.summary.advice))
    return card


def main() -> None:
    params, machine = read_params(Params), read_machine()
    permit(params.dataset, params.eval.prompts, params.eval.negative_prompt)
    manifest, choice, others = read_manifest(), read_choice(), read_regularization()
    origin, sets = describe_origin(choice, manifest, **dict(params)), plan_sets(choice, params)
    shots = [shot for some in sets.values() for shot in some]
    with open_studio(params, params.eval, machine, shots, EVAL_IMAGES) as studio:
        judged, rulers = judge_sets(studio, sets, params, manifest, others)
        card = write_findings(judged, rulers, origin, manifest, params)
        write_png(EVAL_MONTAGE, show(sets, params, manifest))
        write_scorecard(card)


if __name__ == "__main__":
    run_stage(main)
