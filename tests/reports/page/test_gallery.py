"""The order of pictures and pairs."""

from pages import make_content, make_scores

from stages.reports.page.gallery import MOST, SHOWN, cards, pair_cards


def test_the_worst_picture_comes_first_with_its_neighbours_and_every_score() -> None:
    content = make_content()
    found = cards(content)
    assert [card.similarity for card in found] == sorted(card.similarity for card in found)
    assert [name for name, _ in found[0].pictures] == ["LoRA", "base model", "without the trigger"]
    assert found[0].pictures[0][1] == content.pictures["lora/p00_s1001.png"]
    assert dict(found[0].scores)["Yaw"] == "12.500"
    assert found[0].place == 0


def test_a_picture_that_is_not_here_leaves_its_neighbours() -> None:
    content = make_content()
    left = {file: uri for file, uri in content.pictures.items() if not file.startswith("base/")}
    assert [name for name, _ in cards(make_content(pictures=left))[0].pictures] == ["LoRA", "without the trigger"]


def test_of_very_many_pictures_the_worst_are_shown() -> None:
    found = cards(make_content(scores=make_scores(prompts=300)))
    assert len(found) == MOST
    assert found[-1].similarity < 0.40 + 0.02 * 600


def test_pairs_are_split_into_losses_gains_and_the_rest() -> None:
    content = make_content()
    lost, gained, others = pair_cards(content.pairs)
    assert (len(lost), len(gained), len(others)) == (SHOWN, SHOWN, len(content.pairs) - 2 * SHOWN)
    assert (lost[0].before_score, lost[0].after_score, lost[0].change) == ("0.500", "0.400", "−0.100")
    assert gained[0].change == "+0.260"


def test_few_pairs_are_losses_or_gains_and_none_is_shown_twice() -> None:
    content = make_content()
    lost, gained, others = pair_cards(content.pairs[:4])
    assert [pair.change for pair in lost] == ["−0.100", "−0.060", "−0.020"]
    assert [pair.change for pair in gained] == ["+0.020"]
    assert others == []
    assert pair_cards([]) == ([], [], [])
