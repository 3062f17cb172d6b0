"""What is wrong with the installation, and the one line that repairs it.

Imports every package that the code needs, compares versions with the pins, and looks at torch, CUDA, driver, xformers
and onnxruntime, at system libraries, at the face pack, and at the graphics memory that the profile takes.

  python -m pod doctor             look
  python -m pod doctor --fix       look, repair, look again
  python doctor.py --python .venv/bin/python     this file alone, copied anywhere (Python 3.9 or later)
"""

from __future__ import annotations

import argparse
import ctypes
import json
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

NAMES = """accelerate c2pa-python cryptography diffusers dvc dvc-s3 fastapi filelock hydra-core imagehash insightface
jinja2 markupsafe matplotlib numpy omegaconf onnxruntime opencv-python packaging pandas peft pillow prodigyopt
prometheus-client psutil pydantic pyyaml requests rich ruamel.yaml.clib safetensors scipy tensorboard torch transformers
typer uvicorn websockets"""  # pyproject.toml's dependencies
MODULES = {
    "c2pa-python": "c2pa", "dvc-s3": "dvc_s3", "hydra-core": "hydra", "opencv-python": "cv2", "pillow": "PIL",
    "prometheus-client": "prometheus_client", "pyyaml": "yaml", "ruamel.yaml.clib": "_ruamel_yaml",
}  # fmt: skip
NEEDED = {name: MODULES.get(name, name) for name in NAMES.split()}
WHERE_THERE = {"xformers": "xformers.ops", "bitsandbytes": "bitsandbytes", "ray": "ray"}  # imported if installed
MATCHED = ("transformers", "diffusers", "huggingface-hub", "peft", "tokenizers", "accelerate")
RUNTIMES = ("onnxruntime", "onnxruntime-gpu")
LIBRARIES = {"libGL.so.1": "libgl1", "libglib-2.0.so.0": "libglib2.0-0", "libxcb.so.1": "libxcb1"}  # OpenCV's

PROBE = """
import importlib, importlib.metadata, json, sys
found = {}
for d in importlib.metadata.distributions():
    found.setdefault(d.metadata["Name"].lower().replace("_", "-"), []).append(d.version)
print(json.dumps({"found": found}), flush=True)
for name, module in json.loads(sys.argv[1]).items():
    said = {"module": module}
    try:
        it = importlib.import_module(module)
        if module == "torch":
            said.update(version=it.__version__, cuda=it.version.cuda, works=it.cuda.is_available())
        elif module == "onnxruntime":
            said.update(providers=it.get_available_providers())
            built = importlib.import_module("onnxruntime.capi.build_and_package_info")
            said.update(cuda=getattr(built, "cuda_version", ""))
    except BaseException as error:
        said.update(error=f"{type(error).__name__}: {error}".splitlines()[0])
    print(json.dumps(said), flush=True)
"""


@dataclass
class Finding:
    """One thing that was looked at; ``repair``: commands that mend it; ``hint``: what a person must do."""

    status: str  # PASS, WARN, FAIL, SKIPPED
    what: str
    detail: str
    repair: list[list[str]] = field(default_factory=list)
    hint: str = ""

    @property
    def todo(self) -> str:
        """The one line that repairs it."""
        return " && ".join(shlex.join(words) for words in self.repair) or self.hint


@dataclass
class Patient:
    """The installation that is looked at."""

    python: str
    workspace: Path
    versions: dict = field(default_factory=dict)  # distribution -> versions (two: installed twice)
    modules: dict = field(default_factory=dict)  # module -> what its import said
    pins: dict = field(default_factory=dict)  # distribution -> version
    constraints: Path | None = None
    cards: list = field(default_factory=list)  # (driver's CUDA, name, GiB)

    @property
    def device(self) -> str:
        """The profile's, from params.yaml."""
        params = self.workspace / "params.yaml"
        text = params.read_text(encoding="utf-8") if params.is_file() else ""
        found = re.search(r"^machine:\n(?:  .*\n)*?  device: (\S+)", text, re.M)
        return found[1].strip("'\"") if found else "cpu"

    @property
    def pip(self) -> list[str]:
        return [self.python, "-m", "pip", "--disable-pip-version-check", "--no-input"]

    def install(self, *names: str, anew: bool = False) -> list[str]:
        """The command that installs distributions at their pins; ``anew``: their files again, nothing else."""
        pinned = [f"{name}=={self.pins[name]}" if name in self.pins else name for name in names]
        shared = ["--constraint", str(self.constraints)] if self.constraints else []
        return [*self.pip, "install", *shared, *pinned, *(["--force-reinstall", "--no-deps"] if anew else [])]


def listen(command: list[str], timeout: float = 120.0, cwd: Path | None = None) -> tuple[int, str, str]:
    """Code, output and errors of a command; code 127: it cannot be run."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=timeout, cwd=cwd)
    except (OSError, subprocess.TimeoutExpired) as error:
        return 127, "", str(error)
    return done.returncode, done.stdout, done.stderr


def admit(python: str, workspace: Path) -> Patient:
    """Everything that the checks look at, gathered once."""
    patient = Patient(python, workspace, cards=cards())
    wanted = {**NEEDED, **{module: module for module in WHERE_THERE.values()}}
    _, said, error = listen([python, "-c", PROBE, json.dumps(wanted)], timeout=600)
    told = [json.loads(line) for line in said.splitlines() if line.startswith(('{"found"', '{"module"'))]
    if not told:
        raise SystemExit(f"error: {python}: no Python that answers ({error.strip()[-200:]}); make it: make setup")
    patient.versions = told[0]["found"]
    patient.modules = {one["module"]: one for one in told[1:]}
    for module in [module for module in wanted.values() if module not in patient.modules][:1]:
        patient.modules[module] = {"error": f"ends Python: {error.strip()[-200:]}"}  # and all after it are silent
    places = [workspace / "constraints.txt", Path(__file__).resolve().parents[1] / "constraints.txt"]
    patient.constraints = next((path for path in places if path.is_file()), None)
    if patient.constraints:
        for name, version in re.findall(r"^([\w.-]+)==([\w.+!-]+)", patient.constraints.read_text(), re.M):
            patient.pins[name.lower().replace("_", "-")] = version
    return patient


def cards() -> list[tuple[str, str, float]]:
    """(CUDA that the driver knows, name, memory in GiB) of every card that nvidia-smi names."""
    code, said, _ = listen(["nvidia-smi", "--query-gpu=name,memory.total", "--format=csv,noheader,nounits"])
    if code:
        return []
    cuda = re.search(r"CUDA Version:\s*([\d.]+)", listen(["nvidia-smi"])[1])
    rows = [line.rsplit(",", 1) for line in said.splitlines() if "," in line]
    return [(cuda[1] if cuda else "", name.strip(), float(size) / 1024) for name, size in rows]


def check_packages(patient: Patient) -> Iterator[Finding]:
    """Every package there once, at its pin, and importable."""
    faults = []
    for name, module in NEEDED.items():
        if name == "onnxruntime":
            continue  # check_onnxruntime
        versions, error = patient.versions.get(name, []), patient.modules.get(module, {}).get("error")
        pin, again = patient.pins.get(name), [patient.install(name)]
        if not versions:
            faults.append(Finding("FAIL", name, "is not installed", again))
        elif pin and versions[0].split("+")[0] != pin:
            faults.append(Finding("FAIL", name, f"{versions[0]} instead of the pinned {pin}", again))
        elif error and module != "cv2":  # check_libraries
            faults.append(Finding("FAIL", name, f"cannot be imported: {error}", [patient.install(name, anew=True)]))
    pinned = "as pinned" if patient.constraints else "versions not compared: no constraints.txt here"
    yield from faults or [Finding("PASS", "packages", f"{len(NEEDED) - 1} import, {pinned}")]


def check_match(patient: Patient) -> Iterator[Finding]:
    """transformers, diffusers, hub and peft ask for versions of each other."""
    _, said, _ = listen([*patient.pip, "check"])
    lines = [line for line in said.splitlines() if " requires " in line or " has requirement " in line]
    matched = [line for line in lines if line.split()[0].lower().replace("_", "-") in MATCHED]
    versions = ", ".join(f"{name} {patient.versions[name][0]}" for name in MATCHED if name in patient.versions)
    broken = Finding("FAIL", "compatible set", "; ".join(matched), [patient.install(*MATCHED)])
    yield broken if matched else Finding("PASS", "compatible set", versions)


def check_onnxruntime(patient: Patient) -> Iterator[Finding]:
    """One runtime, the one that the device needs; both write into one folder, so the second breaks the first."""
    wanted = RUNTIMES[patient.device.startswith("cuda")]
    there = [name for name in RUNTIMES if name in patient.versions]
    pin, said = patient.pins.get(wanted) or patient.pins.get("onnxruntime"), patient.modules.get("onnxruntime", {})
    version = patient.versions[there[0]][0] if there else ""
    if len(there) != 1:
        why = "onnxruntime and onnxruntime-gpu are both installed" if there else "is not installed"
    elif there != [wanted] and wanted == RUNTIMES[1]:
        why = f"machine.device is {patient.device}, but this is the CPU's"
    elif pin and version != pin:
        why = f"{version} instead of the pinned {pin}"
    elif "error" in said:
        why = f"cannot be imported: {said['error']}"
    elif wanted == RUNTIMES[1] and "CUDAExecutionProvider" not in said.get("providers", []):
        why = f"offers {said.get('providers')}, no CUDA"
    else:
        yield Finding("PASS", "onnxruntime", f"{there[0]} {version}")
        return
    # insightface asks for the CPU's by name, so the wanted one comes last and without its dependencies
    remove = [[*patient.pip, "uninstall", "--yes", *there]] if there else []
    install = [*patient.pip, "install", "--no-deps", f"{wanted}=={pin}" if pin else wanted]
    yield Finding("FAIL", "onnxruntime", why, [*remove, install])


def check_torch(patient: Patient) -> Iterator[Finding]:
    """torch's build, the device of the profile, the driver, and what was compiled for them agree."""
    version = patient.modules.get("torch", {}).get("version")
    if version:
        why, hint = fault_of_torch(patient)
        right = f"{version} on machine.device {patient.device}" + (f", {patient.cards[0][1]}" if patient.cards else "")
        yield Finding("FAIL", "torch", why, hint=hint) if why else Finding("PASS", "torch", right)
    for name, module in WHERE_THERE.items():
        error = patient.modules.get(module, {}).get("error")
        if error and name in patient.versions:
            yield Finding("FAIL", name, f"does not fit torch {version}: {error}", [patient.install(name, anew=True)])


def fault_of_torch(patient: Patient) -> tuple[str, str]:
    """What does not agree, and what to do; empty when all does."""
    said, driver = patient.modules["torch"], patient.cards[0][0] if patient.cards else ""
    cuda, runtime = said.get("cuda") or "", patient.modules.get("onnxruntime", {}).get("cuda") or ""
    major = cuda.split(".")[0]
    if not patient.device.startswith("cuda"):
        return "", ""
    if not cuda:
        why = f"machine.device of the profile is {patient.device}, but torch {said['version']} is built for the CPU"
        return why, "make TORCH_INDEX=https://... setup with CUDA builds, or the CPU's: dvc exp run -S profile=mini"
    if driver and int(major) > int(driver.split(".")[0]):
        why = f"is built for CUDA {cuda}, the driver knows {driver}"
        return why, "rent a pod with a newer driver, or an older torch"
    if not patient.cards or not said.get("works"):
        return f"for CUDA {cuda} finds no card", "rent a pod with a GPU, or see why nvidia-smi is silent"
    if runtime and runtime.split(".")[0] != major:
        return f"for CUDA {cuda}, onnxruntime-gpu for CUDA {runtime}", "onnxruntime-gpu and torch of one CUDA version"
    return "", ""


def check_libraries(patient: Patient) -> Iterator[Finding]:
    """OpenCV loads these from the system."""
    error, missing = patient.modules.get("cv2", {}).get("error"), []
    for library in LIBRARIES if sys.platform == "linux" else ():
        try:
            ctypes.CDLL(library)
        except OSError:
            missing.append(library)
    system = ["apt-get", "install", "-y", *(LIBRARIES[name] for name in missing)]
    repair = system if missing else patient.install("opencv-python", anew=True)
    what = f"OpenCV cannot be loaded: {error}" + f"; not there: {', '.join(missing)}" * bool(missing)
    yield Finding("FAIL", "system libraries", what, [repair]) if error else Finding("PASS", "OpenCV", "loads")


Check = Callable[[Patient], Iterable[Finding]]
CHECKS: tuple[Check, ...] = (check_packages, check_match, check_onnxruntime, check_torch, check_libraries)


def examine(python: str, workspace: Path, more: Sequence[Check] = ()) -> list[Finding]:
    """Every check, one after the other."""
    patient = admit(python, workspace)
    return [finding for check in (*CHECKS, *more) for finding in check(patient)]


def repair(findings: list[Finding], say: Callable[[str], None]) -> None:
    """Run every repair once, in order."""
    for words in dict.fromkeys(tuple(w) for found in findings if found.status == "FAIL" for w in found.repair):
        say(f"repair: {shlex.join(words)}")
        code, said, error = listen([*words], 7200)
        if code:
            say(f"        ended with code {code}: {(error or said).strip()[-300:]}")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the doctor."""
    parser.add_argument("--fix", action="store_true", help="run the repairs, then look again")
    parser.add_argument("--python", help="interpreter to look at; default: the workspace's, else this one")
    parser.add_argument("--workspace", type=Path, help="folder with params.yaml and constraints.txt; default: here")


def run(arguments: argparse.Namespace) -> int:
    """`python -m pod doctor`: the checks of this file, and those of the weights."""
    from pod.doctor_table import run_in_pod

    return run_in_pod(arguments)


def main() -> int:
    """This file alone, copied anywhere."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    add_arguments(parser)
    arguments = parser.parse_args()
    python, workspace = arguments.python or sys.executable, arguments.workspace or Path.cwd()
    findings = examine(python, workspace)
    if arguments.fix and any(finding.status == "FAIL" for finding in findings):
        repair(findings, lambda line: print(line, file=sys.stderr))
        findings = examine(python, workspace)
    rows = [{"status": f.status, "what": f.what, "detail": f.detail, "todo": f.todo} for f in findings]
    if arguments.json:
        print(json.dumps({"rows": rows}, indent=2))
    for row in [] if arguments.json else rows:
        print("{status:<8}{what}: {detail}".format(**row) + (f"\n{'':8}-> {row['todo']}" if row["todo"] else ""))
    return int(any(row["status"] == "FAIL" for row in rows))


if __name__ == "__main__":
    sys.exit(main())
