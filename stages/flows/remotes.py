"""Remotes of DVC: written to .dvc/config, tried by writing and reading back, and never with a secret."""

import re
import secrets
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

from stages.flows.storage_errors import explaining, patience, probe
from stages.runtime.errors import UserError, one_line

if TYPE_CHECKING:
    from dvc.repo import Repo

NAME = re.compile(r"[a-z0-9][a-z0-9._-]*")
KINDS = ("s3", "ssh", "file")
SECRET = frozenset("access_key_id secret_access_key session_token password passphrase".split())
WHY = "a command line is read by every program of this machine and kept in the shell's history, .dvc/config by git"
ADDRESSES = "s3://BUCKET/FOLDER, ssh://HOST/PATH or a folder"
HOW = "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY or AWS_PROFILE, or write it to .dvc/config.local"


def refuse_secrets(url: str, endpoint: str | None, given: dict[str, str | None]) -> None:
    """Refuse a secret wherever it is given; the secret itself is not repeated.

    Raises:
        UserError: saying where it was and where it belongs.
    """
    for option, value in given.items():
        if value is not None:
            raise UserError(option, f"no secret is taken: {WHY}", HOW)
    for where, address in (("URL", url), ("--endpoint", endpoint or "")):
        try:
            parts = urlsplit(address)
        except ValueError as error:
            raise UserError(
                where, f"is no address ({error})", "s3://BUCKET/FOLDER, ssh://HOST/PATH or a folder"
            ) from None
        keys = parse_qs(parts.query, keep_blank_values=True)
        if parts.password is not None or (parts.username is not None and parts.scheme != "ssh") or keys:
            raise UserError(where, f"holds a user, a password or a query: {WHY}", HOW)


def describe_remote(url: str, endpoint: str | None) -> dict[str, str]:
    """What .dvc/config says of a remote.

    Raises:
        UserError: when the address is of a kind that is not known, or the endpoint is no http(s) address.
    """
    parts = urlsplit(url)
    kind = parts.scheme if "://" in url else "file"
    if kind not in KINDS:
        raise UserError("URL", f"{kind}:// is not known", ADDRESSES)
    if kind == "s3" and not parts.netloc:
        raise UserError("URL", "names no bucket", "s3://BUCKET/FOLDER")
    if endpoint is None:
        return {"url": url}
    if kind != "s3":
        raise UserError("--endpoint", "is for s3:// alone", "leave it out")
    if urlsplit(endpoint).scheme not in ("http", "https") or not urlsplit(endpoint).hostname:
        raise UserError("--endpoint", f"{endpoint!r} is no http(s) address", "http(s)://HOST[:PORT]")
    return {"url": url, "endpointurl": endpoint}


def add_remote(repo: "Repo", name: str, settings: dict[str, str], *, default: bool) -> str:
    """Try a remote and write it to .dvc/config; returns one sentence.  Nothing is written when it does not work.

    The first remote of a workspace becomes its default.

    Raises:
        UserError: when the name is taken by another address, or the remote does not work.
    """
    if not NAME.fullmatch(name):
        raise UserError("--name", f"{name!r} is no name", "lower-case letters, digits, dots, hyphens and underscores")
    try_remote(repo, name, settings)
    shared = repo.config.load_one("repo")
    before = shared["remote"].get(name)
    main = default or not shared["core"].get("remote")
    if before is not None and {key: str(before.get(key, "")) for key in settings} != _absolute(settings):
        raise UserError(f"remote {name}", f"is {before['url']} already", f"dvc remote remove {name}, or --name another")
    is_main = shared["core"].get("remote") == name
    if before is not None and (is_main or not main):
        return f"remote {name}: works, and is in .dvc/config already"
    with repo.config.edit("repo") as config:
        config["remote"].setdefault(name, {}).update(settings)
        if main:
            config["core"]["remote"] = name
    return f"remote {name}: works; written to .dvc/config{', as the default' if main else ''}; commit that file"


def _absolute(settings: dict[str, str]) -> dict[str, str]:
    url = settings["url"]
    return settings | {"url": url if "://" in url else str(Path(url).resolve())}


def check_remote(repo: "Repo", name: str) -> str:
    """Try a remote of .dvc/config; returns one sentence.

    Raises:
        UserError: when there is no such remote, it does not work, or a secret is in a file that git keeps.
    """
    settings = repo.config["remote"].get(name)
    if settings is None:
        known = ", ".join(sorted(repo.config["remote"])) or "none"
        raise UserError(f"remote {name}", f"not in .dvc/config (known: {known})", "pistachio remote add URL")
    for other, shared in repo.config.load_one("repo")["remote"].items():
        if found := sorted(SECRET & shared.keys()):
            todo = f"dvc remote modify --unset {other} {found[0]}, get a new secret, write it to .dvc/config.local"
            raise UserError(".dvc/config", f"holds {', '.join(found)} of remote {other}, and git keeps that file", todo)
    try_remote(repo, name, {})
    return f"remote {name}: {settings['url']} can be listed, written, read and cleared"


def try_remote(repo: "Repo", name: str, settings: dict[str, str]) -> None:
    """List a remote, write one small object beside DVC's, read it back and delete it.

    Raises:
        UserError: saying what does not work.
    """
    from dvc.config import ConfigError
    from dvc.fs import RemoteMissingDepsError, get_cloud_fs

    config = dict(repo.config["remote"].get(name, {})) | settings
    if endpoint := config.get("endpointurl"):
        probe(name, str(endpoint))
    try:
        # In dvc 3.67.1 what DataCloud.get_remote does, for settings that may not be written yet.
        cls, found, path = get_cloud_fs(repo.config, **config)
        with explaining(name):
            _write_and_read(cls(**found), path, name)
    except RemoteMissingDepsError as error:
        raise UserError(f"remote {name}", one_line(str(error)), "install it") from None
    except ConfigError as error:
        raise UserError(f"remote {name}", one_line(str(error)), "mend .dvc/config") from None
    except FileNotFoundError as error:
        raise UserError(f"remote {name}", f"not there ({error})", "make it, or mend the address") from None


def _write_and_read(fs: Any, path: str, name: str) -> None:
    if fs.protocol == "local":
        if not Path(path).parent.is_dir():
            raise UserError(f"remote {name}", f"no folder {Path(path).parent}", "make it, or mount the disk")
        Path(path).mkdir(exist_ok=True)
    else:
        fs.fs.invalidate_cache()
        _list(fs, path)
    place, data = fs.join(path, f"pistachio-check-{secrets.token_hex(8)}"), secrets.token_bytes(1024)
    limit = patience(fs.fs)
    fs.fs.pipe_file(place, data, **limit)
    try:
        read = fs.fs.cat_file(place, **limit)
    finally:
        fs.fs.rm_file(place, **limit)
    if read != data:
        raise UserError(f"remote {name}", "reads back other bytes than were written", "look after that storage")


def _list(fs: Any, path: str) -> None:
    """List a folder that may not be there yet; the bucket must be."""
    if fs.protocol == "s3":
        bucket, _, folder = path.partition("/")
        fs.fs.call_s3("list_objects_v2", Bucket=bucket, Prefix=folder, MaxKeys=1, **patience(fs.fs))
        return
    with suppress(FileNotFoundError):
        fs.fs.ls(path, **patience(fs.fs))
