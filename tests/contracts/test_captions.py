"""Caption files are named without collisions, and the trigger stands in every caption once."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.contracts.captions import (
    caption_names,
    clean_text,
    find_caption,
    names_word,
    put_trigger_first,
    read_caption,
    write_caption,
)
from stages.runtime.errors import UserError
from stages.runtime.provenance import hash_file


def test_a_caption_is_named_as_its_photo_and_photos_that_share_a_name_keep_their_suffix() -> None:
    names = caption_names(["a.jpg", "im Urlaub/a.png", "b.jpg", "b.png", "c.d.jpg"])
    assert names == {"a.jpg": "a.txt", "im Urlaub/a.png": "im Urlaub/a.txt", "b.jpg": "b.jpg.txt",
                     "b.png": "b.png.txt", "c.d.jpg": "c.d.txt"}  # fmt: skip


@given(st.sets(st.text("ab", min_size=1, max_size=2).flatmap(
    lambda stem: st.lists(st.sampled_from([".jpg", ".png"]), min_size=1, max_size=3).map(lambda s: stem + "".join(s))
)))  # fmt: skip
def test_no_two_photos_share_a_caption_file(photos: set[str]) -> None:
    names = caption_names(sorted(photos))
    assert set(names) == photos
    assert len(set(names.values())) == len(photos)


@pytest.mark.parametrize(
    ("text", "captioned"),
    [
        ("a woman, smiling", "ohwx, a woman, smiling"),
        ("  a woman,\n smiling ", "ohwx, a woman, smiling"),
        ("a photo of ohwx woman", "a photo of ohwx woman"),
        ("OHWX, smiling", "OHWX, smiling"),
        ("smiling (ohwx)", "smiling (ohwx)"),
        ("\"ohwx\": smiling", "\"ohwx\": smiling"),
        ("ohwx's smile.", "ohwx's smile."),
        ("smiling.ohwx", "smiling.ohwx"),
        ("ohwxy, smiling", "ohwx, ohwxy, smiling"),
        ("xohwx, smiling", "ohwx, xohwx, smiling"),
        ("ohwx2 and ohwx_b", "ohwx, ohwx2 and ohwx_b"),
        ("", "ohwx"),
    ],
)  # fmt: skip
def test_the_trigger_is_put_first_unless_the_text_names_it(text: str, captioned: str) -> None:
    assert put_trigger_first(text, "ohwx") == captioned


@pytest.mark.parametrize("trigger", ["<me>", "sks.1", "c++", "amira noor", "名前", "ohwx*"])
def test_a_trigger_of_odd_characters_is_a_word_too(trigger: str) -> None:
    assert put_trigger_first(f"a photo of {trigger}, smiling", trigger) == f"a photo of {trigger}, smiling"
    assert put_trigger_first("smiling", trigger) == f"{trigger}, smiling"


def test_an_accent_is_the_same_however_a_file_system_or_an_editor_writes_it() -> None:
    together, apart = "amélie", "ame\u0301lie"
    assert together != apart
    for trigger in (together, apart):
        for said in (together, apart):
            assert put_trigger_first(f"{said}, smiling", trigger) == f"{together}, smiling"
    assert put_trigger_first("smiling", apart) == f"{together}, smiling"


@given(st.text(), st.sampled_from(["ohwx", "Amira Noor", "<me>", "ame\u0301lie", "名前"]))
def test_every_caption_names_the_trigger_on_one_line_and_gets_it_once(text: str, trigger: str) -> None:
    captioned = put_trigger_first(text, trigger)
    assert names_word(captioned, trigger)
    assert captioned == clean_text(captioned)
    assert "\n" not in captioned
    assert put_trigger_first(captioned, trigger) == captioned


def test_a_caption_file_holds_the_text_and_nothing_else(tmp_path: Path) -> None:
    write_caption(tmp_path / "ä.txt", "ohwx, größer")
    assert (tmp_path / "ä.txt").read_bytes() == "ohwx, größer".encode()
    assert read_caption(tmp_path / "ä.txt") == "ohwx, größer"
    assert len(hash_file(tmp_path / "ä.txt")) == 64


def test_captions_of_other_programs_are_read_with_byte_order_mark_and_line_ends(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"\xef\xbb\xbfa woman,\r\n smiling\r\n")
    assert read_caption(tmp_path / "a.txt") == "a woman, smiling"


def test_a_caption_that_is_no_text_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes("größer".encode("latin-1"))
    with pytest.raises(UserError, match=r"a\.txt: not UTF-8"):
        read_caption(tmp_path / "a.txt")


def test_the_caption_beside_a_photo_is_found_under_either_name(tmp_path: Path) -> None:
    photo = tmp_path / "a.jpg"
    assert find_caption(photo) is None
    (tmp_path / "a.txt").touch()
    assert find_caption(photo) == tmp_path / "a.txt"
    (tmp_path / "a.jpg.txt").touch()
    assert find_caption(photo) == tmp_path / "a.jpg.txt"
