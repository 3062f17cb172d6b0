"""Rings when something happened on a server: its websocket is for progress and haste, never for the truth."""

import json
import threading
from contextlib import suppress

from websockets.exceptions import WebSocketException
from websockets.sync.client import ClientConnection, connect

AGAIN = 2.0  # seconds before a broken connection is tried again


class Bell:
    """One listener per server; ``wait`` returns early when any of them hears that a prompt got on."""

    def __init__(self, client_id: str) -> None:
        self.client_id, self.rung, self.stopped = client_id, threading.Event(), threading.Event()
        self.listeners: dict[str, threading.Thread] = {}
        self.sockets: dict[str, ClientConnection] = {}
        self.progress: dict[str, float] = {}  # prompt id -> share of its sampler steps that is done

    def listen(self, url: str) -> None:
        """Listen to a server, again and again if need be, until ``close``."""
        if url not in self.listeners:
            thread = threading.Thread(target=self._listen, args=(url,), daemon=True, name=f"bell {url}")
            self.listeners[url] = thread
            thread.start()

    def wait(self, seconds: float) -> None:
        """Return when the bell rings, at the latest after ``seconds``."""
        self.rung.wait(seconds)
        self.rung.clear()

    def close(self) -> None:
        """Stop listening."""
        self.stopped.set()
        for socket in list(self.sockets.values()):
            socket.close()
        for thread in self.listeners.values():
            thread.join(timeout=AGAIN)

    def _listen(self, url: str) -> None:
        address = f"ws{url.removeprefix('http')}/ws?clientId={self.client_id}"
        while not self.stopped.is_set():
            # A server without a websocket still answers questions: whatever goes wrong here only makes us slower.
            with suppress(OSError, WebSocketException, EOFError), connect(
                address, open_timeout=5, close_timeout=1, max_size=None, proxy=None
            ) as socket:  # fmt: skip
                self.sockets[url] = socket
                while not self.stopped.is_set():
                    self._hear(socket.recv())
            self.stopped.wait(AGAIN)

    def _hear(self, message: str | bytes) -> None:
        if isinstance(message, bytes):  # previews
            return
        with suppress(ValueError, AttributeError, KeyError, TypeError):  # a node of somebody's own may say anything
            told = json.loads(message)
            data = told["data"]
            if told["type"] == "progress":
                self.progress[data["prompt_id"]] = data["value"] / max(1, data["max"])
            elif told["type"] in ("executing", "execution_success", "execution_error", "execution_interrupted"):
                self.rung.set()
