"""The order of pictures and pairs."""

import pytest
from pages import make_card, make_content, make_scores, picture

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


def test_the_worst_is_the_worst_of_the_judge_that_decides_whatever_the_order_of_the_rows() -> None:
    scores = make_scores(prompts=3)[::-1]
    for number, row in enumerate(row for row in scores if row["set"] == "lora"):
        row["second_similarity"] = (0.4, 0.2, 0.6, 0.1, 0.5, 0.3)[number]  # of prompts 2, 2, 1, 1, 0, 0
    second = make_content(scores=scores, card=make_card(gating_judge="second"))
    assert [(card.number, card.second, card.place) for card in cards(second)] == [
        (1, 0.1, 2), (2, 0.2, 4), (3, 0.3, 0), (4, 0.4, 5), (5, 0.5, 1), (6, 0.6, 3),
    ]  # fmt: skip
    first = cards(make_content(scores=scores))
    assert [card.place for card in first] == list(range(6))  # the similarity grows with prompt and seed
    assert [(card.prompt[-1], card.seed) for card in first[2:4]] == [("1", 1001), ("1", 1002)]
    assert (first[3].similarity, first[3].adherence, first[3].closeness) == (pytest.approx(0.46), 0.3, 0.1)
    assert first[2].closeness is None


def test_every_neighbour_is_of_the_same_prompt_and_seed() -> None:
    content = make_content()
    for card in cards(content):
        prompt = card.prompt.rsplit(" ", 1)[1]
        files = [f"{name}/p{int(prompt):02d}_s{card.seed}.png" for name in ("lora", "base", "class")]
        assert [uri for _, uri in card.pictures] == [content.pictures[file] for file in files]


def test_the_others_run_from_loss_to_gain_and_pictures_stay_on_their_sides() -> None:
    lost, gained, others = pair_cards(make_content().pairs[::-1])
    changes = [float(pair.change.replace("\N{MINUS SIGN}", "-")) for pair in (*lost, *others, *gained[::-1])]
    assert changes == sorted(changes)
    assert {(pair.before, pair.after) for pair in (*lost, *gained, *others)} == {(picture(1), picture(2))}
    assert {pair.before_score for pair in (*lost, *gained)} == {"0.500"}
