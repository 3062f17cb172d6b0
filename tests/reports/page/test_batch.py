"""The page of a batch: it shows what is there, whatever a prompt holds, and fits a telephone."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from chromium import NoChromium, open_chromium

from stages.contracts.batches import Batch, Refusal, Wish
from stages.contracts.production import Origin, PictureRecord, Scores
from stages.contracts.scorecard import Settings
from stages.contracts.settings import Thresholds
from stages.reports.batch import describe_outcome, render_markdown, say_duration
from stages.reports.page.batch import render_batch_page
from stages.runtime.pictures import write_png

EVIL = "<script>alert(1)</script> {trigger} " + "w" * 90
CELL: dict[str, Any] = {"base": "base", "mode": "lora", "checkpoint": 1, "lora": "l", "guidance": 2.0,
                        "sampler": "ddim", "strength": 1.0}  # fmt: skip
DRAW = {"backend": "diffusers", "resolution": 64, "steps": 2, "negative_prompt": "", "until": 9, "most": 20,
        "count": 2, "seed": 0}  # fmt: skip


def record(number: int, reasons: tuple[str, ...] = ()) -> PictureRecord:
    origin = Origin(
        batch="b", prompt=EVIL, text=EVIL, negative_prompt="", seed=number, version="v", lora="l", lora_sha256="",
        base="b", base_sha256="", strength=1, mode="lora", guidance=2, sampler="ddim", steps=2, width=64, height=64,
        manifest_sha256="", subject_sha256="", backend="diffusers",
    )  # fmt: skip
    scores = Scores(
        faces=1, similarity=0.1 * number, second_similarity=0.5, realism=0.5, adherence=0.3, sharpness=0.9, closeness=1
    )
    return PictureRecord(
        file=f"v_p00_x_s{number}.png", pixels_sha256="", origin=origin, scores=scores, approved=not reasons,
        reasons=reasons,
    )  # fmt: skip


@pytest.fixture
def made(tmp_path: Path) -> tuple[Batch, list[PictureRecord], Path]:
    """Three approved and two rejected pictures."""
    found = [record(n) for n in (5, 7, 6)] + [record(n, ("face: similarity 0.1, less than 0.6",)) for n in (1, 2)]
    for one in found:
        folder = tmp_path / ("approved" if one.approved else "rejected")
        write_png(folder / one.file, np.full((64, 64, 3), one.origin.seed * 20, np.uint8))
    batch = Batch(
        id="b" * 12, drawn_by="", begun="2026-01-01T00:00:00Z", dataset="ada", version="v", lora_sha256="e" * 64,
        subject="nobody", subject_sha256="f" * 64, best_config=Settings(**CELL), settings=DRAW,
        thresholds=Thresholds().model_dump(mode="json"), memorised_from=1.0, wishes=(Wish(prompt=EVIL),),
        refused=(Refusal(prompt_index=1, prompt="<b>", rule="empty", reason="nothing"),), generated=5, accepted=3,
        rejected=2, reasons={"face": 2}, means={"similarity": 0.6}, seconds=90.0, usd_per_accepted="0.02",
    )  # fmt: skip
    return batch, found, tmp_path


def test_what_a_prompt_holds_is_text_and_nothing_else(made: tuple[Batch, list[PictureRecord], Path]) -> None:
    page = render_batch_page(*made)
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert page == render_batch_page(*made)
    assert len(re.findall(r"<img src=\"data:image/webp", page)) == 5
    for figure in ("3 of 5 pictures approved", "60%", "30.0 s", "0.02 $", "9 accepted pictures were asked for"):
        assert figure in page


def test_the_report_names_the_best_first_and_the_weakest(made: tuple[Batch, list[PictureRecord], Path]) -> None:
    text = render_markdown(made[0], made[1])
    assert re.findall(r"approved/v_p00_x_s(\d)", text) == ["7", "6", "5"]
    assert "| face | 2 |" in text
    assert "p01, empty: nothing: '<b>'" in text
    assert any("3 of 5 pictures approved (60%)" in line for line in describe_outcome(made[0], made[2]))


def test_it_fits_a_telephone_and_a_desk(made: tuple[Batch, list[PictureRecord], Path]) -> None:
    (made[2] / "page.html").write_text(render_batch_page(*made))
    try:
        with open_chromium() as browser:
            for width in (390, 1280):
                page = browser.new_page(viewport={"width": width, "height": 800})
                said: list[str] = []
                page.on("console", lambda message, said=said: said.append(message.text))
                page.goto((made[2] / "page.html").as_uri())
                assert page.evaluate("document.documentElement.scrollWidth") == width
                assert page.evaluate("[...document.images].every(i => i.naturalWidth > 0)")
                assert said == []
    except NoChromium as missing:
        pytest.skip(str(missing))


@pytest.mark.parametrize(
    ("seconds", "text"), [(3.21, "3.2 s"), (59.94, "59.9 s"), (65, "1 min 05 s"), (3600 * 2 + 60 * 7, "2 h 07 min")]
)
def test_durations_are_said_as_people_say_them(seconds: float, text: str) -> None:
    assert say_duration(seconds) == text
