"""pod.toml and the owner's file over it."""

from dataclasses import dataclass
from pathlib import Path

import pytest

from pod.errors import PodError
from pod.settings import TABLES, Places, read_settings


@dataclass(frozen=True)
class Part:
    name: str
    size: int | None = None


@dataclass(frozen=True)
class Watched:
    rate: float = 1.0
    parts: tuple[Part, ...] = ()
    rates: dict[str, float] | None = None


def write(folder: Path, text: str) -> Path:
    (folder / "my.toml").write_text(text)
    return folder / "my.toml"


def test_the_owner_s_file_needs_to_name_only_what_differs(tmp_path: Path) -> None:
    places = read_settings("pod", Places, write(tmp_path, '[pod]\ncomfyui = "/opt/ComfyUI"\n'))
    assert places.comfyui == Path("/opt/ComfyUI")
    assert places.comfyui_url == "http://127.0.0.1:8188"


def test_the_environment_names_the_owner_s_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PISTACHIO_POD", str(write(tmp_path, '[pod]\nstate = "elsewhere"\n')))
    assert read_settings("pod", Places).state == Path("elsewhere")


@pytest.fixture
def no_defaults(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """pod.toml is empty: the tests' own dataclass is no real table's."""
    (tmp_path / "pod.toml").touch()
    monkeypatch.setattr("pod.settings.DEFAULTS", tmp_path / "pod.toml")


@pytest.mark.usefixtures("no_defaults")
def test_lists_of_tables_and_whole_numbers_are_read_as_annotated(tmp_path: Path) -> None:
    text = '[cycle]\nrate = 2\nparts = [{name = "a"}, {name = "b", size = 3}]\n[cycle.rates]\nx = 1\n'
    found = read_settings("cycle", Watched, write(tmp_path, text))
    assert found == Watched(2.0, (Part("a"), Part("b", 3)), {"x": 1.0})


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[pod]\ncomfy = "x"\n', "pod.comfy: no such key; known: workspace, comfyui"),
        ("[pods]\n", "no table [pods]; known: pod, startup"),
        ("[pod]\ncomfyui = 3\n", "pod.comfyui: 3 is not Path"),
        ("[pod\n", "cannot be read"),
    ],
)
def test_what_is_wrong_is_named_with_its_path(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(PodError) as error:
        read_settings("pod", Places, write(tmp_path, text))
    assert said in error.value.line
    assert "my.toml" in error.value.line


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[cycle]\nparts = [{size = 3}]\n", "cycle.parts[0].name: is missing"),
        ('[cycle]\nparts = [{name = "a", sise = 3}]\n', "cycle.parts[0].sise: no such key"),
        ("[cycle]\nrate = true\n", "cycle.rate: True is not float"),
    ],
)
@pytest.mark.usefixtures("no_defaults")
def test_faults_inside_lists_are_named_too(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(PodError, match="") as error:
        read_settings("cycle", Watched, write(tmp_path, text))
    assert said in error.value.line


def test_a_file_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(PodError, match="there is no such file"):
        read_settings("pod", Places, tmp_path / "none.toml")
    assert "pod" in TABLES
