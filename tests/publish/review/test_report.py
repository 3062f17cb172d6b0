"""What votes come to, on batches whose truth is known."""

import uuid
from collections.abc import Callable
from pathlib import Path

import pytest
from batches import PASS, make_batch

from publish.review.gallery import Item
from publish.review.report import GateReport, PreferenceReport, render_report
from publish.review.session import Review, next_item, open_review
from publish.review.votes import Cast
from stages.runtime.errors import UserError


@pytest.fixture(scope="module")
def batch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report") / "batch"
    make_batch(folder, 80, 48)
    return folder


def opened(folder: Path, votes: Path, against: Path | None = None, *, reveal: bool = False, seed: int = 5) -> Review:
    other = str(against) if against else None
    drawn = seed if against else None
    return open_review(str(folder), other, voter="owner", votes=votes, seed=drawn, reveal=reveal, writable=True)


def vote_all(review: Review, choose: Callable[[Item], Cast], *, seen: bool = False) -> None:
    for item in review.items:
        review.cast(str(uuid.uuid4()), item.id, choose(item), seen, 700)


def likes(above: float) -> Callable[[Item], Cast]:
    def choose(item: Item) -> Cast:
        record = item.pictures[0].record
        assert record is not None
        return "approve" if record.scores.similarity >= above else "reject"

    return choose


def test_an_owner_who_is_stricter_than_the_gate_moves_the_threshold_of_what_they_look_at(
    batch: Path, tmp_path: Path
) -> None:
    review = opened(batch, tmp_path)
    vote_all(review, likes(0.62))
    report = review.report()
    assert isinstance(report, GateReport)
    records = [item.pictures[0].record for item in review.items]
    between = sum(PASS <= record.scores.similarity < 0.62 for record in records if record)
    assert report.compared == report.approved + report.rejected == 80
    assert (report.only_gate, report.only_person) == (between, 0)
    assert report.kappa is not None
    assert report.kappa_low is not None
    assert report.kappa_low < report.kappa < 1
    first, *others = report.suggestions
    assert first.threshold == pytest.approx(0.62, abs=0.03)
    assert first.youden == pytest.approx(1)
    assert first.line == f"face_pass: {first.threshold:.3f}"
    assert [each.line for each in others if each.score in ("realism", "adherence", "sharpness")] == ["", "", ""]
    assert report.remarks == ()
    assert first.line in render_report(report)


def test_votes_with_the_scores_in_view_are_counted_but_do_not_calibrate(batch: Path, tmp_path: Path) -> None:
    review = opened(batch, tmp_path)
    vote_all(review, likes(0.62))
    item = review.items[0]
    review.seen.add(item.id)  # the server was asked for them, whatever the page says
    review.cast(str(uuid.uuid4()), item.id, "reject", False, 10)
    report = review.report()
    assert isinstance(report, GateReport)
    assert report.compared == 79
    assert report.approved + report.rejected == 80
    assert "left out: 1" in report.remarks[0]


def test_with_few_votes_it_says_so(batch: Path, tmp_path: Path) -> None:
    review = opened(batch, tmp_path)
    for item in review.items[:30]:
        review.cast(str(uuid.uuid4()), item.id, likes(0.62)(item), False, 10)
    report = review.report()
    assert isinstance(report, GateReport)
    assert "Too few votes" in report.remarks[0]
    none = opened(batch, tmp_path / "none").report()
    assert isinstance(none, GateReport)
    assert (none.compared, none.kappa, none.suggestions) == (0, None, ())


def test_a_folder_without_records_has_no_gate(batch: Path, tmp_path: Path) -> None:
    for path in batch.glob("approved/*.png"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    review = opened(tmp_path, tmp_path)
    vote_all(review, lambda _: "approve")
    report = review.report()
    assert isinstance(report, GateReport)
    assert report.approved == len(review.items)
    assert "no gate" in render_report(report)


@pytest.fixture(scope="module")
def versions(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("versions")
    make_batch(folder / "v3", 20, 48, version="v3", seed=1)
    make_batch(folder / "v2", 20, 48, version="v2", shift=-0.2, seed=1)
    return folder / "v3", folder / "v2"


def better(item: Item) -> Cast:
    records = [picture.record for picture in item.pictures]
    assert records[0] is not None
    assert records[1] is not None
    return "left" if records[0].scores.similarity > records[1].scores.similarity else "right"


def test_the_better_version_wins_on_whichever_side_it_stands(versions: tuple[Path, Path], tmp_path: Path) -> None:
    review = opened(versions[0], tmp_path, versions[1])
    vote_all(review, better)
    assert {vote.vote for vote in review.standing().values()} == {"left", "right"}
    report = review.report()
    assert isinstance(report, PreferenceReport)
    assert (report.first, report.first_won, report.second_won, report.ties) == ("v3", 20, 0, 0)
    assert report.p < 0.001
    assert report.low > 0.8
    mirrored = opened(versions[1], tmp_path / "mirror", versions[0])
    vote_all(mirrored, better)
    other = mirrored.report()
    assert isinstance(other, PreferenceReport)
    assert (other.first, other.first_won, other.second_won) == ("v2", 0, 20)


def test_a_voter_who_always_says_left_prefers_nobody(versions: tuple[Path, Path], tmp_path: Path) -> None:
    review = opened(versions[0], tmp_path, versions[1])
    vote_all(review, lambda _: "left")
    report = review.report()
    assert isinstance(report, PreferenceReport)
    assert report.p > 0.05
    assert "do not tell the two apart" in render_report(report)


def test_which_is_which_is_told_at_the_end_or_on_demand(versions: tuple[Path, Path], tmp_path: Path) -> None:
    review = opened(versions[0], tmp_path, versions[1])
    for item in review.items[:-1]:
        review.cast(str(uuid.uuid4()), item.id, "tie", False, 10)
    with pytest.raises(UserError, match="1 of 20 pairs have no vote"):
        review.report()
    told = str(review.describe())
    assert "approved" not in told
    assert "v3.safetensors" not in told
    early = opened(versions[0], tmp_path, versions[1], reveal=True).report()
    assert isinstance(early, PreferenceReport)
    assert (early.voted, early.ties, early.share) == (19, 19, None)
    assert "Opened early" in early.remarks[0]
    review.cast(str(uuid.uuid4()), review.items[-1].id, "tie", False, 10)
    assert isinstance(review.report(), PreferenceReport)


def test_it_goes_on_behind_the_last_vote_and_comes_back_for_what_was_skipped() -> None:
    assert next_item("abcd", []) == "a"
    assert next_item("abcd", ["a", "c"]) == "d"
    assert next_item("abcd", ["a", "c", "d"]) == "b"
    assert next_item("abcd", ["d", "b", "c", "a"]) is None


def test_every_voter_has_votes_of_their_own(batch: Path, tmp_path: Path) -> None:
    review = opened(batch, tmp_path)
    vote_all(review, likes(0.5))
    other = open_review(str(batch), None, voter="ada", votes=tmp_path, seed=None, reveal=False, writable=True)
    assert len(review.standing()) == 80
    assert other.standing() == {}
    with pytest.raises(UserError, match="no vote to take back"):
        other.undo(str(uuid.uuid4()))
    with pytest.raises(UserError, match="--voter"):
        open_review(str(batch), None, voter=" ", votes=tmp_path, seed=None, reveal=False, writable=True)


def test_a_vote_of_another_kind_or_on_nothing_is_refused(batch: Path, tmp_path: Path) -> None:
    review = opened(batch, tmp_path)
    with pytest.raises(UserError, match="is no vote here"):
        review.cast(str(uuid.uuid4()), review.items[0].id, "left", False, 1)
    with pytest.raises(UserError, match="is not looked at"):
        review.cast(str(uuid.uuid4()), "0" * 16, "approve", False, 1)
    assert not (tmp_path / "votes.jsonl").exists()
