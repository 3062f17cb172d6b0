"""A LoRA from elsewhere becomes this workspace's: taken over byte for byte, and what is not known of it is said."""

import shutil
from pathlib import Path
from tempfile import TemporaryDirectory

from stages.contracts.lora import UNKNOWN_STEP, read_header
from stages.contracts.paths import LORA
from stages.contracts.settings import Machine
from stages.contracts.train_settings import Train
from stages.flows.samples import Sampler
from stages.flows.training import COLUMNS, Target
from stages.runtime.errors import UserError
from stages.runtime.files import replacing, write_text
from stages.runtime.provenance import hash_file


def check_external(train: Train) -> Path:
    """The file that ``train.file`` names.

    Raises:
        UserError: when it is not there, lies where the training's files go, is not the one of ``train.file_sha256``, or
            holds keys that this base has no module for: they would be passed over in silence.
    """
    from stages.backends.generate.lora import read_layers
    from stages.backends.sdxl import check_base, open_skeleton

    path = train.file
    if path is None or not path.is_file():
        raise UserError("train.file", f"{path} is not there", "name a LoRA file (.safetensors)")
    if path.resolve().is_relative_to(LORA.resolve()):
        raise UserError("train.file", f"{path} lies in {LORA}, which is emptied first", "move it elsewhere")
    if train.file_sha256 is not None and hash_file(path) != train.file_sha256:
        raise UserError(path, "is not the file of train.file_sha256", "fetch it again, or set the hash of this one")
    check_base(train.base)
    read_layers(path, open_skeleton(train.base))
    return path


def take_over(train: Train, machine: Machine, target: Target) -> Path:
    """Copy the file, draw samples with it, and write a loss table without a row: nobody trained here.

    Nothing is removed or written before the file is known to be usable.

    Raises:
        UserError: see ``check_external``.
    """
    source = check_external(train)
    step = read_header(source).step or UNKNOWN_STEP
    shutil.rmtree(target.folder, ignore_errors=True)
    target.folder.mkdir(parents=True)
    path = target.path(step, step)
    with replacing(path) as beside:
        shutil.copyfile(source, beside)
    write_text(target.loss, ",".join(COLUMNS) + "\n")
    with TemporaryDirectory() as kept:
        Sampler(train, target.dataset, machine, Path(kept), target.samples).draw(step, path, last=True)
    return path
