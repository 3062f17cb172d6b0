"""The doctor names what is wrong with a real environment, and repairs it: planted with tiny wheels of real names."""

import json
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from pod_wheels import Repository, build_wheel

from pod import doctor

ROOT = Path(__file__).parents[2]
PINS = dict.fromkeys((*doctor.NEEDED, "huggingface-hub", "tokenizers", "onnxruntime-gpu"), "1.0")
HUB = ["huggingface-hub>=1.0,<2.0"]
NEEDS = {"transformers": HUB, "diffusers": HUB, "insightface": ["onnxruntime"]}
TORCH = "__version__ = '1.0+cpu'\nclass version: cuda = None\nclass cuda: is_available = staticmethod(lambda: False)\n"
PARAMS = """machine:
  device: {device}
caption:
  backend: template
  model: null
train:
  base: models/base
judges:
  faces:
    path: packs/tiny
    licence: MIT
"""


def body(name: str) -> dict[str, str]:
    module = doctor.NEEDED.get(name, name.replace("-", "_")).split(".")[0]
    if name in doctor.RUNTIMES:
        built = "" if name == "onnxruntime" else "cuda_version = '13.0'\n"
        text = f"def get_available_providers(): return ['{'CUDA' if built else 'CPU'}ExecutionProvider']\n"
        return {"onnxruntime/__init__.py": text, "onnxruntime/capi/__init__.py": "",
                "onnxruntime/capi/build_and_package_info.py": built}  # fmt: skip
    return {f"{module}/__init__.py": TORCH if name == "torch" else ""}


class Clinic:
    """A workspace with an environment of tiny wheels and a face pack in git."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.wheels = folder / "work", folder / "wheels"
        for name, version in PINS.items():
            build_wheel(self.wheels, name, version, body(name), NEEDS.get(name, ()))
        build_wheel(self.wheels, "transformers", "2.0", body("transformers"), ["huggingface-hub>=2.0"])
        repository = Repository(self.folder)
        repository.commit({
            "constraints.txt": "".join(f"{name}=={version}\n" for name, version in PINS.items()),
            "params.yaml": PARAMS.format(device="cpu"),
            "packs/tiny/det.onnx": "detector" * 50, "packs/tiny/rec.onnx": "recogniser" * 50,
        })  # fmt: skip
        subprocess.run([sys.executable, "-m", "venv", str(folder / "venv")], check=True)
        self.python = str(folder / "venv/bin/python")
        self.environment = {**os.environ, "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(self.wheels),
                            "PYTHONPATH": str(ROOT)}  # fmt: skip
        self.pip("install", "--quiet", *(f"{name}=={v}" for name, v in PINS.items() if name != "onnxruntime-gpu"))

    def pip(self, *words: str) -> None:
        environment = {key: value for key, value in self.environment.items() if key != "PYTHONPATH"}
        subprocess.run([self.python, "-m", "pip", *words], check=True, capture_output=True, env=environment)

    def run(self, *words: str) -> tuple[int, dict[str, dict[str, str]]]:
        command = [sys.executable, "-m", "pod", "doctor", "--json", "--python", self.python, *words]
        done = subprocess.run(command, cwd=self.folder, env=self.environment, capture_output=True, text=True)
        assert done.stdout, done.stderr
        return done.returncode, {row["what"]: row for row in json.loads(done.stdout)["rows"]}


@pytest.fixture(scope="module")
def healthy(tmp_path_factory: pytest.TempPathFactory) -> Clinic:
    return Clinic(tmp_path_factory.mktemp("clinic"))


def test_the_doctor_imports_what_the_project_depends_on() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert set(doctor.NEEDED) == set(project["dependencies"])
    optional = [*project["optional-dependencies"]["gpu"], *project["optional-dependencies"]["scale"]]
    extras = {name for name in optional if name not in doctor.RUNTIMES}
    assert extras == set(doctor.WHERE_THERE)


@pytest.mark.slow
def test_five_planted_breakages_are_named_and_those_that_can_be_are_repaired(healthy: Clinic) -> None:
    code, rows = healthy.run()
    assert (code, [row for row in rows.values() if row["status"] == "FAIL"]) == (0, [])
    healthy.pip("install", "--quiet", "--no-deps", "transformers==2.0")
    healthy.pip("install", "--quiet", "--no-deps", "onnxruntime-gpu==1.0")
    healthy.pip("uninstall", "--quiet", "--yes", "prodigyopt")
    pack = healthy.folder / "packs/tiny/rec.onnx"
    pack.write_bytes(pack.read_bytes()[:100])
    (healthy.folder / "params.yaml").write_text(PARAMS.format(device="cuda"))

    code, rows = healthy.run()
    assert code == 1
    assert rows["transformers"]["detail"] == "2.0 instead of the pinned 1.0"
    assert rows["compatible set"]["status"] == "FAIL"
    assert "both installed" in rows["onnxruntime"]["detail"]
    assert rows["prodigyopt"]["detail"] == "is not installed"
    assert "not as committed" in rows["face pack"]["detail"]
    assert "machine.device of the profile is cuda, but torch 1.0+cpu is built for the CPU" in rows["torch"]["detail"]
    assert all(rows[name]["todo"] for name in ("transformers", "onnxruntime", "prodigyopt", "face pack", "torch"))

    code, rows = healthy.run("--fix")
    assert [name for name, row in rows.items() if row["status"] == "FAIL"] == ["torch"]
    assert rows["onnxruntime"]["detail"] == "onnxruntime-gpu 1.0"
    assert pack.read_text() == "recogniser" * 50
    (healthy.folder / "params.yaml").write_text(PARAMS.format(device="cpu"))
    assert healthy.run()[0] == 0
    assert healthy.run("--fix")[0] == 0


def find_old_python() -> str:
    """The oldest Python from 3.9 on that runs here."""
    installed = sorted((Path.home() / ".pyenv/versions").glob("3.9.*/bin/python"))
    for python in (*map(str, installed), "python3.9", "python3.10"):
        if shutil.which(python) and subprocess.run([python, "--version"], capture_output=True).returncode == 0:
            return python
    return sys.executable


@pytest.mark.slow
def test_the_file_works_alone_in_an_old_python(healthy: Clinic, tmp_path: Path) -> None:
    shutil.copy(ROOT / "pod/doctor.py", tmp_path / "doctor.py")
    python = find_old_python()
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    command = [python, "doctor.py", "--python", healthy.python, "--workspace", str(healthy.folder)]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    count = len(doctor.NEEDED) - 1  # onnxruntime has a line of its own
    assert f"PASS    packages: {count} import, as pinned\n" in done.stdout, done.stdout + done.stderr
    assert done.returncode == 0
    nothing = subprocess.run(
        [python, "doctor.py", "--python", "/no/python"], cwd=tmp_path, capture_output=True, text=True
    )
    assert "no Python that answers" in nothing.stderr


def patient(device: str, tmp_path: Path, **said: object) -> doctor.Patient:
    (tmp_path / "params.yaml").write_text(PARAMS.format(device=device))
    torch = {"version": "2.13.0", "cuda": "13.0", "works": True}
    found = doctor.Patient("python", tmp_path, {"onnxruntime-gpu": ["1.31.1"]}, {"torch": torch, "onnxruntime": {}})
    found.cards = [("13.2", "RTX 4090", 24.0)]
    for name, value in said.items():
        setattr(found, name, value)
    return found


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ({}, ""),
        ({"cards": [("12.8", "RTX 4090", 24.0)]}, "is built for CUDA 13.0, the driver knows 12.8"),
        ({"cards": []}, "for CUDA 13.0 finds no card"),
        (
            {"modules": {"torch": {"version": "2", "cuda": "13.0", "works": True}, "onnxruntime": {"cuda": "12.4"}}},
            "for CUDA 13.0, onnxruntime-gpu for CUDA 12.4",
        ),
    ],
)
def test_torch_and_driver_and_onnxruntime_are_of_one_cuda(tmp_path: Path, said: dict[str, object], why: str) -> None:
    assert doctor.fault_of_torch(patient("cuda:0", tmp_path, **said))[0] == why


def test_on_a_card_the_cpu_s_onnxruntime_is_replaced_last_and_without_dependencies(tmp_path: Path) -> None:
    sick = patient("cuda", tmp_path, versions={"onnxruntime": ["1.31.1"]}, pins={"onnxruntime": "1.31.1"})
    [finding] = doctor.check_onnxruntime(sick)
    assert finding.status == "FAIL"
    assert finding.todo.endswith("pip --disable-pip-version-check --no-input install --no-deps onnxruntime-gpu==1.31.1")
    assert "uninstall --yes onnxruntime " in finding.todo


BACKEND = """
from pathlib import Path
from pod_wheels import build_wheel as build
def build_editable(folder, settings=None, metadata=None):
    return build(Path(folder), "pistachio", "0.1.0", {"pistachio_is_here.py": ""}, NEEDS).name
"""


@pytest.mark.slow
def test_make_setup_for_a_gpu_leaves_one_onnxruntime(healthy: Clinic, tmp_path: Path) -> None:
    """The Makefile's own lines, on a project that asks for what ours asks for."""
    for file in ("Makefile", "tests/pod_wheels.py"):
        shutil.copy(ROOT / file, tmp_path)
    needs = ["insightface", "onnxruntime", "opencv-python", "onnxruntime-gpu ; extra == 'gpu'"]
    (tmp_path / "backend.py").write_text(f"NEEDS = {needs!r}\n{BACKEND}")
    shutil.copy(healthy.folder / "constraints.txt", tmp_path)
    (tmp_path / "pyproject.toml").write_text(
        '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
        '[project]\nname = "pistachio"\nversion = "0.1.0"\noptional-dependencies = {gpu = []}\n'
    )
    command = ["make", f"PYTHON={sys.executable}", "TORCH=torch==1.0", "EXTRAS=gpu", "setup"]
    environment = {key: value for key, value in healthy.environment.items() if key != "PYTHONPATH"}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    [site] = (tmp_path / ".venv").glob("lib/python*/site-packages")
    installed = {path.name.split("-")[0] for path in site.glob("*.dist-info")}
    assert {"onnxruntime_gpu", "insightface", "torch"} <= installed
    assert "onnxruntime" not in installed
    assert "CUDAExecutionProvider" in (site / "onnxruntime/__init__.py").read_text()
