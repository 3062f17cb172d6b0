"""One ComfyUI server: its HTTP routes, and nothing that decides anything.

Seen on 0.3.64.  Two kinds of failure: ``Unreachable`` may pass (no connection, no answer in time, 5xx), and
``UserError`` will not (the server understood and refused).
"""

from pathlib import PurePosixPath
from typing import Any
from urllib.parse import quote

import requests

from stages.contracts.workflows import Graph
from stages.runtime.errors import UserError

ANSWER = (5.0, 60.0)  # seconds to connect and to answer; a server that loads a model answers late
BRIEF = (1.0, 3.0)  # the same for one that did not answer before, where others wait to be asked meanwhile
TODO = "look into the server's log"


class Unreachable(UserError):
    """A server gave no usable answer; whether it did what was asked is unknown."""

    def __init__(self, url: str, why: str) -> None:
        super().__init__(url, why, "does a ComfyUI server run there?")


class Server:
    """The routes of one server."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.patience = ANSWER
        self.session = requests.Session()
        self.session.trust_env = False  # no proxy stands between us and our own machines

    def close(self) -> None:
        """Close the connections."""
        self.session.close()

    def stats(self) -> dict[str, Any]:
        """/system_stats: versions, memory and devices."""
        return self._json("GET", "/system_stats", dict)

    def node_info(self, name: str) -> dict[str, Any] | None:
        """What a node class takes and gives; None where the server has no such class."""
        return self._json("GET", f"/object_info/{quote(name)}", dict).get(name)

    def list_models(self, folder: str) -> list[str]:
        """The files of one models folder; empty where there is no such folder."""
        answer = self._ask("GET", f"/models/{quote(folder)}")
        return self._parsed(answer, list) if answer.status_code == 200 else []

    def folders(self) -> dict[str, list[str]]:
        """Where the server's folders are, on its own disk; empty where it does not say."""
        answer = self._ask("GET", "/internal/folder_paths")
        return self._parsed(answer, dict) if answer.status_code == 200 else {}

    def log_lines(self) -> list[tuple[str, str]]:
        """Time and text of the last lines of its log, oldest first.

        Raises:
            Unreachable: when it does not answer.
            UserError: when it does not show its log.
        """
        answer = self._ask("GET", "/internal/logs/raw")
        if answer.status_code != 200:
            what = f"does not show its log (HTTP {answer.status_code}), which alone says what it leaves out of a LoRA"
            raise UserError(self.url, what, "update ComfyUI, or let /internal/logs/raw through the proxy before it")
        return [(str(entry["t"]), str(entry["m"])) for entry in self._parsed(answer, dict).get("entries", [])]

    def send(self, graph: Graph, prompt_id: str, client_id: str, extra: dict[str, Any]) -> None:
        """Queue a graph under an id of our own.

        Raises:
            Unreachable: it may be queued or not.
            UserError: the server refused it, or would draw only a part of it (which is cancelled).
        """
        body = {
            "prompt": graph, "prompt_id": prompt_id, "client_id": client_id, "extra_data": {"extra_pnginfo": extra},
        }  # fmt: skip
        answer = self._ask("POST", "/prompt", json=body)
        if answer.status_code != 200:
            raise UserError(self.url, f"refuses the graph: {_causes(answer)}", TODO)
        told = self._parsed(answer, dict)
        if told.get("node_errors"):
            self.cancel(prompt_id)
            raise UserError(self.url, f"would draw only a part of the graph: {_causes(answer)}", TODO)
        if told.get("prompt_id") != prompt_id:
            raise UserError(self.url, "does not take the id that the client chose", "it needs ComfyUI 0.3.27 or newer")

    def queued(self) -> set[str]:
        """Ids of what runs and what waits."""
        queue = self._json("GET", "/queue", dict)
        return {str(item[1]) for part in ("queue_running", "queue_pending") for item in queue.get(part, [])}

    def history(self, prompt_id: str) -> dict[str, Any] | None:
        """What became of a prompt; None while it waits or runs, and where it is unknown."""
        return self._json("GET", f"/history/{quote(prompt_id)}", dict).get(prompt_id)

    def view(self, filename: str, subfolder: str, kind: str = "output") -> bytes | None:
        """A picture's file; None where it is not there."""
        where = {"filename": filename, "subfolder": subfolder, "type": kind}
        answer = self._ask("GET", "/view", params=where)
        return answer.content if answer.status_code == 200 else None

    def upload(self, data: bytes, name: str) -> str:
        """Put a picture into the server's input folder; the name that LoadImage knows it by.

        The server answers another name where that one is taken by other bytes, so the answer counts.
        """
        files = {"image": (name, data, "application/octet-stream")}
        answer = self._ask("POST", "/upload/image", files=files, data={"subfolder": "pistachio", "type": "input"})
        if answer.status_code != 200:
            raise UserError(self.url, f"refuses the upload of {name} (HTTP {answer.status_code})", TODO)
        told = self._parsed(answer, dict)
        return str(PurePosixPath(told.get("subfolder", "")) / told["name"])

    def cancel(self, prompt_id: str) -> None:
        """Take a prompt out of the queue, or interrupt it if it runs; nobody else's work is touched."""
        self._ask("POST", "/queue", json={"delete": [prompt_id]})
        if prompt_id in self.queued():  # so it runs; older servers interrupt whatever runs
            self._ask("POST", "/interrupt", json={"prompt_id": prompt_id})

    def ask(self, path: str, kind: type, **parameters: str) -> Any:
        """The JSON that any other route answers, a ``kind``.

        Raises:
            Unreachable: when the server does not answer, or with something else.
            UserError: when it does not know the route.
        """
        return self._json("GET", path, kind, params=parameters)

    def get(self, path: str, **parameters: str) -> requests.Response:
        """Any other route."""
        return self._ask("GET", path, params=parameters)

    def post(self, path: str, data: bytes, **parameters: str) -> requests.Response:
        """Any other route."""
        return self._ask("POST", path, data=data, params=parameters)

    def _ask(self, method: str, path: str, **arguments: Any) -> requests.Response:
        try:
            answer = self.session.request(method, self.url + path, timeout=self.patience, **arguments)
        except requests.RequestException as error:
            raise Unreachable(self.url, _reason(error)) from None
        if answer.status_code >= 500:
            raise Unreachable(self.url, f"HTTP {answer.status_code} from {path}")
        if answer.status_code in (401, 403):
            what = f"HTTP {answer.status_code} from {path}: it does not let us in"
            raise UserError(self.url, what, "name the server's own address in machine.comfyui_urls")
        return answer

    def _json(self, method: str, path: str, kind: type, **arguments: Any) -> Any:
        answer = self._ask(method, path, **arguments)
        if answer.status_code != 200:
            raise UserError(self.url, f"HTTP {answer.status_code} from {path}", "is this a ComfyUI server?")
        return self._parsed(answer, kind)

    def _parsed(self, answer: requests.Response, kind: type) -> Any:
        try:
            value = answer.json()
        except ValueError:
            value = None
        if not isinstance(value, kind):  # cut off, or a proxy's page
            raise Unreachable(self.url, f"an answer that is not the JSON of {answer.request.path_url}")
        return value


def _reason(error: requests.RequestException) -> str:
    match error:
        case requests.ConnectTimeout() | requests.ReadTimeout():
            return "no answer in time"
        case requests.ConnectionError():
            return "no connection"
        case _:
            return f"no whole answer ({type(error).__name__})"


def _causes(answer: requests.Response) -> str:
    """Why a graph was refused: the nodes' own errors, since the error above them usually says nothing."""
    try:
        told = answer.json()
    except ValueError:
        return f"HTTP {answer.status_code}"
    causes = [
        f"node {number} ({node.get('class_type')}): {error.get('message')}, {error.get('details')}"
        for number, node in (told.get("node_errors") or {}).items()
        for error in node.get("errors", [])
    ]
    error = told.get("error")
    if not causes and isinstance(error, dict):
        causes = [" ".join(filter(None, [error.get("message"), error.get("details")]))]
    return "; ".join(causes) or str(error or f"HTTP {answer.status_code}")
