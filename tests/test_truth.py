"""Does the measuring tell the truth?  Rendered pictures whose truth is known, judged by the miniature's own judges.

The same with trained LoRAs instead of drawn pictures: `python -m miniature.truth`.
"""

from collections.abc import Sequence

import numpy as np
import pytest
from scipy.stats import spearmanr
from workspaces import PARAMS

from miniature.persona import persona
from miniature.places import DEVELOPMENT, PERSONA, WEIGHTS
from miniature.render import Identity, mix_identities, render, sample_identity, sample_scene
from stages.contracts.manifest import Photo
from stages.contracts.measure_settings import Pose
from stages.contracts.paths import EVAL_IMAGES
from stages.contracts.scorecard import Cell, Scorecard, Settings
from stages.contracts.settings import Dataset, Eval, Judges, Machine, Thresholds
from stages.flows.judged import Judged, Photos, measure_rulers
from stages.flows.picture_rows import measure_yardstick, table_rows
from stages.flows.scorecards import make_scorecard
from stages.flows.scoring import Score, make_references, plan, score
from stages.flows.sights import Instruments, open_instruments

TRAIN, HOLDOUT, SIDE = 26, 10, 64
PROMPTS = [f"a {{class_word}}, number {n}" for n in range(24)]
SETTINGS = Eval(**(PARAMS["eval"] | {"prompts": PROMPTS, "bootstrap": 400}))
DATASET = Dataset(**PARAMS["dataset"])
POSE = Pose(nose_depth=0.31, half=12.0, profile=30.0)  # as conf/profile/mini.yaml
CELL = Cell(
    base="base", mode="lora", checkpoint=1, lora="x", guidance=2.0, sampler="ddim", strength=1.0, images=1,
    similarity_mean=0.5, pass_rate=0.5, detection_rate=1.0,
)  # fmt: skip


def draw(people: Sequence[Identity], first: int) -> list[np.ndarray]:
    """One picture of each, each in a scene of its own."""
    return [render(who, sample_scene(first + number), SIDE).image for number, who in enumerate(people)]


def strangers(count: int, first: int = 0) -> list[Identity]:
    return [sample_identity(1_700_000 + first + number, woman=True) for number in range(count)]


@pytest.fixture(scope="module")
def instruments(judges: None) -> Instruments:
    paths = {"faces": "faces/models/miniature", "second": "judge", "text_image": "clip"}
    values = {name: PARAMS["judges"][name] | {"path": WEIGHTS / path} for name, path in paths.items()}
    return open_instruments(Judges(**values), Machine(threads=1))


@pytest.fixture(scope="module")
def pictures() -> list[np.ndarray]:
    """The persona's photos: the first 26 to train on, ten references."""
    return draw([persona(PERSONA)] * (TRAIN + HOLDOUT), 0)


@pytest.fixture(scope="module")
def photos(instruments: Instruments, pictures: list[np.ndarray]) -> Photos:
    references = make_references(pictures[TRAIN:], instruments)
    listed = [_photo(number) for number in range(TRAIN + HOLDOUT)]
    scores = list(score(pictures[:TRAIN], ["a woman"] * TRAIN, references, instruments))
    return Photos(listed[:TRAIN], scores, listed[TRAIN:], references)


def _photo(number: int) -> Photo:
    return Photo(
        filename=f"{number:02d}.png", sha256="", size_bytes=0, width=SIDE, height=SIDE, caption_file="",
        caption_text="a woman", caption_sha256="", phash="0" * 16, group=number,
        split="train" if number < TRAIN else "holdout",
    )  # fmt: skip


@pytest.fixture(scope="module")
def base(instruments: Instruments, photos: Photos) -> list[Score]:
    """48 pictures by a base model: everyone is somebody else."""
    return list(score(draw(strangers(48), 3000), ["a woman"] * 48, photos.references, instruments))


def judge(
    ours: list[np.ndarray], nameless: list[np.ndarray], base: list[Score], photos: Photos, instruments: Instruments
) -> Scorecard:
    """What eval would say of a LoRA that draws ``ours`` with the trigger and ``nameless`` without."""
    cell = Settings(**CELL.model_dump(include=set(Settings.model_fields)))
    shots = {name: plan(cell, SETTINGS, DATASET, EVAL_IMAGES / name) for name in ("lora", "base", "class")}
    scored = {
        name: list(score(images, ["a woman"] * 48, photos.references, instruments))
        for name, images in (("lora", ours), ("class", nameless))
    }
    judged = Judged(shots, {"base": base, **scored}, photos, [], POSE)
    rulers = measure_rulers(shots["base"], base, photos, POSE, SETTINGS.pose_photos)
    thresholds = Thresholds(second_pass=0.79)
    yardstick = measure_yardstick(photos, thresholds.flags.closer_than)
    rows = table_rows(judged, rulers, yardstick, thresholds)
    origin = {
        "run_id": "r", "lora_version": "v", "lora_sha256": "", "protocol": "", "dataset": "d", "notes": "",
        "dataset_manifest_sha256": "", "training_params": {}, "best_config": CELL, "worst_config": CELL,
        "thresholds": thresholds.model_dump(mode="json"), "licences": {},
    }  # fmt: skip
    return make_scorecard(judged, rows, rulers, yardstick, origin, SETTINGS, thresholds)


def raised(card: Scorecard) -> list[str]:
    return [flag.name for flag in card.raised_flags()]


def test_a_healthy_lora_is_not_flagged(base: list[Score], photos: Photos, instruments: Instruments) -> None:
    card = judge(draw([persona(PERSONA)] * 48, 5000), draw(strangers(48, 500), 6000), base, photos, instruments)
    assert raised(card) == []
    assert 85 < card.likeness < 105
    assert 85 < card.second_likeness < 105
    assert card.memorisation is not None
    assert card.memorisation.share < 0.15
    assert card.prior_preservation > 80


def test_noisy_copies_of_training_photos_are_flagged_as_memorising(
    pictures: list[np.ndarray], base: list[Score], photos: Photos, instruments: Instruments
) -> None:
    noise = np.random.default_rng(0).normal(0, 5, (48, SIDE, SIDE, 3))
    copies = [np.clip(pictures[n % TRAIN] + noise[n], 0, 255).astype(np.uint8) for n in range(48)]
    card = judge(copies, draw(strangers(48, 500), 6000), base, photos, instruments)
    assert raised(card) == ["memorising"]
    assert card.memorisation is not None
    assert card.memorisation.share > 0.95
    assert card.memorisation.base_share < 0.1


def test_one_copy_in_two_is_enough_and_one_in_ten_is_not(
    pictures: list[np.ndarray], base: list[Score], photos: Photos, instruments: Instruments
) -> None:
    nameless = draw(strangers(48, 500), 6000)
    for every, flags in ((2, ["memorising"]), (10, [])):
        ours = draw([persona(PERSONA)] * 48, 5000)
        for number in range(0, 48, every):
            ours[number] = pictures[number % TRAIN]
        assert raised(judge(ours, nameless, base, photos, instruments)) == flags


def test_the_persona_in_answer_to_every_prompt_is_flagged_as_leaking(
    base: list[Score], photos: Photos, instruments: Instruments
) -> None:
    her = persona(PERSONA)
    card = judge(draw([her] * 48, 5000), draw([her] * 48, 7000), base, photos, instruments)
    assert raised(card) == ["leaking"]
    assert card.prior_preservation < 15


@pytest.mark.parametrize("seed", list(DEVELOPMENT)[:4])
def test_another_person_stands_near_0_and_is_flagged(
    seed: int, base: list[Score], photos: Photos, instruments: Instruments
) -> None:
    card = judge(draw([persona(seed)] * 48, 5000), draw(strangers(48, 500), 6000), base, photos, instruments)
    assert card.likeness <= 10
    assert card.second_likeness <= 25  # it knows fewer people apart
    assert raised(card) == ["wrong_identity"]


def test_likeness_follows_the_share_of_the_persona_under_both_judges(photos: Photos, instruments: Instruments) -> None:
    """Eight strangers on their way to her, in nine steps."""
    shares, found = np.linspace(0, 1, 9), []
    for seed in range(8):
        stranger = sample_identity(1_700_300 + seed, woman=True)
        mixed = [mix_identities(stranger, persona(PERSONA), share) for share in shares for _ in range(4)]
        scores = list(score(draw(mixed, 8000), ["a woman"] * len(mixed), photos.references, instruments))
        found.append([[s.similarity, s.second_similarity] for s in scores])
    likeness = np.array(found).reshape(8, 9, 4, 2).mean(axis=2)
    for judge_number in range(2):
        each = [spearmanr(shares, likeness[seed, :, judge_number]).statistic for seed in range(8)]
        assert min(each) >= 0.9
        assert spearmanr(np.tile(shares, 8), likeness[..., judge_number].ravel()).statistic >= 0.9
