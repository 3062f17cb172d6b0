"""Collect class images, so that training does not turn the class word into the person.

They are drawn by the base model, copied from a folder, or fetched from a list of addresses; or there are none.

reads: ${regularize.base}, ${regularize.folder}, ${regularize.urls}
writes: data/regularization
"""

from pathlib import Path

from stages.backends.generate import open_generator
from stages.contracts.paths import REGULARIZATION
from stages.contracts.settings import Dataset, Machine, Regularize, Section, read_machine, read_params
from stages.flows.permission import permit_prompts
from stages.flows.regularization import (
    ClassPicture,
    copy_class_pictures,
    deal_requests,
    draw_class_pictures,
    fetch_class_pictures,
    refuse_trigger,
    write_class_images,
)
from stages.runtime.entry import run_stage
from stages.runtime.errors import UserError
from stages.runtime.provenance import describe_code, hash_json, hash_path
from stages.runtime.state import cache_folder, work_folder


class Params(Section):
    """The sections of params.yaml that this stage depends on."""

    dataset: Dataset
    regularize: Regularize


def require_path(key: str, path: Path | None) -> Path:
    """``path``, which the chosen source needs.

    Raises:
        UserError: when it is not set, not there, or would be deleted by this stage's own output.
    """
    if path is None:
        raise UserError(f"regularize.{key}", "not set", f"regularize.source={key} needs it")
    if not path.exists():
        raise UserError(path, "not found", f"set regularize.{key}")
    ours, theirs = REGULARIZATION.resolve(), path.resolve()
    if theirs.is_relative_to(ours) or ours.is_relative_to(theirs):
        raise UserError(path, f"overlaps {REGULARIZATION}, which this stage replaces", "keep the originals elsewhere")
    return path


def fingerprint(params: Params, machine: Machine) -> str:
    """What unfinished work belongs to: the settings, the base model's bytes, the code, and the kind of machine."""
    settings = params.regularize
    content = hash_path(settings.base) if settings.source == "base" and settings.base else ""
    drawn_by = [describe_code(), machine.device, machine.threads]
    return hash_json([settings.model_dump(mode="json"), params.dataset.class_word, content, drawn_by])


def collect(params: Params, machine: Machine, kept: Path) -> list[ClassPicture]:
    """The class images of the chosen source; what takes long is kept in ``kept`` or in the cache of downloads.

    Raises:
        UserError: when the source is not usable.
    """
    settings, word, trigger = params.regularize, params.dataset.class_word, params.dataset.trigger
    match settings.source:
        case "none":
            return []
        case "base":
            requests = deal_requests(settings, word)
            refuse_trigger([request.prompt for request in requests], trigger)
            if not requests:
                return []
            generator = open_generator("diffusers", machine, settings.micro_batch)
            return draw_class_pictures(requests, generator, kept)
        case "folder":
            pictures = copy_class_pictures(require_path("folder", settings.folder), word)
        case "urls":
            downloads = cache_folder(machine.state_dir) / "downloads"
            pictures = fetch_class_pictures(require_path("urls", settings.urls), word, downloads, machine.workers)
    refuse_trigger([picture.caption for picture in pictures], trigger)
    return pictures


def main() -> None:
    params, machine = read_params(Params), read_machine()
    permit_prompts(params.dataset, params.regularize.prompts)
    with work_folder(machine.state_dir, "regularize", fingerprint(params, machine)) as kept:
        write_class_images(REGULARIZATION, collect(params, machine, kept))


if __name__ == "__main__":
    run_stage(main)
