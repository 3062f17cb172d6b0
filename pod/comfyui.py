"""ComfyUI as the pod sees it: what it answers, and its process."""

import json
import urllib.error
import urllib.request
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pod.errors import PodError
from pod.settings import Places

TIMEOUT_S = 10.0


def ask(url: str, path: str, timeout: float = TIMEOUT_S) -> Any:
    """The JSON that the server at ``url`` answers to GET ``path``.

    Raises:
        PodError: when it does not answer, or not with JSON.
    """
    try:
        with urllib.request.urlopen(url.rstrip("/") + path, timeout=timeout) as answer:
            return json.loads(answer.read())
    except urllib.error.HTTPError as error:
        raise PodError(url + path, f"answers {error.code}") from None
    except (OSError, HTTPException, ValueError) as error:
        raise PodError(url, f"does not answer ({getattr(error, 'reason', None) or error})") from None


def answers(url: str, timeout: float = 3.0) -> bool:
    """Whether the server answers."""
    try:
        ask(url, "/queue", timeout)
    except PodError:
        return False
    return True


@dataclass(frozen=True)
class Queue:
    """What a server works on."""

    running: tuple[str, ...]  # prompt ids
    pending: tuple[str, ...]

    @property
    def idle(self) -> bool:
        return not self.running and not self.pending


def read_queue(url: str, timeout: float = TIMEOUT_S) -> Queue:
    """The prompts that run and wait."""
    found = ask(url, "/queue", timeout)
    names = {key: tuple(str(item[1]) for item in found.get(key, [])) for key in ("queue_running", "queue_pending")}
    return Queue(names["queue_running"], names["queue_pending"])


def lock_of(places: Places) -> Path:
    """The lock and pid file of the ComfyUI that this pod runs."""
    return places.at(places.state) / "comfyui.pid"


def log_of(places: Places) -> Path:
    """What ComfyUI prints."""
    return places.at(places.logs) / "comfyui.log"


def port_of(url: str) -> int:
    """The port in an address."""
    parts = urlsplit(url)
    return parts.port or (443 if parts.scheme == "https" else 80)
