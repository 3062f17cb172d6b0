"""Judge fresh pictures, drawn with the settings that the sweep chose, beside the base model's.

reads: data/manifest.json, models/lora, metrics/sweep_choice.json
writes: data/eval, metrics/report.md, metrics/eval_montage.png, metrics/scorecard.json, metrics/per_image.csv
"""

from typing import Any

import numpy as np

from stages.contracts.manifest import Manifest, read_manifest
from stages.contracts.paths import EVAL_IMAGES, EVAL_MONTAGE, PER_IMAGE, REPORT
from stages.contracts.scorecard import PER_IMAGE_COLUMNS, Anchors, Choice, Settings, read_choice, write_scorecard
from stages.contracts.settings import Dataset, Eval, Judges, Section, Thresholds, read_machine, read_params
from stages.flows.scorecards import (
    add_prior_preservation,
    describe_origin,
    make_scorecard,
    measure_anchors,
    table_rows,
)
from stages.flows.scoring import Score, Shot, Studio, open_studio, plan, read_photos, score, without_trigger
from stages.measures.skin import FEW_REFERENCES
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
    judges: Judges
    thresholds: Thresholds


def plan_sets(choice: Choice, params: Params) -> dict[str, list[Shot]]:
    """What to draw: the base model alone first, then the LoRA with the chosen settings, with the trigger and without.

    Prompts, seeds and starting noise are the same, but for the trigger.
    """
    chosen = Settings(**choice.best.model_dump(include=set(Settings.model_fields)))
    alone = {"lora": "", "mode": "lora", "guidance": params.eval.base_guidance, "sampler": params.eval.base_sampler}
    cells = {"base": chosen.model_copy(update=alone), "lora": chosen, "class": chosen}
    nameless = tuple(without_trigger(prompt, params.dataset) for prompt in params.eval.prompts)
    protocols = dict.fromkeys(cells, params.eval) | {"class": params.eval.model_copy(update={"prompts": nameless})}
    return {name: plan(cell, protocols[name], params.dataset, EVAL_IMAGES / name) for name, cell in cells.items()}


def real_scores(studio: Studio, params: Params, manifest: Manifest) -> list[Score]:
    """The training photos, scored like pictures: what 100 on the ruler is made of."""
    photos = manifest.side("train")
    images = read_photos(params.dataset.photos, photos, params.eval.resolution)
    return list(score(images, [photo.caption_text for photo in photos], studio.references, studio.instruments))


def show(sets: dict[str, list[Shot]], params: Params, manifest: Manifest) -> np.ndarray:
    """Real holdout photos; the same prompts and seeds by the base model and by the LoRA, with and without trigger."""
    first = sets["lora"][:: len(params.eval.seeds)][:SHOWN]
    numbers = [sets["lora"].index(shot) for shot in first]
    real = read_photos(params.dataset.photos, manifest.side("holdout")[:SHOWN], params.eval.resolution)
    rows = [list(real), *([read_picture(sets[name][i].path) for i in numbers] for name in ("base", "lora", "class"))]
    labels = ("base model", "LoRA, same prompts, seeds and noise", f"LoRA, without the word {params.dataset.trigger}")
    return montage(rows, ["real photos, never trained on", *labels])


def judge_sets(
    studio: Studio, sets: dict[str, list[Shot]], manifest: Manifest, params: Params
) -> tuple[list[dict[str, Any]], tuple[Anchors, Anchors]]:
    """Draw and score all sets; the base model's come first, because the rulers need them.  Rows and anchors."""
    real = real_scores(studio, params, manifest)
    base = list(track(studio.score(sets["base"]), "eval, base model", len(sets["base"])))
    anchors = measure_anchors(base, real)
    ours = list(track(studio.score(sets["lora"]), "eval, LoRA", len(sets["lora"])))
    nameless = list(track(studio.score(sets["class"]), "eval, class word alone", len(sets["class"])))
    scored = {"lora": ours, "base": base, "class": nameless}
    rows = [
        row
        for name, scores in scored.items()
        for row in table_rows(name, sets[name], scores, anchors, params.thresholds.face_pass)
    ]
    add_prior_preservation(rows)
    return rows, anchors


def warnings_of(studio: Studio) -> list[str]:
    """What the reader should know about the measuring."""
    references = studio.references
    few = f"Only {references.skin.count} holdout photos show skin; below {FEW_REFERENCES} the skin scores are unsure."
    lost = f"In {references.faceless} holdout photos no face was found; they are no references."
    return [*([few] if references.skin.few else []), *([lost] if references.faceless else [])]


def main() -> None:
    params, machine = read_params(Params), read_machine()
    manifest, choice = read_manifest(), read_choice()
    origin, sets = describe_origin(choice, manifest, **dict(params)), plan_sets(choice, params)
    shots = [shot for some in sets.values() for shot in some]
    with open_studio(params.eval, params.dataset, params.judges, machine, shots, EVAL_IMAGES) as studio:
        rows, anchors = judge_sets(studio, sets, manifest, params)
        card = make_scorecard(rows, anchors, origin, params.eval, params.thresholds)
        write_table(PER_IMAGE, rows, PER_IMAGE_COLUMNS)
        write_text(REPORT, markdown(card, rows, warnings_of(studio)))
        write_png(EVAL_MONTAGE, show(sets, params, manifest))
        write_scorecard(card)


if __name__ == "__main__":
    run_stage(main)
