"""What is objected to, on photos made up for it: each bound on both of its sides."""

from typing import Any

import pytest

from stages.contracts.manifest import Photo
from stages.contracts.settings import Dataset, parse
from stages.flows.dataset import list_duplicates, list_moments, summarize
from stages.flows.dataset_warnings import list_warnings

SETTINGS = {"name": "x", "photos": "photos", "trigger": "ohwx", "class_word": "woman", "blurred_below": 0.5}
DATASET = parse(Dataset, SETTINGS)


def photo(number: int, **changes: Any) -> Photo:
    values = {"filename": f"{number:02d}.png", "sha256": f"{number:064x}", "size_bytes": 100, "width": 100,
              "height": 100, "caption_file": f"{number:02d}.txt", "caption_text": f"ohwx, word{number}",
              "caption_sha256": "", "phash": "0" * 16, "picture": number, "group": number, "split": "holdout",
              "sharpness": 100.0, "faces": 1, "face_share": 0.5}  # fmt: skip
    return Photo(**(values | changes))


def photos(*changes: dict[str, Any]) -> list[Photo]:
    """Ten photos that nobody objects to; the first ones changed."""
    return [photo(number, **(changes[number] if number < len(changes) else {})) for number in range(10)]


def said(*changes: dict[str, Any]) -> list[str]:
    return list_warnings(photos(*changes), [], [], DATASET, [])


def test_ten_ordinary_photos_need_no_warning() -> None:
    assert said() == []


@pytest.mark.parametrize(
    ("changes", "warning"),
    [
        ([{"split": "train"}], "few holdout photos (9): with fewer than 10 references, measures are loose; "
                               "add photos or raise dataset.holdout_min"),
        ([{"width": 63}], "photos smaller than 64 px (1): 00.png; they are enlarged; use the originals"),
        ([{"height": 63}], "photos smaller than 64 px (1): 00.png; they are enlarged; use the originals"),
        ([{"width": 500, "height": 401}], "sizes are mixed: short sides from 100 to 401 px (01.png, 00.png); "
                                          "use photos of like resolution"),
        ([{"width": 251}], "aspect ratios are mixed: from 01.png (100x100), 00.png (251x100); training cuts squares, "
                           "so crop them round the face"),
        ([{"sharpness": 49.9}, {"sharpness": 50.0}], "photos with under 0.5 of the median sharpness (1): 00.png; "
                                                     "replace what is blurred"),
        ([{"faces": 0, "face_share": None}], "photos without a face that the face pack finds (1): 00.png; "
                                             "remove them, or crop to the face"),
        ([{"faces": 2}], "photos with several faces (1): 00.png; crop to the person, or the others are learnt too"),
        ([{"face_share": 0.0199}], "photos whose face is under 2% of them (1): 00.png; crop to the person"),
        ([{"caption_file": "", "caption_text": ""}], "photos without a caption (1): 00.png; run `dvc repro caption`"),
        ([{"caption_text": "ohwxy, word"}], "captions that do not name the trigger 'ohwx' (1): 00.png; put it first"),
        ([{"caption_text": "OHWX"}], "captions that say nothing beside the trigger (1): 00.png; "
                                     "say what changes from photo to photo"),
        ([{"caption_text": "ohwx, sad"}] * 3, "3 of 10 captions are identical: 'ohwx, sad' (00.png, 01.png, 02.png); "
                                              "say what changes from photo to photo"),
    ],
)  # fmt: skip
def test_each_objection_is_one_sentence_that_names_its_photos(changes: list[dict[str, Any]], warning: str) -> None:
    assert said(*changes) == [warning]


@pytest.mark.parametrize(
    "changes",
    [
        [{"width": 64, "height": 64}], [{"width": 400, "height": 400}], [{"width": 250}], [{"height": 250}],
        [{"face_share": 0.02}], [{"faces": None, "face_share": None}], [{"caption_text": "ohwx, sad"}] * 2,
        [{"sharpness": 50.0}],
        [{"sharpness": 9000.0}] * 4,
    ],
)  # fmt: skip
def test_what_just_meets_a_bound_is_not_objected_to(changes: list[dict[str, Any]]) -> None:
    assert said(*changes) == []


def test_sharpness_is_compared_among_photos_with_a_face_alone() -> None:
    faceless = {"faces": 0, "face_share": None, "sharpness": 1000.0}
    warnings = said(*[faceless] * 6, {"sharpness": 60.0}, {"sharpness": 39.0})
    assert [line for line in warnings if "sharpness" in line] == [
        "photos with under 0.5 of the median sharpness (1): 07.png; replace what is blurred"
    ]
    blurred = said({"faces": 0, "face_share": None, "sharpness": 1.0})
    assert not [line for line in blurred if "sharpness" in line]


def test_more_than_five_names_are_counted() -> None:
    assert said(*[{"faces": 3}] * 7)[0].startswith(
        "photos with several faces (7): 00.png, 01.png, 02.png, 03.png, 04.png and 2 more; "
    )
    assert "04.png; crop" in said(*[{"faces": 3}] * 5)[0]


def test_identical_captions_hide_what_they_share_and_the_most_frequent_comes_first() -> None:
    warnings = said(*[{"caption_text": "ohwx, sad"}] * 3, *[{"caption_text": "ohwx, glad"}] * 4)
    assert [line.split(":")[0] for line in warnings] == [
        "4 of 10 captions are identical",
        "3 of 10 captions are identical",
    ]


def test_a_photo_without_a_caption_is_no_caption_of_the_total() -> None:
    bare = {"caption_file": "", "caption_text": ""}
    warnings = said(*[bare] * 5, *[{"caption_text": "ohwx, in a red dress"}] * 1, {"caption_text": "in a red dress"})
    assert "photos without a caption (5)" in warnings[0]
    assert not [line for line in warnings if "stands in" in line]
    shared = said(
        *[bare] * 5, *[{"caption_text": f"ohwx, {mood}, in a red dress"} for mood in ("a", "b", "c", "d", "e")]
    )
    assert shared[1].startswith("'in a red dress' stands in 5 of 5 captions")


def test_orphans_duplicates_and_moments_are_named_in_a_fixed_order() -> None:
    some = photos({"sha256": "same"}, {"sha256": "same"})
    warnings = list_warnings(
        some, [["00.png", "01.png"], ["02.png", "03.png"]], [["04.png", "05.png"]], DATASET, ["lost.txt"]
    )
    assert warnings == [
        "2 photos are the same file: 00.png, 01.png; keep one of them",
        "2 photos are nearly the same picture: 02.png, 03.png; keep one of them",
        "2 photos show one moment: 04.png, 05.png; keep the best, or add other moments",
        "caption files of no photo (1): lost.txt; rename them after their photos, or remove them",
    ]


def test_a_moment_is_told_from_a_picture_that_is_there_twice() -> None:
    some = [
        photo(0, filename="z.png", picture=0, group=0), photo(1, filename="a.png", picture=0, group=0),
        photo(2, filename="y.png", picture=2, group=2), photo(3, filename="b.png", picture=3, group=2),
        photo(4, filename="c.png", picture=3, group=2), photo(5, filename="d.png", picture=5, group=5),
    ]  # fmt: skip
    assert list_duplicates(some) == [["a.png", "z.png"], ["b.png", "c.png"]]
    assert list_moments(some) == [["b.png", "c.png", "y.png"]]


def test_the_summary_counts_captions_sides_sizes_and_bytes() -> None:
    some = photos(
        {"caption_file": "", "caption_text": ""}, {"caption_text": "ohwx, b", "size_bytes": 350},
        {"caption_text": "ohwx, b", "width": 60, "height": 90}, {"caption_text": "ohwx, a", "split": "train"},
        {"caption_text": "ohwx, a", "split": "train"}, {"split": "train"},
    )  # fmt: skip
    found = summarize(some, DATASET, ["lost.txt"])
    assert (found.total_images, found.total_captions, found.unique_captions) == (10, 9, 7)
    assert list(found.caption_distribution.items())[:3] == [("ohwx, a", 2), ("ohwx, b", 2), ("ohwx, word5", 1)]
    assert (found.train_images, found.holdout_images) == (3, 7)
    assert found.mean_image_size_bytes == 125.0
    assert found.resolution_set == ["100x100", "60x90"]
    assert any("lost.txt" in warning for warning in found.warnings)
    assert (found.coverage, found.advice) == ({}, [])
