"""API keys: 256 random bits each, of which only the SHA-256 is kept, in a file that its owner alone may read.

A fast hash without a salt is enough here, as it is not for passwords: nobody can guess 256 random bits.
"""

import hashlib
import json
import os
import re
import secrets
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock
from pydantic import Field

from stages.contracts.artifact import Closed, read_artifact
from stages.runtime.errors import UserError
from stages.runtime.files import replacing

PREFIX = "pst_"
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
MODE = 0o600


class Key(Closed):
    """One key: what is known of it, which is not the key."""

    name: str = Field(description="whose jobs are whose; a new key of the same name sees the old one's jobs")
    sha256: str
    created: str = Field(description="time of day, UTC")
    revoked: str = Field("", description="time of day, UTC; empty: valid")


class KeyFile(Closed):
    """All keys that there ever were."""

    keys: tuple[Key, ...] = ()


def find_key_file(setting: Path | None) -> Path:
    """Where the keys are: ``serve.keys``, else in the user's configuration folder, outside any repository."""
    if setting is not None:
        return setting.expanduser()
    configuration = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return Path(configuration) / "pistachio" / "serve_keys.json"


def read_keys(path: Path) -> tuple[Key, ...]:
    """Every key, revoked ones too; none where there is no file.

    Raises:
        UserError: when the file does not follow the schema, or others may read it.
    """
    if not path.exists():
        return ()
    if os.name != "nt" and path.stat().st_mode & 0o077:
        raise UserError(path, "others may read the keys' file", f"chmod 600 {path}")
    return read_artifact(KeyFile, path, "restore it, or remove it and add the keys again").keys


def add_key(path: Path, name: str) -> str:
    """Make a key for ``name``; the only time that anybody sees it.

    Raises:
        UserError: when the name has a valid key, or is not one.
    """
    if not NAME.fullmatch(name):
        raise UserError("NAME", f"{name!r} is not up to 64 letters, digits, dots, dashes and underlines")
    token = PREFIX + secrets.token_urlsafe(32)
    with _writing(path):
        keys = read_keys(path)
        if any(key.name == name and not key.revoked for key in keys):
            raise UserError(name, "has a key", f"`pistachio serve keys revoke {name}` first")
        _write(path, (*keys, Key(name=name, sha256=hash_token(token), created=_now())))
    return token


def revoke_key(path: Path, name: str) -> None:
    """End the key of ``name``; a running server refuses it from its next request on.

    Raises:
        UserError: when there is no valid key of this name.
    """
    with _writing(path):
        keys = read_keys(path)
        if not any(key.name == name and not key.revoked for key in keys):
            raise UserError(name, "no valid key of this name", "`pistachio serve keys list` shows them")
        now = _now()
        _write(
            path,
            tuple(
                key.model_copy(update={"revoked": now}) if key.name == name and not key.revoked else key for key in keys
            ),
        )


def hash_token(token: str) -> str:
    """What is kept of a key."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _writing(path: Path) -> FileLock:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    return FileLock(path.with_name(f"{path.name}.lock"), mode=MODE)


def _write(path: Path, keys: tuple[Key, ...]) -> None:
    text = json.dumps(KeyFile(keys=keys).model_dump(mode="json"), indent=2) + "\n"
    with replacing(path) as beside:
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, MODE)  # never readable by others
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            stream.write(text)


class KeyRing:
    """The valid keys, read again whenever the file changes: a revoked key is refused without a restart."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: tuple[int, int, int] | None = None
        self._names: dict[str, str] = {}
        self.find_owner("")

    def find_owner(self, token: str) -> str | None:
        """The name that a key belongs to; None when it is not valid.

        Raises:
            UserError: when the file of keys is spoilt: then no key is valid.
        """
        self._look()
        return self._names.get(hash_token(token))

    def __len__(self) -> int:
        return len(self._names)

    def _look(self) -> None:
        try:
            found = self._path.stat()
        except FileNotFoundError:
            self._seen, self._names = None, {}
            return
        seen = (found.st_mtime_ns, found.st_size, found.st_ino)
        if seen != self._seen:
            self._names = {}
            self._names = {key.sha256: key.name for key in read_keys(self._path) if not key.revoked}
            self._seen = seen
