"""Content hashes follow the content and nothing else."""

from pathlib import Path

from stages.runtime.provenance import hash_file, hash_json, hash_path


def test_a_file_s_hash_is_its_sha256(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    assert hash_file(tmp_path / "a") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_a_folder_s_hash_follows_names_and_bytes_but_not_place(tmp_path: Path) -> None:
    for root in ("one", "two"):
        (tmp_path / root / "sub").mkdir(parents=True)
        (tmp_path / root / "sub" / "a").write_text("a")
        (tmp_path / root / "b").write_text("b")
    assert hash_path(tmp_path / "one") == hash_path(tmp_path / "two")
    (tmp_path / "two" / "b").rename(tmp_path / "two" / "c")
    assert hash_path(tmp_path / "one") != hash_path(tmp_path / "two")
    (tmp_path / "two" / "c").rename(tmp_path / "two" / "b")
    (tmp_path / "two" / "sub" / "a").write_text("A")
    assert hash_path(tmp_path / "one") != hash_path(tmp_path / "two")


def test_the_order_of_keys_does_not_matter() -> None:
    assert hash_json({"a": 1, "b": [1, 2]}) == hash_json({"b": [1, 2], "a": 1}) != hash_json({"a": 1, "b": [2, 1]})
