"""What was sent to which server: written before it is sent, so that a killed client finds its pictures again."""

import json
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from stages.runtime.files import write_json

KEPT = 7 * 86400.0  # seconds


@dataclass(frozen=True)
class Sending:
    """One prompt that was handed to a server."""

    url: str
    prompt_id: str
    mark: str = ""  # in its LoRA's node
    since: str | None = None  # from when on the log says what was left out of its LoRA; None: that was known before
    version: str = ""  # what the server ran


class SentFolder:
    """One small file per picture under way, named for the job's key."""

    def __init__(self, folder: Path) -> None:
        """Open the folder; what is older than any server remembers is forgotten."""
        self.folder = folder
        for path in folder.glob("*.json"):
            with suppress(FileNotFoundError):  # another client has just forgotten it
                if time.time() - path.stat().st_mtime > KEPT:
                    path.unlink()

    def write(self, key: str, sending: Sending) -> None:
        """Remember a sending; whole or not at all."""
        write_json(self.folder / f"{key}.json", asdict(sending))

    def read(self, key: str) -> Sending | None:
        """What was sent for a job by a client that is gone; None where nothing was."""
        try:
            return Sending(**json.loads((self.folder / f"{key}.json").read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):  # never sent, or not ours: it is sent again
            return None

    def forget(self, key: str) -> None:
        """The picture is there, or nobody wants it any more."""
        (self.folder / f"{key}.json").unlink(missing_ok=True)
