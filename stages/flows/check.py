"""Everything that can be known to be wrong before a stage runs: DVC removes a stage's outs first and starts it then."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from stages.backends.door import load_class
from stages.backends.train.kohya_options import list_refusals
from stages.backends.train.kohya_process import find_scripts
from stages.contracts.comparison import METRICS
from stages.contracts.models import Model, read_registry
from stages.contracts.paths import PARAMS, REGISTRY, SUBJECT, VERSIONS
from stages.contracts.policy import Policy
from stages.contracts.protocol import fill
from stages.contracts.settings import (
    SECTIONS,
    Caption,
    ComfyUI,
    Compare,
    Dataset,
    Eval,
    Judges,
    Machine,
    Promotion,
    Regularize,
    Section,
    Sweep,
    Train,
    everything,
    find_problems,
    read_yaml,
)
from stages.flows.captioning import refuse_trigger
from stages.flows.code import find_other_code
from stages.flows.comfyui_check import Wanted, list_comfyui_problems
from stages.flows.photo_check import list_photo_problems
from stages.flows.policy import PromptPolicy
from stages.flows.subject import list_subject_problems
from stages.flows.versions import list_versions
from stages.runtime.errors import RIGHTS, ROOM, UserError
from stages.runtime.turns import someone_works

WRITTEN = (Path("data"), Path("models"), Path("metrics"))  # where the stages write
LEAST_FREE_MB = 256


def list_problems(path: Path = PARAMS, *, files: bool = True) -> list[str]:
    """One line per problem of params.yaml: wrong keys and values and, with ``files``, what would stop a stage.

    That is: files and folders that params.yaml names and that are not there, photos that cannot be used, a folder that
    cannot be written, a full disk, and another stage at work.

    Raises:
        UserError: when params.yaml is missing or is not YAML.
    """
    values = read_yaml(path)
    problems = find_problems(everything(), values)
    made = outs_of_dvc() if files else set()
    registry = _registry()
    for name in SECTIONS:
        section = _section(name, values)
        if section is None:
            continue
        problems += _disagreements(name, section) + list(_other_licences(section, registry))
        if files:
            problems += [line for key, named in _named(section) for line in _absent(key, named, made, registry)]
        if files and isinstance(section, Dataset) and section.photos.exists():
            machine = _section("machine", values)
            workers, state_dir = (machine.workers, machine.state_dir) if isinstance(machine, Machine) else (1, None)
            problems += list_photo_problems(section, workers, state_dir)
    problems += _dropped_trigger(_section("dataset", values), _section("caption", values))
    problems += _no_class_images(_section("regularize", values), _section("train", values))
    problems += _needs_comfyui(_section("sweep", values))
    problems += _refused_prompts({name: _section(name, values) for name in SECTIONS})
    problems += _not_for_kohya(_section("train", values), _section("machine", values), files=files)
    if files:
        problems += _not_allowed(_section("dataset", values), _section("promotion", values))
        problems += _what_comfyui_lacks({name: _section(name, values) for name in SECTIONS})
        problems += _obstacles() + [line for line in [find_other_code()] if line]
    return list(dict.fromkeys(problems))


def _obstacles() -> list[str]:
    """What would stop any stage from writing its artifacts."""
    folders = [folder for folder in (Path(), *WRITTEN) if folder.exists()]
    problems = [
        str(UserError(folder, "cannot be written", RIGHTS)) for folder in folders if not os.access(folder, os.W_OK)
    ]
    free = shutil.disk_usage(Path()).free // 1_000_000
    if free < LEAST_FREE_MB:
        problems.append(str(UserError("the disk", f"{free} MB are free, {LEAST_FREE_MB} are the least", ROOM)))
    if someone_works():
        problems.append(str(UserError(Path.cwd(), "a stage is at work in this folder", "wait for it, or end it")))
    return problems


def _section(name: str, values: dict[str, Any]) -> Section | None:
    """A section that is right in itself; what is wrong with the others has been said."""
    try:
        return SECTIONS[name].model_validate(values.get(name))
    except ValidationError:
        return None


def _disagreements(name: str, section: Section) -> list[str]:
    """What a section says that the rest of the workspace does not know."""
    problems = []
    backend = getattr(section, "backend", "")
    if ":" in backend:
        try:
            load_class(f"{name}.backend", backend)
        except UserError as error:
            problems.append(str(error))
    if isinstance(section, Compare):
        unknown = sorted({*section.equivalence, *section.guarded} - set(METRICS))
        problems += [f"compare: no such metric: {metric} (known: {', '.join(METRICS)})" for metric in unknown]
        versions = list_versions()
        if section.baseline not in ("none", *versions):
            known = ", ".join(versions) or "none yet"
            problems.append(f"compare.baseline: no version {section.baseline!r} in {VERSIONS} (there is: {known})")
    if isinstance(section, Caption) and section.model is None:
        problems.append("caption.model: not set (dvc.yaml names it as a dependency, whatever the backend)")
    return problems


def _dropped_trigger(dataset: Section | None, caption: Section | None) -> list[str]:
    """What the caption stage would refuse after DVC has deleted the captions."""
    if isinstance(dataset, Dataset) and isinstance(caption, Caption):
        try:
            refuse_trigger(caption.drop, dataset.trigger, "caption.drop")
        except UserError as error:
            return [str(error)]
    return []


def _no_class_images(regularize: Section | None, train: Section | None) -> list[str]:
    """What the train stage would refuse after DVC has deleted the LoRA."""
    match regularize, train:
        case Regularize(source="none"), Train(prior_batch=count, prior_weight=weight) if count and weight:
            return [f"train.prior_batch: is {count}, but regularize.source is none; set it to 0, or the source to base"]
    return []


def _not_allowed(dataset: Section | None, promotion: Section | None) -> list[str]:
    """What the subject card says against the first stage and every other."""
    use = promotion.use if isinstance(promotion, Promotion) else Promotion().use
    return (
        [f"{SUBJECT}: {line}" for line in list_subject_problems(dataset, use)] if isinstance(dataset, Dataset) else []
    )


def _refused_prompts(sections: dict[str, Section | None]) -> Iterator[str]:
    """Prompts of any section that the policy forbids."""
    dataset, policy = sections["dataset"], sections["policy"]
    rules = PromptPolicy(policy if isinstance(policy, Policy) else Policy())
    for name, section in sections.items():
        drawn = {name: section, f"{name}.samples": getattr(section, "samples", None)}
        for key, draw in drawn.items():
            for number, prompt in enumerate(getattr(draw, "prompts", ())):
                text = fill(prompt, dataset) if isinstance(dataset, Dataset) else prompt
                refused = rules.find_objection(text, getattr(draw, "negative_prompt", ""))
                if refused is not None:
                    yield f"{key}.prompts.{number}: {refused.what}; {refused.todo}"


def _needs_comfyui(sweep: Section | None) -> list[str]:
    """Modes that the backend does not know."""
    if isinstance(sweep, Sweep) and sweep.backend == "diffusers" and set(sweep.modes) != {"lora"}:
        return ["sweep.modes: backend diffusers knows lora alone; draw the others with generate=comfyui"]
    return []


def _what_comfyui_lacks(sections: dict[str, Section | None]) -> list[str]:
    """What the servers lack that sweep and eval would draw with."""
    match [sections[name] for name in ("sweep", "eval", "comfyui", "machine")]:
        case [Sweep() as sweep, Eval() as judged, ComfyUI() as comfyui, Machine() as machine] if "comfyui" in (
            sweep.backend, judged.backend
        ):  # fmt: skip
            return list_comfyui_problems(machine, comfyui, Wanted.of(sweep, judged))
    return []


def _not_for_kohya(train: Section | None, machine: Section | None, *, files: bool) -> list[str]:
    """What the train stage would refuse for sd-scripts after DVC has deleted the LoRA."""
    if not isinstance(train, Train) or train.backend != "kohya":
        return []
    machine = machine if isinstance(machine, Machine) else Machine()
    problems = list_refusals(train, machine)
    if files:
        try:
            find_scripts(machine)
        except UserError as error:
            problems.append(str(error))
    return problems


def _registry() -> dict[Path, tuple[str, Model]]:
    """The models of conf/models by their folder; none where a params.yaml lies alone."""
    if not REGISTRY.is_dir():
        return {}
    return {model.folder: (name, model) for name, model in read_registry().items()}


def _other_licences(section: Section, registry: dict[Path, tuple[str, Model]]) -> Iterator[str]:
    """Judges whose licence is not that of the weights they name: it goes into every scorecard."""
    if isinstance(section, Judges):
        for key in Judges.model_fields:
            judge = getattr(section, key)
            name, model = registry.get(judge.path, ("", None))
            if model is not None and judge.licence != model.licence:
                yield f"judges.{key}.licence: {judge.licence!r}, but {REGISTRY / name}.yaml says {model.licence!r}"


def _absent(key: str, path: Path, made: set[Path], registry: dict[Path, tuple[str, Model]]) -> list[str]:
    if path.exists() or made & {path.resolve(), *path.resolve().parents}:
        return []
    todo = f"; run `pistachio models get {registry[path][0]}`" if path in registry else ""
    return [f"{key}: {path.as_posix()} is not there{todo}"]


def outs_of_dvc(workspace: Path = Path()) -> set[Path]:
    """What DVC makes or fetches before it is needed: outs of the dvc.yaml and .dvc files here and one folder below."""
    made = {path.with_suffix("").resolve() for path in [*workspace.glob("*.dvc"), *workspace.glob("*/*.dvc")]}
    for pipeline in [*workspace.glob("dvc.yaml"), *workspace.glob("*/dvc.yaml")]:
        for stage in (read_yaml(pipeline).get("stages") or {}).values():
            folder = pipeline.parent / str(stage.get("wdir", "."))
            outs = [next(iter(out)) if isinstance(out, dict) else out for out in stage.get("outs") or []]
            made |= {(folder / str(out)).resolve() for out in outs}
    return made


def _named(section: Section) -> Iterator[tuple[str, Path]]:
    """Files and folders that a section needs, with the key that names each."""
    match section:
        case Dataset(photos=photos):
            yield "dataset.photos", photos
        case Caption(backend="blip2" | "florence2", model=model) if model is not None:
            yield "caption.model", model
        case Regularize(source="base", base=base) if base is not None:
            yield "regularize.base", base
        case Regularize(source="folder", folder=folder) if folder is not None:
            yield "regularize.folder", folder
        case Regularize(source="urls", urls=urls) if urls is not None:
            yield "regularize.urls", urls
        case Train(base=base, file=file):
            yield "train.base", base
            if file is not None:
                yield "train.file", file
        case Policy(classifier=classifier) if classifier is not None:
            yield "policy.classifier", classifier
        case Sweep(bases=bases):
            yield from ((f"sweep.bases.{i}", base) for i, base in enumerate(bases))
        case Judges():
            yield from ((f"judges.{key}.path", getattr(section, key).path) for key in Judges.model_fields)
