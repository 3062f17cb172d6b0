"""Evaluation: known truths come out, everything is written, and the identity of a run is what went into it."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from drawing import PERSONA, Drawing
from workspaces import DRAW, PARAMS, make_workspace, write_params

from miniature.render import render, sample_identity, sample_scene
from stages import eval as evaluation
from stages.contracts.calibration import read_calibration
from stages.contracts.manifest import read_manifest, write_manifest
from stages.contracts.paths import EVAL_IMAGES
from stages.contracts.protocol import protocol_hash
from stages.contracts.regularization import write_index
from stages.contracts.scorecard import (
    PER_IMAGE_COLUMNS,
    Cell,
    Choice,
    Scorecard,
    read_choice,
    read_scorecard,
    write_choice,
)
from stages.contracts.settings import parse
from stages.flows.scorecards import describe_origin
from stages.reports.montage import montage
from stages.runtime.errors import UserError
from stages.runtime.pictures import read_picture, resize, write_png
from stages.runtime.provenance import hash_file

STRANGER = PERSONA + 1
NAMES = ("scorecard.json", "per_image.csv", "calibration.json", "report.md", "eval_montage.png")


def choose(checkpoint: int = 200, strength: float = 1.0) -> None:
    lora = "models/lora/persona.safetensors" if checkpoint == 200 else "models/lora/persona-step00000100.safetensors"
    cell = Cell(
        base="base", mode="lora", checkpoint=checkpoint, lora=lora, guidance=2.0, sampler="euler", strength=strength,
        images=4, similarity_mean=0.5, pass_rate=0.5, detection_rate=1.0,
    )  # fmt: skip
    write_choice(Choice(best=cell, worst=cell, cells=1, images=4))


def evaluate() -> tuple[Scorecard, pd.DataFrame]:
    evaluation.main()
    return read_scorecard(), pd.read_csv("metrics/per_image.csv")


@pytest.fixture(scope="module")
def finished(judges: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace in which the persona's best LoRA was evaluated once; nothing changes it."""
    folder = tmp_path_factory.mktemp("finished")
    make_workspace(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        choose()
        evaluation.main()
    return folder


@pytest.fixture
def result(finished: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Scorecard, pd.DataFrame]:
    """Scorecard and table of the finished evaluation, in its workspace."""
    monkeypatch.chdir(finished)
    return read_scorecard(), pd.read_csv("metrics/per_image.csv")


Result = tuple[Scorecard, pd.DataFrame]


def test_the_persona_herself_stands_near_100_and_the_base_model_at_0(result: Result) -> None:
    card, table = result
    ours, base = table[table["set"] == "lora"], table[table["set"] == "base"]
    assert 75 < card.likeness < 125
    assert 60 < card.second_likeness < 140
    assert base["likeness"].mean() == pytest.approx(0, abs=1e-3)
    assert base["second_likeness"].mean() == pytest.approx(0, abs=1e-3)
    assert card.anchors.real > card.anchors.base + 0.3
    assert card.likeness == pytest.approx(ours["likeness"].mean(), abs=1e-4)
    assert card.likeness_interval.low <= card.likeness <= card.likeness_interval.high
    assert card.face_detection_rate == 1.0
    assert card.skin_realism_mean > 0.3


def test_100_is_what_the_training_photos_score_and_no_holdout_photo_counts_itself(
    result: Result, judges: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With somebody else on half of the training photos, 100 on the ruler is about half as far from 0."""
    make_workspace(tmp_path)
    monkeypatch.chdir(tmp_path)
    choose()
    manifest, images = read_manifest(), []
    for photo in manifest.images:
        path = Path("data/photos") / photo.filename
        if photo in manifest.side("train")[::2]:
            write_png(path, render(sample_identity(STRANGER), sample_scene(5), 96).image)
        images.append(photo.model_copy(update={"sha256": hash_file(path)}))
    write_manifest(manifest.model_copy(update={"images": images}))
    card, _ = evaluate()
    assert card.anchors.base == result[0].anchors.base
    assert card.anchors.real < result[0].anchors.real - 0.3


def test_a_lora_that_draws_the_person_whatever_is_asked_keeps_nothing_of_the_class_word(result: Result) -> None:
    """The generator of this test knows no trigger: at full strength every prompt shows the persona."""
    card, table = result
    nameless = table[table["set"] == "class"]
    assert not nameless["prompt"].str.contains("amira").any()
    assert card.prior_preservation == pytest.approx(100 - nameless["likeness"].mean(), abs=1e-4)
    assert card.prior_preservation < 25


def test_the_table_lists_every_picture_of_all_sets(result: Result) -> None:
    _, table = result
    assert tuple(table.columns) == PER_IMAGE_COLUMNS
    assert list(table.groupby("set").size()) == [6, 6, 6]
    assert table.groupby("set")["prompt_index"].max().tolist() == [2, 2, 2]
    assert all((EVAL_IMAGES / name).is_file() for name in table["file"])
    assert len(list(EVAL_IMAGES.rglob("*.png"))) == 18
    text = Path("metrics/per_image.csv").read_text()
    assert text.count("\n") == 19
    assert not re.search(r"\.\d{7}", text)


def test_the_scorecard_says_what_was_judged_without_an_absolute_path(result: Result, finished: Path) -> None:
    card, _ = result
    assert card.training_params == {"ss_network_dim": "4", "ss_steps": "200"}
    assert card.licences == {"base": "unknown", "faces": "test", "second": "test", "text_image": "test"}
    assert re.fullmatch(r"[0-9a-f]{12}", card.run_id)
    assert re.fullmatch(r"[0-9a-f]{64}", card.protocol)
    assert str(finished) not in Path("metrics/scorecard.json").read_text() + Path("metrics/report.md").read_text()


def test_the_montage_shows_one_picture_of_every_prompt_and_the_same_seed_in_all_rows(result: Result) -> None:
    holdout = read_manifest().side("holdout")[: evaluation.SHOWN]
    rows = [[read_picture(Path("data/photos") / photo.filename) for photo in holdout]]
    for name in ("base", "lora", "class"):
        rows.append([read_picture(EVAL_IMAGES / name / f"p{number:02d}_s11.png") for number in range(3)])
    rows[0] = [resize(photo, 64, 64) for photo in rows[0]]
    sheet, unlabelled = read_picture(Path("metrics/eval_montage.png")), montage(rows, [""] * 4)
    assert sheet.shape == unlabelled.shape
    assert (unlabelled[(sheet != unlabelled).any(axis=2)] == 255).all()  # they differ by the labels on white paper


def test_the_report_begins_with_the_grade_and_names_what_it_rests_on(result: Result) -> None:
    card, _ = result
    report = Path("metrics/report.md").read_text()
    assert report.splitlines()[0].endswith(f"grade {card.overall_grade}, overall {card.overall_score:.2f}")
    assert card.protocol in report
    assert "licence of the judge faces: test" in report


def test_the_flag_of_a_generator_that_knows_no_trigger_is_up_and_stands_in_the_report(result: Result) -> None:
    card, _ = result
    assert [flag.name for flag in card.raised_flags()] == ["leaking"]
    assert "**Leaking**" in Path("metrics/report.md").read_text()


def test_class_images_and_the_base_model_s_pictures_calibrate_both_judges(result: Result) -> None:
    found = read_calibration()
    assert (found.references, found.class_images, found.base_pictures) == (12, 6, 6)
    for judge in (found.faces, found.second):
        assert len(judge.genuine) == judge.frr.trials == 8
        assert len(judge.impostor) == judge.far.trials == 12
        assert np.mean(judge.genuine) > np.mean(judge.impostor) + 0.3
        assert judge.strict.value is None


def test_every_row_says_which_training_photo_is_closest(result: Result) -> None:
    card, table = result
    train = {photo.filename for photo in read_manifest().side("train")}
    assert set(table["nearest_photo"]) <= train
    assert (table["memorised"] == (table["closeness"] > card.memorisation.limit)).all()
    assert table["nearest_bits"].between(0, 64).all()
    assert card.memorisation.share == table[table["set"] == "lora"]["memorised"].mean()
    assert card.memorisation.photos == 20


def test_diversity_is_measured_within_prompts_and_beside_the_base_model_and_real_photos(result: Result) -> None:
    card, table = result
    ours = table[table["set"] == "lora"]
    for column, found in (("diversity", card.diversity.within), ("pose_diversity", card.diversity.pose_within)):
        assert found == pytest.approx(ours[column].mean(), abs=1e-5)
        assert ours.groupby("prompt_index")[column].nunique().max() == 1  # two seeds: one distance
    assert min(card.diversity.across, card.diversity.real, card.diversity.pose_real) > 0


def test_poses_come_from_the_landmarks_and_add_up_to_the_faces(result: Result) -> None:
    card, table = result
    ours = table[table["set"] == "lora"]
    assert sum(figures.images for figures in card.poses.values()) == ours["face_found"].sum()
    frontal = ours["pose"] == "frontal"
    assert (ours["yaw"].abs()[frontal] < 20).all()
    assert set(ours["pose"]) <= {"frontal", "half profile", "profile"}


def origin(**changes: dict[str, Any]) -> dict[str, Any]:
    """Protocol and run id of the entered workspace, with sections of params.yaml changed key by key."""
    params = parse(
        evaluation.Params,
        {n: PARAMS[n] | changes.get(n, {}) for n in evaluation.Params.model_fields},
    )
    return describe_origin(read_choice(), read_manifest(), **dict(params))


@pytest.mark.parametrize(
    "changes",
    [
        {"eval": {"notes": "a note", "micro_batch": 2}},
        {"judges": {"second": {"path": "weights/judge", "licence": "another"}}},
        {"thresholds": {"face_pass": 0.7}},
    ],
)
def test_the_protocol_does_not_depend_on(result: Result, changes: dict[str, Any]) -> None:
    assert origin(**changes)["protocol"] == result[0].protocol


@pytest.mark.parametrize(
    "changes",
    [
        {"eval": {"seeds": [11, 13]}},
        {"eval": {"prompts": ["another {class_word}"]}},
        {"eval": {"steps": 3}},
        {"eval": {"resolution": 72}},
        {"eval": {"vae_tile": 64}},
        {"eval": {"backend": "other:Class"}},
        {"eval": {"negative_prompt": "blur"}},
        {"eval": {"base_sampler": "ddim"}},
        {"eval": {"seed": 1}},
        {"dataset": {"class_word": "man"}},
        {"judges": {"text_image": {"path": "weights/judge", "licence": "test"}}},
        {"judges": {"faces": PARAMS["judges"]["faces"] | {"path": "weights/judge"}}},
        {"eval": {"base_guidance": 4.0}},
        {"eval": {"bootstrap": 300}},
        {"dataset": {"trigger": "other"}},
        {"judges": {"second": {"path": "weights/clip", "licence": "test"}}},
        {"judges": {"faces": PARAMS["judges"]["faces"] | {"detection_size": 64}}},
        {"judges": {"faces": PARAMS["judges"]["faces"] | {"pose": {"half": 10.0}}}},
        {"eval": {"pose_photos": 5}},
    ],
)
def test_the_protocol_depends_on(result: Result, changes: dict[str, Any]) -> None:
    assert origin(**changes)["protocol"] != result[0].protocol


def test_the_protocol_depends_on_the_photos_and_on_their_sides(result: Result) -> None:
    manifest = read_manifest()
    turned = manifest.model_copy(
        update={"images": [*manifest.images[1:], manifest.images[0].model_copy(update={"split": "train"})]}
    )
    params = parse(evaluation.Params, {n: PARAMS[n] for n in evaluation.Params.model_fields})
    assert protocol_hash(params.eval, params.comfyui, params.dataset, params.judges, turned) != result[0].protocol
    for side in ("train", "holdout"):
        gone = manifest.side(side)[0]
        fewer = manifest.model_copy(update={"images": [photo for photo in manifest.images if photo != gone]})
        assert protocol_hash(params.eval, params.comfyui, params.dataset, params.judges, fewer) != result[0].protocol


def test_a_run_s_name_follows_from_what_went_in(result: Result) -> None:
    assert origin()["run_id"] == result[0].run_id
    assert origin(thresholds={"face_pass": 0.7})["run_id"] != result[0].run_id
    assert origin(eval={"seeds": [1]})["run_id"] != result[0].run_id


def test_half_a_lora_stands_between_and_comes_out_alike_again(
    result: Result, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(workspace)
    choose(100, 1.0)
    half, _ = evaluate()
    whole = result[0]
    assert 0 < half.likeness < whole.likeness - 10
    assert half.run_id != whole.run_id
    assert half.protocol == whole.protocol
    first = [(Path("metrics") / name).read_bytes() for name in NAMES]
    write_params(workspace, machine={"workers": 1})
    evaluation.main()
    assert [(Path("metrics") / name).read_bytes() for name in NAMES] == first


def test_a_picture_without_a_face_counts_as_a_failure(workspace: Path) -> None:
    write_params(workspace, eval={"prompts": [DRAW["prompts"][0], "nobody"]})
    choose()
    card, table = evaluate()
    lost = table[(table["set"] == "lora") & (table["face_found"] == 0)]
    assert len(lost) >= 1
    assert card.face_detection_rate < 1.0
    assert lost[["yaw", "texture_z", "tone_z", "pose_diversity"]].isna().all(axis=None)
    assert set(lost["pose"]) == {"no face"}
    zeros = lost[["similarity", "second_similarity", "passed", "texture_score", "realism_score"]]
    assert (zeros == 0).all(axis=None)
    assert card.face_similarity_mean == pytest.approx(table[table["set"] == "lora"]["similarity"].mean(), abs=1e-5)


def test_a_person_that_the_base_model_draws_already_has_no_ruler(workspace: Path) -> None:
    persona = sample_identity(PERSONA)
    manifest, replaced = read_manifest(), {}
    for number, photo in enumerate(manifest.side("train")):
        stranger, path = (
            sample_identity(1_800_000 + 37 * number, woman=not persona.woman),
            workspace / "data" / "photos",
        )
        write_png(path / photo.filename, render(stranger, sample_scene(number), 96).image)
        replaced[photo.filename] = photo.model_copy(update={"sha256": hash_file(path / photo.filename)})
    images = [replaced.get(photo.filename, photo) for photo in manifest.images]
    write_manifest(manifest.model_copy(update={"images": images}))
    write_params(workspace, eval={"prompts": ["celebrity, smiling", "celebrity"]})
    choose()
    with pytest.raises(UserError, match="no ruler"):
        evaluation.main()
    assert Drawing.drawn == 4  # the base model's pictures only


def test_a_photo_that_changed_since_the_manifest_is_not_judged_with(workspace: Path) -> None:
    photo = read_manifest().side("holdout")[3]
    write_png(workspace / "data" / "photos" / photo.filename, np.zeros((96, 96, 3), np.uint8))
    choose()
    with pytest.raises(UserError, match=f"{photo.filename}: changed since the manifest was written"):
        evaluation.main()
    assert Drawing.drawn == 0


def test_with_one_seed_per_prompt_there_is_no_diversity_within_prompts(workspace: Path) -> None:
    write_params(workspace, eval={"seeds": [11]})
    choose()
    card, table = evaluate()
    assert table["diversity"].isna().all()
    assert card.diversity.within is None
    assert card.diversity.across > 0
    assert "one picture per prompt" in Path("metrics/report.md").read_text()


def test_class_images_that_are_listed_but_not_there_are_said_before_anything_is_drawn(workspace: Path) -> None:
    choose()
    (workspace / "data/regularization/00003.png").unlink()
    with pytest.raises(UserError, match="run `dvc repro regularize`"):
        evaluation.main()
    assert Drawing.drawn == 0


def test_without_class_images_the_base_model_s_pictures_are_the_other_people(workspace: Path) -> None:
    for path in (workspace / "data/regularization").iterdir():
        path.unlink()
    write_index(workspace / "data/regularization", [])
    choose()
    evaluate()
    assert (read_calibration().class_images, read_calibration().base_pictures) == (0, 6)


def test_a_missing_choice_or_lora_is_said_before_anything_is_drawn(workspace: Path) -> None:
    with pytest.raises(UserError, match="sweep_choice"):
        evaluation.main()
    choose()
    Path("models/lora/persona.safetensors").unlink()
    with pytest.raises(UserError, match="persona.safetensors"):
        evaluation.main()
    assert Drawing.drawn == 0


def test_the_base_model_draws_with_its_own_settings_and_the_lora_with_those_that_were_chosen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    sections = PARAMS | {"eval": PARAMS["eval"] | {"base_guidance": 4.5, "base_sampler": "ddim", "seeds": [12, 5]}}
    params = parse(evaluation.Params, {n: sections[n] for n in evaluation.Params.model_fields})
    choose(100, 0.7)
    sets = evaluation.plan_sets(read_choice(), params)
    assert list(sets) == ["base", "lora", "class"]  # the rulers need the base model's pictures first
    alone, ours, nameless = (sets[name][0].request for name in sets)
    assert (alone.lora, alone.guidance, alone.sampler, alone.mode) == (None, 4.5, "ddim", "lora")
    lora = Path("models/lora/persona-step00000100.safetensors")
    for request in (ours, nameless):
        assert (request.lora, request.strength, request.guidance, request.sampler) == (lora, 0.7, 2.0, "euler")
    places = [[(shot.prompt_index, shot.request.seed) for shot in sets[name]] for name in sets]
    assert places == [[(prompt, seed) for prompt in range(3) for seed in (12, 5)]] * 3
    assert [shot.request.prompt for shot in sets["base"]] == [shot.request.prompt for shot in sets["lora"]]
    assert [shot.request.prompt for shot in sets["class"]][::2] == [
        "a woman, smiling", "a woman, frowning, studio background", "a woman"
    ]  # fmt: skip
    assert sets["class"][1].path == EVAL_IMAGES / "class/p00_s5.png"
