"""A private workspace for one person: made whole beside its place, or not at all."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import yaml

from stages.contracts.captions import find_caption
from stages.contracts.code_lock import read_code_lock, write_code_lock
from stages.contracts.paths import CODE_LOCK, PARAMS
from stages.contracts.settings import check_params, read_yaml
from stages.flows import workspace_files
from stages.flows.code import ROOT, code_file, read_pipeline, requirement, running_code
from stages.runtime.errors import UserError
from stages.runtime.files import write_text
from stages.runtime.pictures import list_pictures, mask_path

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
PHOTOS = Path("data/photos")
REMARK = "# The code's pipeline, written by `pistachio init` and `pistachio upgrade`; code.lock stands for the code.\n"


@dataclass(frozen=True)
class NewWorkspace:
    """What the user says about a workspace to be made."""

    name: str  # of the person: dataset.name, and conf/dataset/NAME.yaml
    trigger: str
    class_word: str | None = None  # None: as the code's own conf/ says
    profile: str = "mini"
    photos: Path | None = None  # to copy from


def name_of(folder: Path) -> str:
    """The name that a workspace's folder suggests."""
    return re.sub(r"[^A-Za-z0-9._-]+", "_", folder.resolve().name).strip("._-")


def trigger_of(name: str) -> str:
    """The trigger word that a name suggests: its letters and digits, in lower case."""
    return re.sub(r"[^a-z0-9]+", "", name.lower())


def make_workspace(folder: Path, new: NewWorkspace) -> None:
    """Make the workspace ``folder``: conf/, dvc.yaml, params.yaml, photos under DVC, and a first commit.

    Raises:
        UserError: when the folder is not empty or lies in a repository, when a name, profile or photo is not usable,
            or git or DVC fails; nothing is left of it then.
    """
    folder = folder.resolve()
    _refuse_place(folder)
    _refuse_settings(new)
    with _made_beside(folder) as beside:
        shutil.copytree(code_file("conf"), beside / "conf")
        tracked = _bring_weights(beside, new.profile) + _bring_photos(beside, new.photos)
        _write_conf(beside / "conf", new)
        for path, text in workspace_files.texts(read_pipeline(), new.name, new.profile, bool(new.photos)).items():
            write_text(beside / path, text)
        write_code(beside)
        _compose(beside)
        _commit(beside, tracked, f"Start the workspace of {new.name}")


def write_code(folder: Path = Path()) -> None:
    """Write what says which code a workspace runs: dvc.yaml, code.lock, requirements.txt."""
    pipeline = yaml.safe_dump(workspace_files.pipeline(read_pipeline()), sort_keys=False, width=120, allow_unicode=True)
    write_text(folder / "dvc.yaml", REMARK + pipeline)
    write_text(folder / "requirements.txt", requirement())
    write_code_lock(running_code(), folder / CODE_LOCK)


def upgrade() -> list[str]:
    """Lock the workspace with the code that runs; returns the stages that are other than they were.

    Raises:
        UserError: when this is no workspace.
    """
    if not CODE_LOCK.exists():
        raise UserError(
            CODE_LOCK, "not found", "a workspace has one: start the command there, or make one: pistachio init"
        )
    before, now = read_code_lock().stages, running_code().stages
    write_code()
    return [name for name in {**before, **now} if before.get(name) != now.get(name)]


def _refuse_place(folder: Path) -> None:
    if folder.is_relative_to(ROOT):
        raise UserError(folder, "lies where the code lies", "photos must not get there: choose a folder elsewhere")
    if not folder.parent.is_dir():
        raise UserError(folder.parent, "no such folder", "make it first")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(folder, "exists and is not empty", "choose a new folder")
    outer = _run(folder.parent, "git", "rev-parse", "--show-toplevel", check=False)
    if outer:
        raise UserError(folder, f"lies in the git repository {outer}", "a workspace is a repository of its own")
    if not _run(folder.parent, "git", "var", "GIT_COMMITTER_IDENT", check=False):
        todo = "git config --global user.name NAME, and user.email ADDRESS"
        raise UserError("git", "does not know who you are, so it makes no commit", todo)


def _refuse_settings(new: NewWorkspace) -> None:
    profiles = sorted(path.stem for path in (code_file("conf") / "profile").glob("*.yaml"))
    if new.profile not in profiles:
        raise UserError("--profile", f"no profile {new.profile!r}", f"known: {', '.join(profiles)}")
    if not NAME.fullmatch(new.name):
        raise UserError("--name", f"{new.name!r} is no name", "letters, digits, dots, hyphens and underscores")
    if not new.trigger.strip():
        raise UserError("--trigger", "empty", "a rare word that will mean this person")
    if new.photos is not None:
        list_pictures(new.photos)


@contextmanager
def _made_beside(folder: Path) -> Iterator[Path]:
    """An empty folder beside ``folder`` whose content moves into it on success, and that vanishes on failure."""
    beside = folder.with_name(f".{folder.name}.{os.getpid()}.part")
    try:
        beside.mkdir()
        yield beside
        folder.mkdir(exist_ok=True)
        for path in sorted(beside.iterdir()):
            os.replace(path, folder / path.name)
    except OSError as error:
        raise UserError(folder, f"cannot be made ({error})") from None
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _bring_weights(beside: Path, profile: str) -> list[Path]:
    """Copy the weights that come with the code and that ``profile`` names; every profile finds them in models/ now."""
    tracked = []
    for path in sorted((beside / "conf/profile").glob("*.yaml")):
        named = [Path(folder) for folder in read_yaml(path)["models"].values() if (ROOT / folder).is_dir()]
        if not named:
            continue
        shipped = Path(os.path.commonpath(named))
        home = Path("models") / shipped.parts[0]
        _edit(path, re.escape(f"{shipped.as_posix()}/"), f"{home.as_posix()}/")
        if path.stem == profile:
            for folder in named:
                shutil.copytree(ROOT / folder, beside / home / folder.relative_to(shipped))
            tracked.append(home)
    return tracked


def _bring_photos(beside: Path, photos: Path | None) -> list[Path]:
    """Copy photos with the captions and masks beside them."""
    (beside / PHOTOS).mkdir(parents=True)
    if photos is None:
        return []
    for picture in list_pictures(photos):
        beside_it = [find_caption(picture), mask_path(picture)]
        for file in [picture, *(file for file in beside_it if file is not None and file.is_file())]:
            target = beside / PHOTOS / file.relative_to(photos)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, target)
    return [PHOTOS]


def _write_conf(conf: Path, new: NewWorkspace) -> None:
    """Make the copied conf/ that of this person: one dataset, the profile, and no yardstick yet."""
    (ours,) = re.findall(r"^ *- dataset: (\S+)$", (conf / "config.yaml").read_text(encoding="utf-8"), re.MULTILINE)
    _edit(conf / "config.yaml", r"(?<=- dataset: )\S+", new.name)
    _edit(conf / "config.yaml", r"(?<=- profile: )\S+", new.profile)
    text = (conf / "dataset" / f"{ours}.yaml").read_text(encoding="utf-8")
    for path in (conf / "dataset").glob("*.yaml"):
        path.unlink()
    own = conf / "dataset" / f"{new.name}.yaml"
    write_text(own, text)
    for key, value in (("name", new.name), ("trigger", new.trigger), ("class_word", new.class_word)):
        if value is not None:
            _edit(own, rf"(?<=^{key}: ).+$", json.dumps(value, ensure_ascii=False))
    for path in conf.rglob("*.yaml"):
        _edit(path, r"(?<=override /dataset: )\S+", new.name, required=False)
        _edit(path, r"(?<=^  baseline: ).+$|(?<=^baseline: ).+$", "none", required=False)


def _edit(path: Path, pattern: str, text: str, *, required: bool = True) -> None:
    before = path.read_text(encoding="utf-8")
    after, count = re.subn(pattern, lambda _: text, before, flags=re.MULTILINE)
    assert count or not required, f"{path} has no {pattern}"
    if after != before:
        write_text(path, after)


def _compose(folder: Path) -> None:
    """Write params.yaml as `dvc exp run` would."""
    from dvc.utils.hydra import compose_and_dump

    compose_and_dump(folder / PARAMS, str(folder / "conf"), None, "config", "", [])
    check_params(folder / PARAMS)


def _commit(folder: Path, tracked: list[Path], message: str) -> None:
    """Start git and DVC, hand ``tracked`` to DVC and everything else to git."""
    _run(folder, "git", "init", "--quiet", "--initial-branch", "main")
    _run(folder, sys.executable, "-m", "dvc", "init", "--quiet")
    write_text(folder / ".dvc/config", workspace_files.DVC_CONFIG)
    if tracked:
        _run(folder, sys.executable, "-m", "dvc", "add", "--quiet", *(path.as_posix() for path in tracked))
    _run(folder, "git", "add", "--all")
    _run(folder, "git", "-c", "commit.gpgsign=false", "commit", "--quiet", "--message", message)


def _run(folder: Path, *command: str, check: bool = True) -> str:
    """What a program printed; nothing when it failed and ``check`` is off."""
    env = os.environ | {"DVC_SITE_CACHE_DIR": str(folder / ".dvc" / "tmp" / "site")}  # of a folder that will move
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=600, env=env)
    except OSError as error:
        raise UserError(command[0], f"cannot be started ({error.strerror})", "install it") from None
    if done.returncode != 0 and check:
        said = (done.stderr or done.stdout).strip()
        raise UserError(" ".join(command[:4]), f"failed: {said}")
    return done.stdout.strip() if done.returncode == 0 else ""
