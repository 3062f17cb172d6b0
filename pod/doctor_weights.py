"""The doctor's look at weights: the face pack file by file, and the graphics memory that the profile takes."""

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path

from pod.doctor import Finding, Patient, listen
from pod.files import sha256_file

GIB = 2**30
CUDA_GIB = 0.8  # CUDA itself with its workspaces, about
PICTURE_GIB = 0.5  # of a captioner at work, per picture of its micro-batch: an allowance, not a measurement
MEMORY_S = 300.0


def setting(path: Path, *keys: str) -> str:
    """A plain value in a YAML file as params.yaml is written."""
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    for depth, key in enumerate(keys):
        indent = "  " * depth
        found = re.search(rf"^{indent}{re.escape(key)}:[ ]?(.*)\n((?:{indent}  .*\n|\n)*)", text + "\n", re.M)
        if not found:
            return ""
        text = found[1] if depth == len(keys) - 1 else found[2]
    return text.strip().strip("'\"")


def check_pack(patient: Patient) -> Iterator[Finding]:
    """The face pack that the profile names: complete, every file as it was published or committed."""
    name = setting(patient.workspace / "params.yaml", "judges", "faces", "path")
    folder = patient.workspace / name
    if not name:
        yield Finding("SKIPPED", "face pack", "no params.yaml here that names one")
        return
    registry = [path for path in (patient.workspace / "conf/models").glob("*.yaml") if setting(path, "folder") == name]
    if registry:
        wanted = re.findall(
            r"^  (\S+):\n(?:    from: .*\n)?    size: (\d+)\n    sha256: (\w{64})", registry[0].read_text(), re.M
        )
        bad = [fault for fault in (fault_of(folder / file, int(size), sha) for file, size, sha in wanted) if fault]
        repair = [[patient.python, "-m", "stages", "models", "get", registry[0].stem]]
        status, detail = (
            ("FAIL", "; ".join(bad)) if bad else ("PASS", f"{name}: {len(wanted)} files, hashes as published")
        )
        yield Finding(status, "face pack", detail, repair if bad else [])
        return
    code, said, _ = listen(["git", "status", "--porcelain", "--", name], cwd=patient.workspace)
    files = sorted(folder.glob("*.onnx"))
    if code == 0 and said.strip():
        changed = ", ".join(line[3:] for line in said.splitlines())
        yield Finding(
            "FAIL",
            "face pack",
            f"not as committed: {changed}",
            [["git", "-C", str(patient.workspace), "checkout", "--", name]],
        )
    elif len(files) < 2:
        hint = f"a detector and a recogniser belong into {name}"
        yield Finding("FAIL", "face pack", f"{name} holds {len(files)} .onnx files", hint=hint)
    else:
        known = "as committed" if code == 0 else "no git here to compare them with"
        yield Finding("PASS", "face pack", f"{name}: {len(files)} files, {known}")


def fault_of(path: Path, size: int, sha256: str) -> str:
    """What is wrong with a file; empty when nothing is."""
    if not path.is_file():
        return f"{path.name} is not there"
    if path.stat().st_size != size:
        return f"{path.name} has {path.stat().st_size} bytes instead of {size}"
    return "" if sha256_file(path) == sha256 else f"{path.name} has another sha256"


def memory_check(default_gib: float) -> Callable[[Patient], Iterator[Finding]]:
    """The check of graphics memory; ``default_gib``: of the card to be rented, where this machine has none."""

    def check(patient: Patient) -> Iterator[Finding]:
        name, there = (patient.cards[0][1:]) if patient.cards else ("a card", default_gib)
        for what, parts in (("captioning", captioning_parts(patient)), ("training", training_parts(patient))):
            if isinstance(parts, str):
                yield Finding("SKIPPED", f"memory for {what}", parts)
                continue
            total = sum(parts.values())
            sums = " + ".join(f"{gib:.2f} ({part})" for part, gib in parts.items() if gib)
            detail = f"{sums} = {total:.1f} of {there:.0f} GiB ({name})"
            hint = "" if total <= there else f"lower {what_to_lower(what)} in conf/"
            yield Finding("PASS" if total <= there else "FAIL", f"memory for {what}", detail, hint=hint)

    return check


def what_to_lower(what: str) -> str:
    """The setting that takes most."""
    return "caption.micro_batch" if what == "captioning" else "train.batch (or set train.gradient_checkpointing)"


def captioning_parts(patient: Patient) -> "dict[str, float] | str":
    """GiB by what holds them; a sentence where that cannot be said."""
    params = patient.workspace / "params.yaml"
    model, backend = setting(params, "caption", "model"), setting(params, "caption", "backend")
    if not model or model == "null":
        return f"caption.backend {backend or '(no params.yaml)'} takes no model"
    values = count_values(patient.workspace, model)
    if values is None:
        return f"{model} is not here, and conf/models does not say how large it is"
    batch = int(setting(params, "caption", "micro_batch") or 1)
    return {
        f"{values / 1e9:.2f} G values of {Path(model).name}, float16": values * 2 / GIB,
        f"{batch} pictures at {PICTURE_GIB:g}": batch * PICTURE_GIB,
        "CUDA itself": CUDA_GIB,
    }


def count_values(workspace: Path, model: str) -> "float | None":
    """Trained values of a model: from the headers of its files, else from the sizes that conf/models gives."""
    files = sorted((workspace / model).rglob("*.safetensors"))
    if files:
        return sum(count_in_header(path) for path in files)
    for path in (workspace / "conf/models").glob("*.yaml"):
        folder = setting(path, "folder")
        if folder and f"{model}/".startswith(f"{folder}/"):
            text, part = path.read_text(encoding="utf-8"), re.escape(f"{model}/"[len(folder) + 1 :])
            sizes = re.findall(rf"^  {part}\S*\.safetensors:\n(?:    from: .*\n)?    size: (\d+)", text, re.M)
            return sum(map(int, sizes)) / (4 if "float32" in text else 2)
    return None


def count_in_header(path: Path) -> int:
    """Values in a safetensors file."""
    with path.open("rb") as stream:
        header = json.loads(stream.read(int.from_bytes(stream.read(8), "little")))
    count = 0
    for name, tensor in header.items():
        if name != "__metadata__":
            values = 1
            for side in tensor["shape"]:
                values *= side
            count += values
    return count


def training_parts(patient: Patient) -> "dict[str, float] | str":
    """What `pistachio memory` counts, in GiB, with the base's text encoders and autoencoder."""
    command = [patient.python, "-m", "stages", "memory", "--json"]
    code, said, error = listen(command, MEMORY_S, patient.workspace)
    if code or not said.strip().startswith("{"):
        last = (error.strip().splitlines() or ["it said nothing"])[-1]
        return f"`pistachio memory` ended with code {code}: {last}"
    parts = {what: size / GIB for what, size in json.loads(said).items()}
    base = setting(patient.workspace / "params.yaml", "train", "base")
    others = [count_values(patient.workspace, f"{base}/{part}") for part in ("text_encoder", "text_encoder_2", "vae")]
    values = sum(value for value in others if value)
    return {**parts, f"{values / 1e9:.2f} G values of text encoders and autoencoder, float32 at most": values * 4 / GIB}
