"""What happened while nobody looked: a line of JSON each, and a command or a webhook that is told."""

import json
import os
import subprocess
import urllib.request
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

TIMEOUT_S = 10.0


class Events:
    """Writes events to a file, prints them, and tells whoever wants to know."""

    def __init__(self, path: Path, command: Sequence[str] = (), webhook: str = "") -> None:
        self.path, self.command, self.webhook = path, list(command), webhook

    def tell(self, what: str, who: str, why: str, **more: Any) -> None:
        """Record one event.  Whoever is told and fails is named in the file, and stops nothing."""
        event = {"time": _now(), "what": what, "who": who, "why": why, **more}
        self._write(event)
        print(f"{event['time']} {who}: {what}: {why}", flush=True)
        for teller in (self._command, self._webhook):
            try:
                teller(event)
            except (OSError, ValueError, subprocess.SubprocessError) as error:
                self._write({"time": _now(), "what": "not told", "who": "watch", "why": str(error)})

    def _write(self, event: dict[str, Any]) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(event, ensure_ascii=False) + "\n")

    def _command(self, event: dict[str, Any]) -> None:
        """The command gets the event on its standard input, and its kind in POD_EVENT."""
        if self.command:
            variables = {**os.environ, "POD_EVENT": event["what"]}
            subprocess.run(
                self.command, input=json.dumps(event).encode(), env=variables, timeout=TIMEOUT_S, check=True,
                stdout=subprocess.DEVNULL,
            )  # fmt: skip

    def _webhook(self, event: dict[str, Any]) -> None:
        if self.webhook:
            body = json.dumps(event).encode()
            request = urllib.request.Request(self.webhook, body, {"Content-Type": "application/json"})
            urllib.request.urlopen(request, timeout=TIMEOUT_S).close()


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
