"""One life of the double after another: the application, its port, its websockets, its log; dying and coming back."""

import asyncio
import io
import logging
import math
import shutil
import socket
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from aiohttp import web
from comfyui.faults import Faults
from comfyui.folders import CUSTOM_KINDS, KINDS, Folders
from comfyui.graphs import Nodes
from comfyui.jobs import Jobs
from comfyui.nodes import Studio
from comfyui.routes import LARGEST_UPLOAD, Routes, is_foreign
from comfyui.runs import Died, Worker
from PIL import Image

WHAT = "protocol double, recorded from 0.3.64"
VERSIONS = {"0.3.64": "0.3.64", "newer": "0.38.0"}
MEMORY = 25_276_514_304  # bytes, as recorded
QUIET = logging.getLogger("comfyui.double")
QUIET.addHandler(logging.NullHandler())
QUIET.propagate = False
HOST = "127.0.0.1"
GRACE = 0.05  # seconds that open connections get when the server goes


class Service:
    """Lives in the thread of its event loop; everything but ``faults`` must be touched there only."""

    def __init__(self, folder: Path, port: int, dialect: str, custom: bool, faults: Faults) -> None:
        if dialect not in VERSIONS:
            raise ValueError(dialect)
        self.dialect, self.newer, self.faults = dialect, dialect == "newer", faults
        self.folders = Folders(folder, KINDS + (CUSTOM_KINDS if custom else ()))
        self.nodes = Nodes(self.folders, dialect, custom)
        self.port = port
        self.requests: list[tuple[str, str]] = []  # (method, path with query) of all lives
        self.accepted: list[tuple[str, Any]] = []  # (prompt_id, graph) of all lives
        self.bugs: list[Exception] = []  # of the double itself
        self.lives = 0
        self.drawn = 0  # pictures that SaveImage wrote, in all lives
        self.alive = False
        self._changing = asyncio.Lock()
        self.stopping = asyncio.Event()
        self._drawing = ThreadPoolExecutor(1, "comfyui-double")
        self._reserved: socket.socket | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._begin()

    def _begin(self) -> None:
        """A fresh memory: no queue, no history, no caches, no log."""
        self.number = 0
        self.lines: deque[dict[str, str]] = deque(maxlen=300)
        self.sockets: dict[str, web.WebSocketResponse] = {}
        self.left: dict[web.WebSocketResponse, tuple[float, Any]] = {}  # messages until it breaks, its transport
        self.mail: asyncio.Queue[tuple[str, dict[str, Any], str | None]] = asyncio.Queue()
        studio = Studio(self.folders, self.log, self._count)
        self.worker = Worker(self.nodes, studio, self.faults, self.send, self._drawing)
        self.log(f"ComfyUI version: {VERSIONS[self.dialect]} ({WHAT})")
        shutil.rmtree(self.folders.temp, ignore_errors=True)
        self.folders.temp.mkdir()

    # Life

    async def start(self) -> None:
        """Listen, on the same port as in the life before."""
        async with self._changing:
            if not self.alive:
                await self._start()

    async def _start(self) -> None:
        self._begin()
        runner = web.AppRunner(self._application(), access_log=None, logger=QUIET, shutdown_timeout=GRACE)
        await runner.setup()
        listener = self._reserved or _bind(self.port)
        self._reserved = None
        self.port = listener.getsockname()[1]
        await web.SockSite(runner, listener).start()
        self._runner, self.alive = runner, True
        self.lives += 1
        self._life = [asyncio.create_task(self._post_mail()), asyncio.create_task(self._work())]

    async def die(self, back_after: float | None = None) -> None:
        """Lose queue and history, break every connection, stop listening; come back after so many seconds."""
        async with self._changing:
            if self.alive:
                await self._die()
                if back_after is not None:
                    self._keep(self._come_back(back_after))

    async def _die(self) -> None:
        self.alive = False
        for task in self._life:
            task.cancel()
        for handler in self._runner.server.connections if self._runner.server else []:
            if handler.transport is not None:
                handler.transport.abort()
        await asyncio.gather(*self._life, return_exceptions=True)
        await self._runner.cleanup()
        self._reserved = _bind(self.port)

    async def stop(self) -> None:
        """For good; every thread ends."""
        self.stopping.set()
        await self.die()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._reserved:
            self._reserved.close()
        await asyncio.to_thread(self._drawing.shutdown)

    async def _come_back(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
        await self.start()

    async def _work(self) -> None:
        try:
            await self.worker.work()
        except Died as death:
            self._keep(self.die(death.args[0]))
        except Exception as error:
            self.bugs.append(error)
            self._keep(self.die())

    def _count(self) -> None:
        self.drawn += 1

    def _keep(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # Requests

    def _application(self) -> web.Application:
        application = web.Application(middlewares=[self._meet], client_max_size=LARGEST_UPLOAD)
        routes = Routes(self)
        for method, path, handler in routes.table():
            application.router.add_route(method, path, handler)
            application.router.add_route(method, "/api" + path, handler)
        jobs = Jobs(self).table() if self.newer else []
        for method, path, handler in routes.internal() + jobs:
            application.router.add_route(method, path, handler)
        application.router.add_get("/{rest:.*}", _not_found)
        return application

    @web.middleware
    async def _meet(self, request: web.Request, handler: Any) -> web.StreamResponse:
        """Count the request, refuse foreign pages, and let happen what is planned for it."""
        where = f"{request.method} {request.path.removeprefix('/api') if 'jobs' not in request.path else request.path}"
        self.requests.append((request.method, request.path_qs))
        strike = self.faults.strike
        if fault := strike("hang", where):
            await self._wait(fault.detail["seconds"])
            return _cut(request)
        if strike("refuse", where):
            return _cut(request)
        if fault := strike("answer", where):
            return web.Response(status=fault.detail["status"], text=fault.detail["text"])
        if is_foreign(request):
            return web.Response(status=403)
        response = await handler(request)
        if fault := strike("die", where):
            _cut(request)
            self._keep(self.die(fault.detail["back_after"]))
        if strike("swallow", where):
            return _cut(request)
        if fault := strike("delay", where):
            await self._wait(fault.detail["seconds"])
        return response

    async def _wait(self, seconds: float) -> None:
        """Sleep, no longer than the double lives."""
        try:
            await asyncio.wait_for(self.stopping.wait(), seconds)
        except TimeoutError:
            return

    def spoil(self, data: bytes) -> bytes:
        """A picture's bytes on their way out."""
        fault = self.faults.strike("spoil")
        match fault.detail["how"] if fault else None:
            case "truncated":
                return data[: len(data) // 2]
            case "empty":
                return b""
            case "text":
                return b"<html>not a picture</html>"
            case "foreign":
                stream = io.BytesIO()
                Image.fromarray(np.full((64, 64, 3), 90, np.uint8)).save(stream, "PNG")
                return stream.getvalue()
        return data

    # Websockets

    def send(self, event: str, data: dict[str, Any], client: str | None) -> None:
        """To one client, or to all."""
        self.mail.put_nowait((event, data, client))

    async def attend(self, client: str, socket: web.WebSocketResponse, transport: Any) -> None:
        """Greet a websocket and keep it until it closes."""
        self.sockets[client] = socket
        fault = self.faults.strike("drop")
        self.left[socket] = fault.detail["messages"] if fault else math.inf, transport
        worker = self.worker
        try:
            await self._deliver(client, "status", {"status": worker.queue.info(), "sid": client})
            if worker.client == client and worker.last_node is not None:
                await self._deliver(client, "executing", {"node": worker.last_node})
            async for message in socket:
                if message.type == web.WSMsgType.TEXT and '"feature_flags"' in message.data:
                    flags = {"supports_preview_metadata": True, "max_upload_size": LARGEST_UPLOAD}
                    await self._deliver(client, "feature_flags", flags)
        finally:
            self.left.pop(socket, None)
            if self.sockets.get(client) is socket:
                del self.sockets[client]

    async def _post_mail(self) -> None:
        while True:
            event, data, client = await self.mail.get()
            for name in [client] if client is not None else list(self.sockets):
                await self._deliver(name, event, data)

    async def _deliver(self, client: str, event: str, data: dict[str, Any]) -> None:
        socket = self.sockets.get(client)
        if socket is None or socket.closed:
            return None
        left, transport = self.left[socket]
        if left <= 0:
            return transport.abort()
        self.left[socket] = left - 1, transport
        try:
            await socket.send_json({"type": event, "data": data})
        except (ConnectionError, RuntimeError):
            return None

    # Facts

    def log(self, text: str) -> None:
        """One line of the server's log."""
        self.lines.append({"t": datetime.now().isoformat(), "m": text + "\n"})

    @staticmethod
    def now() -> int:
        """Milliseconds since 1970."""
        return int(time.time() * 1000)

    def stats(self) -> dict[str, Any]:
        """/system_stats."""
        system = {
            "os": "posix", "ram_total": MEMORY, "ram_free": MEMORY // 2,
            "comfyui_version": VERSIONS[self.dialect], "required_frontend_version": "1.27.10",
            "installed_templates_version": "0.1.95", "required_templates_version": "0.1.95",
            "python_version": WHAT, "pytorch_version": WHAT, "embedded_python": False,
            "argv": ["main.py", "--listen", HOST, "--port", str(self.port), "--base-directory", str(self.folders.root)],
        }  # fmt: skip
        device = {"name": "cpu", "type": "cpu", "index": None, "vram_total": MEMORY, "vram_free": MEMORY // 2,
                  "torch_vram_total": MEMORY, "torch_vram_free": MEMORY // 2}  # fmt: skip
        return {"system": system, "devices": [device]}


async def _not_found(request: web.Request) -> web.StreamResponse:
    return web.Response(status=404, headers={"Content-Type": "application/octet-stream"})


def _cut(request: web.Request) -> web.Response:
    """Break the connection; the response that is returned goes nowhere."""
    if request.transport is not None:
        request.transport.abort()
    return web.Response(status=500)


def _bind(port: int) -> socket.socket:
    """A port that is ours and on which nobody listens yet."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((HOST, port))
    return listener
