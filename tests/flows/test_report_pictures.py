"""Which pictures reach the report page, beside which words: every picture has a grey of its own, read back."""

import base64
import csv
import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pages import make_card, make_comparison
from PIL import Image

from stages.contracts.scorecard import Scorecard
from stages.contracts.version_pictures import VersionPicture, write_version_pictures
from stages.flows.report_page import gather_content
from stages.reports.page.content import Content
from stages.runtime.pictures import write_png

V2 = Path("metrics/versions/v2")
PLACES = [(1, 7), (0, 7), (1, 5), (0, 5)]  # prompts and seeds, as unsorted as a table may be
FIRST = {(0, 5): 0.5, (0, 7): 0.2, (1, 5): 0.9, (1, 7): 0.4}  # similarity by the face pack
SECOND = {(0, 5): 0.1, (0, 7): 0.8, (1, 5): 0.3, (1, 7): 0.6}


def grey(uri: str) -> int:
    """What is in a data URI, to the nearest 10."""
    image = Image.open(io.BytesIO(base64.b64decode(uri.split(",")[1])))
    return round(float(np.asarray(image.convert("L")).mean()), -1).__int__()


def draw(path: Path, level: int) -> None:
    write_png(path, np.full((16, 24, 3), level, np.uint8))


def write_scores(folder: Path, less: float = 0.0) -> None:
    with (folder / "per_image.csv").open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["set", "prompt_index", "prompt", "seed", "file", "similarity", "second_similarity"])
        for name in ("base", "lora", "class"):
            for place in PLACES:
                prompt, seed = place
                writer.writerow([name, prompt, f"prompt {prompt}", seed, f"{name}/{prompt}_{seed}.png",
                                 (FIRST[place] if name == "lora" else 0.0) - less, SECOND[place]])  # fmt: skip


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write_run: Callable[..., Scorecard]) -> Path:
    monkeypatch.chdir(tmp_path)
    V2.mkdir(parents=True)
    write_scores(Path("metrics"))
    write_scores(V2, less=0.1)
    for number, (prompt, seed) in enumerate(PLACES):
        for level, name in ((40, "lora"), (80, "base"), (120, "class")):
            draw(Path(f"data/eval/{name}/{prompt}_{seed}.png"), level + 10 * number)
        draw(V2 / f"pictures/{number}.png", 160 + 10 * number)
    draw(Path("data/eval/lora/old.png"), 250)  # of no row
    kept = [VersionPicture(picture=f"{n}.png", prompt_index=p, seed=s) for n, (p, s) in enumerate(PLACES)]
    write_version_pictures(V2, [*kept, VersionPicture(picture="0.png", prompt_index=9, seed=9)])
    return tmp_path


def gather(judge: str = "first") -> Content:
    card = make_card() if judge == "first" else make_card(gating_judge=judge)
    return gather_content(card, make_comparison(card), V2)


def test_each_pair_shows_both_versions_pictures_of_its_prompt_and_seed(run: Path) -> None:
    pairs = gather().pairs
    assert [(int(pair.after["prompt_index"]), int(pair.after["seed"])) for pair in pairs] == sorted(PLACES)
    for pair in pairs:
        place = int(pair.after["prompt_index"]), int(pair.after["seed"])
        assert grey(pair.before_picture) == 160 + 10 * PLACES.index(place)
        assert grey(pair.after_picture) == 40 + 10 * PLACES.index(place)
        assert pair.after["similarity"] == FIRST[place]
        assert pair.before["similarity"] == pytest.approx(FIRST[place] - 0.1)


@pytest.mark.parametrize(("judge", "worst"), [("first", FIRST), ("second", SECOND)])
def test_when_room_is_short_the_least_alike_keep_their_pictures_and_neighbours(
    run: Path, monkeypatch: pytest.MonkeyPatch, judge: str, worst: dict[tuple[int, int], float]
) -> None:
    every = gather(judge).pictures
    names = ("lora", "base", "class")
    order = [f"{name}/{p}_{s}.png" for p, s in sorted(worst, key=lambda place: worst[place]) for name in names]
    assert list(every) == order
    assert {file: grey(uri) for file, uri in every.items()} == {
        f"{name}/{p}_{s}.png": level + 10 * number
        for level, name in ((40, "lora"), (80, "base"), (120, "class"))
        for number, (p, s) in enumerate(PLACES)
    }
    monkeypatch.setattr("stages.flows.report_page.EVAL_CHARACTERS", sum(map(len, list(every.values())[:6])))
    monkeypatch.setattr("stages.reports.page.thumbnails.SIDES", (256,))
    assert list(gather(judge).pictures) == order[:6]


def test_pairs_whose_prompt_or_seed_only_one_version_has_are_left_out_and_no_pair_in_common_is_said(run: Path) -> None:
    Path("data/eval/lora/0_5.png").unlink()
    content = gather()
    assert len(content.pairs) == 3
    assert "lora/0_5.png" not in content.pictures
    assert "base/0_5.png" in content.pictures
    write_version_pictures(V2, [VersionPicture(picture="0.png", prompt_index=9, seed=9)])
    content = gather()
    assert (content.pairs, content.no_pairs) == ([], "no prompt and seed in common")


def test_the_note_counts_every_picture_of_the_page(run: Path) -> None:
    Path("data/sweep").mkdir(parents=True)
    Path("metrics/sweep_summary.csv").write_text("cell,rank\n4,2\n2,1\n")
    rows = [(4, 3), (2, 3), (9, 3), (2, 8)]
    for cell, seed in rows:
        draw(Path(f"data/sweep/{cell}_{seed}.png"), 20 * cell + seed)
    lines = [f"{cell},1,{seed},{cell}_{seed}.png,0.{seed}25" for cell, seed in rows]
    Path("data/sweep/per_image.csv").write_text("\n".join(["cell,prompt_index,seed,file,similarity", *lines]) + "\n")
    content = gather()
    assert [(cell, [(says, grey(uri)) for says, uri in some]) for cell, some in content.sweep_pictures.items()] == [
        (2, [("prompt 2, seed 3, similarity 0.325", 40), ("prompt 2, seed 8, similarity 0.825", 50)]),
        (4, [("prompt 2, seed 3, similarity 0.325", 80)]),
    ]
    assert content.notes[0].startswith("23 pictures are in this file, 0.0 MB")  # 4 pairs of two, 12 of eval, 3 of sweep
    assert len(content.notes) == 1
