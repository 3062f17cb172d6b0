"""The server's life: a socket, the application, and the worker beside it."""

import asyncio
import contextlib
import ipaddress
import os
import socket
import sys
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import uvicorn
from fastapi import FastAPI
from filelock import FileLock, Timeout

from publish.serve.app import build_app
from publish.serve.connection import build_protocol
from publish.serve.gates import Gates
from publish.serve.keys import KeyRing, find_key_file
from publish.serve.service import Service
from publish.serve.store import Store, build_store
from publish.serve.supervisor import Supervisor
from stages.contracts.serve_settings import Serve
from stages.runtime.errors import UserError

LOCK = "server.lock"
HEADERS_BYTES = 16_384  # of one request's line and headers
BACKLOG = 512
IDLE_S = 30  # that a connection may wait for its next request


def worker_command(output: Path, lora: str | None) -> list[str]:
    """How the worker of this process is started."""
    words = ["--output-dir", str(output), "--parent", str(os.getpid()), *(["--lora", lora] if lora else [])]
    return [sys.executable, "-m", "publish.serve.worker", *words]


def serve(settings: Serve, gates: Gates, command: Sequence[str]) -> None:
    """Answer requests until a signal ends the process; ``command`` starts the worker.

    Raises:
        UserError: when there is no key, the address is taken, or another server uses the output folder.
    """
    output = settings.output
    build_store(output)
    keys = KeyRing(find_key_file(settings.keys))
    if not len(keys):
        raise UserError(find_key_file(settings.keys), "no valid API key", "`pistachio serve keys add NAME` makes one")
    try:
        with FileLock(output / LOCK, timeout=0), contextlib.closing(_listen(settings)) as listening:
            _run(settings, Service(settings, output, keys, gates), command, listening)
    except Timeout:
        raise UserError(output, "another server uses this folder", "end it, or choose another --output-dir") from None


def _listen(settings: Serve) -> socket.socket:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((settings.host, settings.port))
    except OSError as error:
        listening.close()
        where = f"{settings.host}:{settings.port}"
        raise UserError(where, f"cannot listen there ({error.strerror})", "choose another --host or --port") from None
    return listening


def _run(settings: Serve, service: Service, command: Sequence[str], listening: socket.socket) -> None:
    @contextlib.asynccontextmanager
    async def beside(app: FastAPI) -> AsyncIterator[None]:
        watching = Store(settings.output)
        supervisor = Supervisor(command, watching, settings)
        service.worker_lives = supervisor.lives
        task = asyncio.create_task(supervisor.run())
        yield
        task.cancel()
        await supervisor.stop()
        watching.close()
        service.close()

    config = uvicorn.Config(
        build_app(service, beside), http=build_protocol(settings.header_seconds), ws="none", lifespan="on",
        loop="asyncio", access_log=False, log_config=None, server_header=False, proxy_headers=False,
        limit_concurrency=settings.connections, timeout_keep_alive=IDLE_S, timeout_graceful_shutdown=5,
        h11_max_incomplete_event_size=HEADERS_BYTES, backlog=BACKLOG,
    )  # fmt: skip
    _announce(settings, listening)
    uvicorn.Server(config).run(sockets=[listening])


def _announce(settings: Serve, listening: socket.socket) -> None:
    host, port = listening.getsockname()[:2]
    shown = f"[{host}]" if ":" in host else host
    if not ipaddress.ip_address(host).is_loopback:
        warning = "keys and pictures travel in clear: put a proxy that speaks TLS before it (docs/publishing.md)"
        print(f"warning: {shown} can be reached from other machines; {warning}", file=sys.stderr)
    print(f"http://{shown}:{port}  pictures in {settings.output}", flush=True)
