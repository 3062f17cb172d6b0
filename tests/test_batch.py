"""`pistachio batch` in one workspace: what lands where, what is said of it, and what is refused."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from drawing import Drawing
from producing import PROMPTS, check_folder, choose, make, pictures, records
from workspaces import make_workspace, write_card, write_params

from stages import batch as stage
from stages.contracts.batches import Batch, read_batch, write_batch
from stages.contracts.subject import read_subject
from stages.flows import production_batch, production_folder
from stages.flows.production_prompts import Asked
from stages.flows.takedown import revoke
from stages.runtime.errors import UserError
from stages.runtime.pictures import read_picture
from stages.runtime.provenance import hash_bytes, hash_file

LIMITS = {"realism": 0.0, "adherence": -1.0}


@pytest.fixture(scope="module")
def finished(judges: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with one finished batch of six pictures; nothing changes it."""
    folder = tmp_path_factory.mktemp("finished")
    make_workspace(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        Drawing.drawn, Drawing.stop_at = 0, None
        patch.setattr(stage, "stamp_batch", call_finished)
        write_params(folder, thresholds={"batch": LIMITS})
        choose()
        make()
    return folder


@pytest.fixture
def made(finished: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The finished batch's folder, in its workspace."""
    monkeypatch.chdir(finished)
    return Path("out")


def call_finished(batch: Batch, folder: Path) -> Batch:
    """Stands in for passports, which take a program of their own: its test is below."""
    batch = batch.model_copy(update={"state": "finished"})
    write_batch(batch, folder)
    return batch


@pytest.fixture
def ready(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A workspace in which the sweep has chosen."""
    monkeypatch.setattr(stage, "stamp_batch", call_finished)
    write_params(workspace, thresholds={"batch": LIMITS})
    choose()
    return workspace


def test_every_picture_is_approved_or_rejected_and_all_figures_follow_from_the_files(made: Path) -> None:
    check_folder()
    batch = read_batch(made)
    assert (batch.generated, batch.state) == (6, "finished")
    assert batch.accepted >= 1
    assert batch.reasons["no face"] == 2
    assert batch.seconds > 0


def test_names_tell_version_prompt_and_seed_and_records_what_was_drawn(made: Path) -> None:
    for record in records():
        found = re.fullmatch(r"persona_p0(\d)_[a-z0-9-]+_s(\d+)\.png", record.file)
        assert found
        assert record.origin.prompt == PROMPTS[int(found[1])]
        assert record.origin.text == PROMPTS[int(found[1])].replace("{trigger}", "amira").replace(
            "{class_word}", "woman"
        )
        assert record.origin.seed == int(found[2])
        assert record.origin.lora_sha256 == hash_file(Path("models/lora/persona.safetensors"))
        assert record.origin.subject_sha256 == read_subject().sha256
        assert record.origin.manifest_sha256 == hash_file(Path("data/manifest.json"))
        folder = made / ("approved" if record.approved else "rejected")
        assert record.pixels_sha256 == hash_bytes(read_picture(folder / record.file).tobytes())


def test_a_finished_batch_is_not_made_again(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before, drawn = pictures(made), Drawing.drawn
    stage.main(Asked(output=made, prompts=PROMPTS))
    assert capsys.readouterr().out.startswith("out: finished already, nothing was drawn\n")
    assert (pictures(made), Drawing.drawn) == (before, drawn)
    stage.main(Asked(output=made, prompts=PROMPTS), as_json=True)
    assert json.loads(capsys.readouterr().out)["accepted"] == read_batch(made).accepted


@pytest.mark.parametrize("asked", [{"seed": 4}, {"count": 3}, {"prompts": PROMPTS[:2]}, {"until": 2}])
def test_a_folder_of_another_batch_is_refused(made: Path, asked: dict[str, Any]) -> None:
    before = pictures(made)
    with pytest.raises(UserError, match="holds another batch"):
        make(**asked)
    assert pictures(made) == before


def test_the_page_is_one_file_that_asks_for_nothing(made: Path) -> None:
    page = (made / "batch_report.html").read_text()
    assert "default-src 'none'" in page
    assert not re.findall(r"(?:src|href)=\"(?!data:|#)", page)
    assert page.count("data:image/webp") == 6
    assert f"{read_batch(made).accepted} of 6 pictures approved" in page


def test_a_folder_with_something_else_in_it_is_refused_before_anything_is_drawn(ready: Path) -> None:
    Path("out").mkdir()
    Path("out/mine.txt").write_text("mine")
    with pytest.raises(UserError, match="is not empty"):
        make()
    assert Drawing.drawn == 0


def test_one_bad_prompt_does_not_stop_the_rest(ready: Path) -> None:
    bad = ("", "{trigger} as a {hero}", PROMPTS[0], "{trigger}, 12 years old")
    batch = make(prompts=(PROMPTS[0], *bad), count=1)
    assert [(one.prompt_index, one.rule) for one in batch.refused] == [
        (1, "empty"), (2, "unknown word"), (3, "repeated"), (4, "minors")
    ]  # fmt: skip
    assert batch.generated == 1
    check_folder()
    report = Path("out/batch_report.md").read_text()
    assert all(f"p0{index}, {rule}" in report for index, rule in ((1, "empty"), (4, "minors")))
    assert "years old" in Path("out/batch_report.html").read_text()


def test_a_batch_whose_prompts_are_all_refused_is_an_error_that_leaves_nothing(ready: Path) -> None:
    with pytest.raises(UserError, match="every one is refused: p00: empty"):
        make(prompts=("", "{trigger}, 12 years old"))
    assert not Path("out").exists()
    assert Drawing.drawn == 0


def test_it_draws_until_enough_are_accepted_and_not_one_more(ready: Path) -> None:
    batch = make(until=2, most=20)
    assert batch.accepted == 2
    last = [name for name, good in _table("file", "approved") if good][-1]
    assert _table("file")[-1] == (last,)
    check_folder()


def test_it_gives_up_at_the_most_and_says_so(ready: Path, capsys: pytest.CaptureFixture[str]) -> None:
    batch = make(prompts=("nobody",), until=1, most=3)
    assert (batch.generated, batch.accepted) == (3, 0)
    assert "1 accepted pictures were asked for; after 3 it was given up" in capsys.readouterr().out
    assert "does not say {trigger}" in Path("out/batch_report.md").read_text()
    check_folder()


def test_adding_a_prompt_moves_no_other(ready: Path) -> None:
    make(count=1)
    make("more", prompts=(*PROMPTS, "{trigger}, surprised"), count=1)
    one, more = ({r.file: r.pixels_sha256 for r in records(folder)} for folder in ("out", "more"))
    assert one.items() < more.items()


@pytest.mark.parametrize("stop_at", [1, 3, 5])
def test_an_interrupted_batch_ends_as_if_nothing_had_happened(
    ready: Path, made: Path, finished: Path, monkeypatch: pytest.MonkeyPatch, stop_at: int
) -> None:
    whole = pictures(made.absolute())
    monkeypatch.chdir(ready)
    monkeypatch.setattr(Drawing, "stop_at", stop_at)
    with pytest.raises(KeyboardInterrupt):
        make()
    assert read_batch(Path("out")).state == "drawing"
    monkeypatch.setattr(Drawing, "stop_at", None)
    make()
    assert Drawing.drawn == 6
    check_folder()
    assert {name: data for name, data in pictures("out").items() if name.endswith(".json")} == {
        name: data for name, data in whole.items() if name.endswith(".json")
    }


def test_what_was_kept_may_be_lost_and_pictures_that_landed_are_not_drawn_again(
    ready: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Drawing, "stop_at", 5)
    with pytest.raises(KeyboardInterrupt):
        make()
    for path in Path("state").rglob("*.png"):
        path.unlink()
    monkeypatch.setattr(Drawing, "stop_at", None)
    make()
    assert Drawing.drawn == 5 + 2
    check_folder()


def test_an_unfinished_batch_is_not_continued_by_another_drawer(ready: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Drawing, "stop_at", 5)
    with pytest.raises(KeyboardInterrupt):
        make()
    monkeypatch.setattr(Drawing, "identity", "another server")
    with pytest.raises(UserError, match="begun by other code or on another device"):
        make()


@pytest.mark.parametrize("micro_batch", [1, 3, 8])
def test_grouping_changes_no_picture_and_no_decision(
    ready: Path, made: Path, monkeypatch: pytest.MonkeyPatch, micro_batch: int
) -> None:
    whole = _decisions(made.absolute())
    monkeypatch.chdir(ready)
    write_params(ready, thresholds={"batch": LIMITS}, batch={"micro_batch": micro_batch})
    make()
    assert _decisions(Path("out")) == whole


def test_without_passports_a_batch_is_not_finished_and_goes_on_with_them(workspace: Path) -> None:
    write_params(workspace, thresholds={"batch": LIMITS})
    choose()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(production_batch.sys, "executable", "/bin/false")
        with pytest.raises(UserError, match="no passports yet.*pistachio stamp out"):
            make(count=1)
    assert read_batch(Path("out")).state == "drawn"
    bare = {path: path.read_bytes() for path in Path("out/approved").glob("*.png")}
    assert make(count=1).state == "finished"
    assert Drawing.drawn == 3
    check_folder()
    assert bare
    assert all(path.read_bytes() != data for path, data in bare.items())  # they have passports now


def test_a_revoked_card_stops_a_batch_in_the_middle(ready: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    generate = Drawing.generate

    def revoking(self: Drawing, requests: Any) -> Any:
        for number, image in enumerate(generate(self, requests)):
            if number == 4:
                revoke("asked for it")
            yield image

    monkeypatch.setattr(Drawing, "generate", revoking)
    with pytest.raises(UserError, match="revoked"):
        make()
    assert read_batch(Path("out")).generated == 4


@pytest.mark.parametrize(
    ("card", "says"),
    [({"adult": False}, "adult"), ({"dataset": "other"}, "dataset"), ({"scope": ["commercial"]}, "scope")],
)
def test_no_card_that_allows_it_no_batch(ready: Path, card: dict[str, Any], says: str) -> None:
    write_card(ready, card.pop("dataset", "persona"), **card)
    with pytest.raises(UserError, match=says):
        make()
    assert not Path("out").exists()
    assert Drawing.drawn == 0


def test_a_disk_without_room_is_said_before_anything_is_drawn(ready: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(production_folder, "SPARE", 1 << 60)
    with pytest.raises(UserError, match="GB free, 6 pictures may need"):
        make()
    assert not Path("out").exists()
    assert Drawing.drawn == 0


def _table(*columns: str) -> list[tuple[Any, ...]]:
    import pandas as pd

    return list(pd.read_csv("out/per_image.csv")[list(columns)].itertuples(index=False, name=None))


def _decisions(folder: Path) -> dict[str, Any]:
    return {
        p.name: [json.loads(p.read_text())[key] for key in ("pixels_sha256", "approved", "reasons", "scores")]
        for p in folder.rglob("*.json") if p.name != "batch.json"
    }  # fmt: skip
