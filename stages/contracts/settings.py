"""The sections of params.yaml: typed, closed and frozen.  One wrong key stops the run, and all are named at once."""

from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import yaml
from pydantic import Field, ValidationError

from stages.contracts.batch_settings import Batch
from stages.contracts.comfyui_settings import ComfyUI
from stages.contracts.measure_settings import FacePack, Grades, Judge, Judges, TextImage, Thresholds, Weights
from stages.contracts.paths import PARAMS
from stages.contracts.policy import Policy
from stages.contracts.publish_settings import Publish
from stages.contracts.section import Count, Door, Fraction, Positive, Sampler, Section, Seed, Url, Use, Word
from stages.contracts.serve_settings import Serve
from stages.contracts.sweep_settings import Draw, Sweep
from stages.contracts.train_settings import Optimizer, Train
from stages.runtime.errors import UserError

__all__ = [
    "Batch", "ComfyUI", "Draw", "FacePack", "Grades", "Judge", "Judges", "Optimizer", "Policy", "Publish", "Section",
    "Serve", "Sweep", "TextImage", "Thresholds", "Train", "Weights",
]  # fmt: skip


class Dataset(Section):
    """Whose photos, and how they are divided."""

    name: str = Field(pattern=r"^[A-Za-z0-9._-]+$", description="names the LoRA file")
    photos: Path = Field(description="folder of photos, read recursively")
    trigger: Word = Field(description="the rare word that will mean this person")
    class_word: Word = Field(description="what the person is to the base model: woman, man, person")
    holdout_fraction: Fraction = Field(0.2, description="share of the photos kept from training, as references")
    holdout_min: int = Field(10, ge=0, description="never fewer holdout photos than this")
    duplicate_distance: int = Field(
        6, ge=0, le=64, description="pHash Hamming distance up to which photos are near-duplicates"
    )
    moment_similarity: Annotated[float, Field(gt=0, le=1)] | None = Field(
        0.95, description="cosine of CLIP's image embeddings from which on photos are of one moment; null: none are"
    )
    smallest_side: Count = Field(64, description="px; a shorter side is warned of. conf/ says: train.resolution")
    blurred_below: Fraction = Field(
        0.15, description="share of the dataset's median sharpness under which a photo is warned of"
    )
    seed: Seed = Field(0, description="of the split")


class Caption(Section):
    """Who writes the captions."""

    backend: Literal["blip2", "florence2", "template"] | Door = Field(
        "blip2", description="who writes; template: the same text for every photo"
    )
    model: Path | None = Field(None, description="folder of the captioning model; not used by template")
    prompt: str = Field("", description="blip2: text that the model continues")
    task: Literal["<CAPTION>", "<DETAILED_CAPTION>", "<MORE_DETAILED_CAPTION>"] = Field(
        "<DETAILED_CAPTION>", description="florence2: how much to say"
    )
    template: str = Field("{trigger}, a photo of a {class_word}", description="the caption of backend template")
    max_new_tokens: Count = Field(48, description="longest answer, in the captioner's tokens; SDXL reads 75 of its own")
    beams: Count = Field(1, description="width of the beam search; 1 is greedy")
    micro_batch: Count = Field(4, description="images per forward pass, padded to this size")
    drop: tuple[Annotated[str, Field(pattern=r"\w")], ...] = Field(
        (), description="fragments taken out of machine captions, for example: the image shows"
    )


class Regularize(Section):
    """Class images that keep the class word from becoming the person (prior preservation, arXiv:2208.12242)."""

    source: Literal["none", "base", "folder", "urls"] = Field(
        "base", description="base: drawn by the base model; folder: copied; urls: fetched; none: no class images"
    )
    base: Path | None = Field(None, description="base model folder that draws the class images")
    folder: Path | None = Field(None, description="folder of class images, with or without .txt captions")
    urls: Path | None = Field(None, description="file of lines 'sha256 url'")
    prompts: tuple[str, ...] = Field((), description="class prompts; {class_word} is filled in")
    count: int = Field(0, ge=0, description="how many images, dealt over the prompts")
    resolution: Count = Field(1024, description="side of a drawn class image, px")
    steps: Count = Field(30, description="sampler steps per drawn image")
    guidance: Annotated[float, Field(ge=1)] = Field(5.0, description="classifier-free guidance scale; 1 is without")
    sampler: Sampler = Field("euler", description="how images are drawn")
    micro_batch: Count = Field(4, description="images per forward pass, padded to this size")
    seed: Seed = Field(0, description="of the drawn images")


class Eval(Draw):
    """The protocol of judging: fresh pictures with the chosen settings on prompts and seeds of its own."""

    prompts: tuple[str, ...] = Field(min_length=1, description="{trigger} and {class_word} are filled in")
    seeds: tuple[Seed, ...] = Field(min_length=1, description="of the starting noise; every version has the same")
    base_guidance: Annotated[float, Field(ge=1)] = Field(5.0, description="guidance of the base model's own pictures")
    base_sampler: Sampler = Field("euler", description="of the base model's own pictures")
    bootstrap: Count = Field(2000, description="resamples of each interval")
    seed: Seed = Field(0, description="of the bootstrap")
    pose_photos: Count = Field(8, description="training photos that a pose needs for ends of the ruler of its own")
    notes: str = Field("", description="copied into the scorecard")


class Compare(Section):
    """Which version is the yardstick, and what counts as different."""

    baseline: str = Field("none", pattern=r"^[A-Za-z0-9._-]+$", description="folder in metrics/versions, or none")
    confidence: Annotated[float, Field(gt=0.5, lt=1)] = Field(0.95, description="of the intervals and verdicts")
    bootstrap: Count = Field(5000, description="resamples of each interval")
    equivalence: dict[str, Positive] = Field(
        default_factory=dict, description="per metric: a difference smaller than this does not matter"
    )
    guarded: tuple[str, ...] = Field((), description="metrics on which a regression forbids a recommendation")
    seed: Seed = Field(0, description="of the bootstrap")


class Promotion(Section):
    """What `pistachio promote` asks beside grade and comparison.  Read by no stage, so that it draws nothing again."""

    use: Use = Field(
        "non-commercial",
        description="what versions and pictures are for; a licence of base, judges or conditioning models that forbids "
        "it stops promotion, batch and serve, and the subject card must allow it",
    )
    licences: dict[Path, str] = Field(
        default_factory=dict, description="folder of a base that conf/models does not name -> its licence"
    )
    conditioning: dict[str, str] = Field(
        default_factory=dict,
        description="what a workflow conditions with (file, face pack, or node that loads one itself) -> its licence",
    )


class Kohya(Section):
    """Where kohya's sd-scripts lie, for train.backend kohya.  They keep an environment of their own."""

    folder: Path | None = Field(None, description="folder of sd-scripts: it holds sdxl_train_network.py")
    python: Path | None = Field(None, description="Python of its environment; default: venv/bin/python in folder")


class Machine(Section):
    """What cannot change a result, so that moving to another machine does not retrain.  Not declared in dvc.yaml."""

    device: str = Field("cpu", description="as torch names it: cpu, cuda, cuda:1")
    threads: Count = Field(2, description="CPU threads of every model; results are bitwise equal only at one count")
    workers: Count = Field(2, description="processes and threads that read and decode files")
    processes: Count = Field(
        1, description="processes that share each training batch, one GPU or threads / processes CPU threads each"
    )
    save_seconds: Annotated[float, Field(ge=0)] = Field(60.0, description="between saves of a training's state")
    offload: bool = Field(
        False, description="diffusers on CUDA: keep on the GPU only the model that is at work; less memory, slower"
    )
    compile: bool = Field(
        False,
        description="diffusers: compile the UNet's blocks, which takes a minute and a C++ compiler, to train and draw "
        "faster; other bytes than without; not yet run on a GPU",
    )
    comfyui_urls: tuple[Url, ...] = Field(
        ("http://127.0.0.1:8188",), min_length=1, description="ComfyUI servers that share the pictures"
    )
    comfyui_loras: Path | None = Field(
        None,
        description="folder that every server has as models/loras; null: ask the server, which must be on this machine",
    )
    comfyui_patience: Positive = Field(
        120.0, description="seconds without an answer of any ComfyUI server after which the run stops"
    )
    ray_address: str | None = Field(
        None,
        min_length=1,
        description="a Ray cluster whose workers caption, draw and judge: its address, auto, or local for one on this "
        "machine that ends with the run; null: without Ray",
    )
    ray_workers: Count | None = Field(
        None, description="workers; null: one for each GPU of the cluster, without CUDA one for each threads CPUs"
    )
    state_dir: Path | None = Field(None, description="where interrupted work is kept; default the user's cache folder")
    kohya: Kohya = Kohya()


SECTIONS: dict[str, type[Section]] = {
    "dataset": Dataset, "caption": Caption, "regularize": Regularize, "train": Train, "sweep": Sweep, "eval": Eval,
    "comfyui": ComfyUI, "judges": Judges, "compare": Compare, "thresholds": Thresholds, "promotion": Promotion,
    "serve": Serve, "policy": Policy, "publish": Publish, "batch": Batch, "machine": Machine,
}  # fmt: skip
UNREAD = frozenset({"profile", "models"})  # sources of interpolations; their values stand resolved in the sections

P = TypeVar("P", bound=Section)


def _problem(error: Any) -> str:
    where = ".".join(str(part) for part in error["loc"] if not str(part).startswith("function-"))
    if error["type"] == "extra_forbidden":
        return f"{where}: unknown key (value {error['input']!r})"
    if error["type"] == "missing":
        return f"{where}: missing"
    return f"{where}: {error['msg'].removeprefix('Value error, ')} (value {error['input']!r:.80})"


def parse(model: type[P], values: dict[str, Any], where: object = PARAMS) -> P:
    """Check ``values`` against ``model``.

    Raises:
        UserError: naming every wrong key with its path and its value.
    """
    problems = find_problems(model, values)
    if problems:
        raise UserError(where, "; ".join(problems), "mend it in conf/ (or on the command line) and run again")
    return model.model_validate(values)


def find_problems(model: type[Section], values: dict[str, Any]) -> list[str]:
    """Every wrong key of ``values`` under ``model``, with its path and its value; empty when all is well."""
    try:
        model.model_validate(values)
    except ValidationError as error:
        return list(dict.fromkeys(_problem(e) for e in error.errors()))
    return []


def read_yaml(path: Path) -> dict[str, Any]:
    """A YAML file's mapping.

    Raises:
        UserError: when it is missing, not YAML, or not a mapping.
    """
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(path, "not found", "start the command in the workspace, the folder with params.yaml") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(path, f"not YAML: {error}") from None
    if not isinstance(values, dict):
        raise UserError(path, "not a mapping of sections")
    return values


def read_params(model: type[P], path: Path = PARAMS) -> P:
    """The sections that ``model`` (a stage's ``Params``) names, plus nothing else, from params.yaml."""
    values = read_yaml(path)
    return parse(model, {name: values[name] for name in model.model_fields if name in values}, path)


class _OnlyPromotion(Section):
    promotion: Promotion = Promotion()


def read_promotion(path: Path = PARAMS) -> Promotion:
    """The ``promotion`` section of params.yaml: stages ask it what they may do, never what they make."""
    return read_params(_OnlyPromotion, path).promotion


class _OnlyPolicy(Section):
    policy: Policy = Policy()


def read_policy(path: Path = PARAMS) -> Policy:
    """The ``policy`` section of params.yaml, read like ``promotion``."""
    return read_params(_OnlyPolicy, path).policy


class _OnlyMachine(Section):
    machine: Machine = Machine()


def read_machine(path: Path = PARAMS) -> Machine:
    """The ``machine`` section of params.yaml, which no stage declares; its defaults where params.yaml has none."""
    return read_params(_OnlyMachine, path).machine


class _OnlyPublish(Section):
    publish: Publish = Publish()


def read_publish(path: Path = PARAMS) -> Publish:
    """The ``publish`` section of params.yaml, which no stage declares; its defaults where there is none."""
    return read_params(_OnlyPublish, path).publish if path.exists() else Publish()


def everything() -> type[Section]:
    """The model of the whole params.yaml: every section, and no other."""
    from pydantic import create_model

    fields: dict[str, Any] = {name: (section, ...) for name, section in SECTIONS.items()}
    fields |= dict.fromkeys(UNREAD, (Any, None))
    return create_model("Everything", __base__=Section, **fields)


def check_params(path: Path = PARAMS) -> None:
    """Validate every section of params.yaml, and that there is no other.

    Raises:
        UserError: naming every problem of every section at once.
    """
    parse(everything(), read_yaml(path), path)
