"""What a killed pip leaves behind is found and forgotten, so that pip brings it anew."""

from pathlib import Path

from pod import environments
from pod.startup_settings import Environment


def write_package(site: Path, name: str, body: str, listed: int, record: bool = True) -> Path:
    info = site / f"{name}-1.0.dist-info"
    info.mkdir(parents=True)
    (site / f"{name}.py").write_text(body)
    (info / "METADATA").write_text(f"Name: {name}\n")
    if record:
        (info / "RECORD").write_text(f"{name}.py,sha256=x,{listed}\n{info.name}/RECORD,,\n")
    return info


def test_packages_that_are_not_whole_are_forgotten_and_whole_ones_stay(tmp_path: Path) -> None:
    whole = write_package(tmp_path, "whole", "x = 1\n", 6)
    torn = write_package(tmp_path, "torn", "x =", 6)
    begun = write_package(tmp_path, "begun", "x = 1\n", 6, record=False)
    (tmp_path / "~alf").mkdir()
    environments._sweep(tmp_path)
    assert [path.exists() for path in (whole, torn, begun, tmp_path / "~alf")] == [True, False, False, False]


def test_half_a_pip_is_taken_away_whole(tmp_path: Path) -> None:
    (tmp_path / "pip").mkdir()
    info = tmp_path / "pip-26.0.dist-info"
    info.mkdir()
    environments._sweep(tmp_path)
    assert not (tmp_path / "pip").exists()


def test_lines_that_are_left_out_are_left_out_whatever_follows_their_name(tmp_path: Path) -> None:
    (tmp_path / "r.txt").write_text(
        "# nodes\ninsightface  # faces\nonnxruntime\nonnxruntime-gpu; sys_platform != 'x'\nOnnxruntime>=1\nonnx==1\n\n"
    )
    wanted = Environment(
        Path("p"), requirements=(Path("r.txt"), Path("none.txt")), leave_out=("onnxruntime", "onnxruntime-gpu")
    )
    assert environments._requirement_lines(wanted, tmp_path) == ["insightface", "onnx==1"]


def test_the_pins_count_by_content(tmp_path: Path) -> None:
    wanted = Environment(Path("p"), files=(Path("constraints.txt"),))
    keys = []
    for text in ("a==1\n", "a==2\n", "a==1\n"):
        (tmp_path / "constraints.txt").write_text(text)
        keys.append(environments._key(wanted, tmp_path, []))
    assert keys[0] == keys[2] != keys[1]
