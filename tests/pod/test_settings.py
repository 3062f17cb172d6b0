"""pod.toml and the owner's file over it."""

import os
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from pod.errors import PodError
from pod.settings import TABLES, Places, read_settings
from pod.startup_settings import Startup


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


def test_a_table_inside_a_table_needs_to_name_only_what_differs_and_a_list_is_replaced_whole(tmp_path: Path) -> None:
    config = write(tmp_path, '[startup.comfyui]\ncommit = ""\n[startup.environments.comfyui]\nbase = "python3.12"\n')
    found = read_settings("startup", Startup, config)
    assert found.comfyui is not None
    assert (found.comfyui.name, found.comfyui.commit) == ("ComfyUI", "")
    assert found.environments is not None
    assert found.environments["comfyui"].base == "python3.12"
    assert found.environments["comfyui"].install != ()
    with pytest.raises(PodError, match=r"startup.models\[0\].url: is missing"):
        read_settings("startup", Startup, write(tmp_path, '[[startup.models]]\npath = "x"\n'))


@pytest.mark.parametrize("value", ["-1.0", "nan", "inf", "-1"])
@pytest.mark.usefixtures("no_defaults")
def test_a_number_below_0_or_without_end_is_named(tmp_path: Path, value: str) -> None:
    with pytest.raises(PodError, match="cycle.rate: .* is no number from 0 on"):
        read_settings("cycle", Watched, write(tmp_path, f"[cycle]\nrate = {value}\n"))


@pytest.mark.parametrize("url", ["nonsense", "", "file:///etc/passwd", "http://", "http://[::1", "http://x:99999"])
def test_an_address_of_ComfyUI_that_is_none_is_named(tmp_path: Path, url: str) -> None:
    with pytest.raises(PodError, match="pod.comfyui_url: .* is no address"):
        read_settings("pod", Places, write(tmp_path, f'[pod]\ncomfyui_url = "{url}"\n'))


def test_a_workspace_in_the_owner_s_file_starts_at_that_file_wherever_a_program_is_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = write(tmp_path, '[pod]\nworkspace = "Ada Übung"\n')
    (tmp_path / "Ada Übung").mkdir()
    for folder in (tmp_path, tmp_path / "Ada Übung"):
        monkeypatch.chdir(folder)
        assert read_settings("pod", Places, config).workspace == tmp_path / "Ada Übung"


def test_programs_that_are_started_read_the_same_settings_and_find_a_python(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, "")
    monkeypatch.chdir(tmp_path)
    places = read_settings("pod", Places, Path("my.toml"))
    variables = places.activated(Path("my.toml"))
    assert variables["PISTACHIO_POD"] == str(tmp_path / "my.toml")
    assert places.interpreter == sys.executable  # there is no .venv
    assert variables["PATH"].split(os.pathsep)[0] == str(Path(sys.executable).parent)
    own = tmp_path / places.python
    own.parent.mkdir(parents=True)
    own.touch()
    assert places.interpreter == str(own)
    assert places.activated()["PATH"].split(os.pathsep)[0] == str(own.parent)
