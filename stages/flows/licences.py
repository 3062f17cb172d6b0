"""Under which licences pictures are drawn and judged, and whether they allow the declared use.

No licence stands in the code: conf/models names those of base models and classifiers, judges.* those of judges,
promotion.licences other bases, promotion.conditioning what a ComfyUI workflow loads beside base and LoRA.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath

from stages.contracts.comfyui_settings import ComfyUI
from stages.contracts.models import read_registry
from stages.contracts.paths import PARAMS, REGISTRY
from stages.contracts.settings import Judges, Promotion
from stages.contracts.workflows import read_workflow
from stages.runtime.errors import UserError

BASE, CONDITIONING, SAFETY = "base", "conditioning", "safety"
NON_COMMERCIAL = "non-commercial"
FORBIDDING = (NON_COMMERCIAL, "noncommercial", "-nc")  # in the names of such licences: conf/ says so, or CC-BY-NC-4.0
UNKNOWN = "unknown"
WEIGHTS = frozenset({".safetensors", ".bin", ".pt", ".pth", ".ckpt", ".onnx", ".gguf"})
FILLED = frozenset({"checkpoint", "lora"})  # roles whose file is the base, or the person's own LoRA


def licences_of(
    base: Path, mode: str, backend: str, judges: Judges, comfyui: ComfyUI, promotion: Promotion,
    classifier: Path | None = None,
) -> dict[str, str]:  # fmt: skip
    """Who takes part in a picture -> licence: base, each judge, and every model that conditions; unknown where no
    setting says it.

    Args:
        base: folder of the base model.
        mode: of the cell, for example lora+instantid.
        backend: who draws; only comfyui has workflows.
        judges: who judges.
        comfyui: where the mode's workflow is.
        promotion: what is known of licences that conf/models does not name.
        classifier: policy.classifier, where pictures are judged by one.

    Raises:
        UserError: when the workflow of the mode cannot be read.
    """
    found = {BASE: licence_of_folder(base, promotion)} | {name: judge.licence for name, judge in judges}
    if classifier is not None:
        found[SAFETY] = licence_of_folder(classifier, promotion)
    if backend == "comfyui" and mode in comfyui.workflows:
        known = promotion.conditioning
        found |= {f"{CONDITIONING} {name}": known.get(name, UNKNOWN) for name in _conditioners(comfyui, mode, known)}
    return found


def licence_of_folder(folder: Path, promotion: Promotion) -> str:
    """Of a base model or classifier: as conf/models says, else promotion.licences."""
    known = {path.as_posix(): licence for path, licence in promotion.licences.items()}
    if REGISTRY.is_dir():
        known |= {model.folder.as_posix(): model.licence for model in read_registry().values()}
    return known.get(folder.as_posix(), UNKNOWN)


def _conditioners(comfyui: ComfyUI, mode: str, known: Mapping[str, str]) -> Iterator[str]:
    """Files that a workflow loads beside base and LoRA, and packs and nodes that promotion.conditioning names."""
    workflow = read_workflow(comfyui.workflows[mode])
    filled = {workflow.roles.get(role) for role in FILLED}
    named: dict[str, None] = {}
    for number, node in workflow.graph.items():
        words = [node["class_type"], *(value for value in node["inputs"].values() if isinstance(value, str))]
        for word in [] if number in filled else words:
            if word in known or PurePosixPath(word.replace("\\", "/")).suffix.lower() in WEIGHTS:
                named[word] = None
    yield from named


def find_forbidding(licences: Mapping[str, str], use: str) -> list[str]:
    """``who: licence`` of everything whose licence does not allow ``use``; an unknown one allows no commercial use."""
    if use == NON_COMMERCIAL:
        return []
    return [f"{who}: {licence}" for who, licence in sorted(licences.items()) if _forbids(licence)]


def require_licences(licences: Mapping[str, str], use: str) -> None:
    """Say nothing, or refuse to draw.

    Raises:
        UserError: one line that names every licence that does not allow ``use`` (promotion.use).
    """
    forbidding = find_forbidding(licences, use)
    if forbidding:
        what = f"promotion.use is {use}, which is not allowed by {'; '.join(forbidding)}"
        raise UserError(PARAMS, what, "draw and judge with other models, or declare another use")


def _forbids(licence: str) -> bool:
    return licence == UNKNOWN or any(word in licence.lower() for word in FORBIDDING)
