"""The HTTP side: every path that a client of this project asks for, also below /api."""

import asyncio
import io
import json
import mimetypes
import struct
import uuid
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlparse

from aiohttp import web
from comfyui.graphs import Check
from PIL import Image

if TYPE_CHECKING:
    from comfyui.service import Service

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
LARGEST_UPLOAD = 104_857_600  # bytes


class Routes:
    """Answers requests of one service."""

    def __init__(self, service: "Service") -> None:
        self.service = service

    def table(self) -> list[tuple[str, str, Handler]]:
        """(method, path, handler)."""
        return [
            ("GET", "/ws", self.websocket),
            ("POST", "/prompt", self.post_prompt), ("GET", "/prompt", self.get_prompt),
            ("GET", "/queue", self.get_queue), ("POST", "/queue", self.post_queue),
            ("POST", "/interrupt", self.post_interrupt), ("POST", "/free", self.post_free),
            ("GET", "/history", self.get_history), ("GET", "/history/{id}", self.get_run),
            ("POST", "/history", self.post_history),
            ("GET", "/view", self.view), ("GET", "/view_metadata/{kind}", self.view_metadata),
            ("POST", "/upload/image", self.upload_image), ("POST", "/upload/mask", self.upload_mask),
            ("GET", "/system_stats", self.system_stats), ("GET", "/features", self.features),
            ("GET", "/object_info", self.object_info), ("GET", "/object_info/{name}", self.object_info),
            ("GET", "/models", self.models), ("GET", "/models/{kind}", self.models_of),
            ("GET", "/embeddings", self.embeddings), ("GET", "/users", self.users),
            ("GET", "/userdata", self.list_userdata), ("GET", "/userdata/{file}", self.get_userdata),
            ("POST", "/userdata/{file}", self.post_userdata),
        ]  # fmt: skip

    def internal(self) -> list[tuple[str, str, Handler]]:
        """Paths that have no twin below /api."""
        return [
            ("GET", "/internal/logs", self.logs), ("GET", "/internal/logs/raw", self.raw_logs),
            ("GET", "/internal/folder_paths", self.folder_paths),
        ]  # fmt: skip

    # Runs

    async def post_prompt(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        service = self.service
        service.log("got prompt")
        if "number" in body:
            number = float(body["number"])
        else:
            number = -service.number if body.get("front") else service.number
            service.number += 1
        if "prompt" not in body:
            return refuse("no_prompt", "No prompt provided", "No prompt provided")
        made = str(uuid.uuid4())
        prompt_id = str(body.get("prompt_id", made))
        if service.newer:
            prompt_id = body.get("prompt_id") if body.get("prompt_id") is not None else made
            if not is_job_id(prompt_id):
                return refuse("invalid_prompt_id", "prompt_id must be a valid UUID", NOT_A_JOB_ID)
        error, outputs, node_errors = Check(body["prompt"], service.nodes, service.newer).run()
        if error:
            service.log(f"invalid prompt: {error}")
            return web.json_response({"error": error, "node_errors": node_errors}, status=400)
        extra = body.get("extra_data", {})
        extra |= {"client_id": body["client_id"]} if "client_id" in body else {}
        extra |= {"create_time": service.now()} if service.newer else {}
        service.accepted.append((prompt_id, body["prompt"]))
        service.worker.queue.put((number, prompt_id, body["prompt"], extra, outputs))
        return web.json_response({"prompt_id": prompt_id, "number": number, "node_errors": node_errors})

    async def get_prompt(self, request: web.Request) -> web.StreamResponse:
        return web.json_response(self.service.worker.queue.info())

    async def get_queue(self, request: web.Request) -> web.StreamResponse:
        running, pending = self.service.worker.queue.current()
        return web.json_response({"queue_running": running, "queue_pending": pending})

    async def post_queue(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        if body.get("clear"):
            self.service.worker.queue.clear()
        for prompt_id in body.get("delete", []):
            self.service.worker.queue.delete(prompt_id)
        return web.Response(status=200)

    async def post_interrupt(self, request: web.Request) -> web.StreamResponse:
        try:
            body = await request.json()
        except json.JSONDecodeError:
            body = {}
        self.service.worker.interrupt(body.get("prompt_id") or None)
        return web.Response(status=200)

    async def post_free(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        if body.get("free_memory") and self.service.worker.queue.running is None:
            self.service.worker.forget()
        return web.Response(status=200)

    async def get_history(self, request: web.Request) -> web.StreamResponse:
        history = list(self.service.worker.queue.history.items())
        most = int(request.query.get("max_items", len(history)))
        start = int(request.query.get("offset", -1))
        start = max(0, len(history) - most) if start < 0 else start
        return web.json_response(dict(history[start : start + most]))

    async def get_run(self, request: web.Request) -> web.StreamResponse:
        prompt_id, history = request.match_info["id"], self.service.worker.queue.history
        return web.json_response({prompt_id: history[prompt_id]} if prompt_id in history else {})

    async def post_history(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        if body.get("clear"):
            self.service.worker.queue.history.clear()
        for prompt_id in body.get("delete", []):
            self.service.worker.queue.history.pop(prompt_id, None)
        return web.Response(status=200)

    async def websocket(self, request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await self.service.attend(request.query.get("clientId") or uuid.uuid4().hex, socket, request.transport)
        return socket

    # Files

    async def view(self, request: web.Request) -> web.StreamResponse:
        name, query = request.query.get("filename"), request.query
        if name is None:
            return web.Response(status=404)
        folder = self.service.folders.of_type(query.get("type", "output"))
        if not name or name[0] == "/" or ".." in name or folder is None:
            return web.Response(status=400)
        below = (folder / query.get("subfolder", "")).resolve()
        if not below.is_relative_to(folder):
            return web.Response(status=403)
        path = below / Path(name).name
        if not path.is_file():
            return web.Response(status=404)
        data = self.service.spoil(await asyncio.to_thread(path.read_bytes))
        kind = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
        headers = {"Content-Disposition": f'filename="{path.name}"', "Content-Type": kind}
        return web.Response(body=data, headers=headers)

    async def view_metadata(self, request: web.Request) -> web.StreamResponse:
        name = request.query.get("filename", "")
        path = self.service.folders.find(request.match_info["kind"], name)
        if not name.endswith(".safetensors") or path is None:
            return web.Response(status=404)
        with path.open("rb") as stream:
            (length,) = struct.unpack("<Q", stream.read(8))
            if length > 1024 * 1024:
                return web.Response(status=404)
            header = json.loads(stream.read(length))
        if "__metadata__" not in header:
            return web.Response(status=404)
        return web.json_response(header["__metadata__"])

    async def upload_image(self, request: web.Request) -> web.StreamResponse:
        return self._save_upload(await request.post())

    async def upload_mask(self, request: web.Request) -> web.StreamResponse:
        """The picture that ``original_ref`` names, with the alpha channel of the one that was sent."""
        post = dict(await request.post())
        about = json.loads(str(post.get("original_ref")))
        folder = self.service.folders.of_type(about.get("type", "output"))
        if folder is None or ".." in about["filename"]:
            return web.Response(status=400)
        path = folder / about.get("subfolder", "") / about["filename"]
        mask = post.get("image")
        if isinstance(mask, web.FileField) and path.is_file():
            with Image.open(path) as original, Image.open(mask.file) as sent:
                joined = original.convert("RGBA")
                joined.putalpha(sent.convert("RGBA").getchannel("A"))
            stream = io.BytesIO()
            joined.save(stream, "PNG")
            stream.seek(0)
            post["image"] = web.FileField(mask.name, mask.filename, stream, mask.content_type, mask.headers)
        return self._save_upload(post)

    def _save_upload(self, post: Mapping[str, Any]) -> web.StreamResponse:
        picture, kind, subfolder = post.get("image"), str(post.get("type", "input")), str(post.get("subfolder", ""))
        folder = self.service.folders.of_type(kind)
        if not isinstance(picture, web.FileField) or not picture.filename or folder is None:
            return web.Response(status=400)
        below = folder / subfolder
        path = (below / picture.filename).resolve()
        if not path.is_relative_to(folder):
            return web.Response(status=400)
        data, stem, number = picture.file.read(), path, 1
        while post.get("overwrite") not in ("true", "1") and path.exists() and path.read_bytes() != data:
            path = stem.with_name(f"{stem.stem} ({number}){stem.suffix}")
            number += 1
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        return web.json_response({"name": path.name, "subfolder": subfolder, "type": kind})

    async def list_userdata(self, request: web.Request) -> web.StreamResponse:
        name = request.query.get("dir", "")
        if not name:
            return web.Response(status=400, text="Directory not provided")
        folder = self._user_path(name)
        if folder is None:
            return web.Response(status=403, text="Invalid directory")
        if not folder.is_dir():
            return web.Response(status=404, text="Directory not found")
        pattern = "**/*" if request.query.get("recurse", "").lower() == "true" else "*"
        files = sorted(path for path in folder.glob(pattern) if path.is_file())
        if request.query.get("full_info", "").lower() == "true":
            return web.json_response([_file_info(path, folder) for path in files])
        return web.json_response([path.relative_to(folder).as_posix() for path in files])

    async def get_userdata(self, request: web.Request) -> web.StreamResponse:
        path = self._user_path(request.match_info["file"])
        if path is None or not path.is_file():
            return web.Response(status=403 if path is None else 404)
        return web.FileResponse(path)

    async def post_userdata(self, request: web.Request) -> web.StreamResponse:
        path = self._user_path(request.match_info["file"])
        if path is None:
            return web.Response(status=403)
        if request.query.get("overwrite", "true") == "false" and path.exists():
            return web.Response(status=409, text="File already exists")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(await request.read())
        user = self.service.folders.user
        if request.query.get("full_info", "").lower() == "true":
            return web.json_response(_file_info(path, user))
        return web.json_response(path.relative_to(user).as_posix())

    def _user_path(self, name: str) -> Path | None:
        path = (self.service.folders.user / name).resolve()
        return path if path.is_relative_to(self.service.folders.user) else None

    # What is there

    async def system_stats(self, request: web.Request) -> web.StreamResponse:
        return web.json_response(self.service.stats())

    async def features(self, request: web.Request) -> web.StreamResponse:
        return web.json_response({"supports_preview_metadata": True, "max_upload_size": LARGEST_UPLOAD})

    async def object_info(self, request: web.Request) -> web.StreamResponse:
        nodes, only = self.service.nodes, request.match_info.get("name")
        return web.json_response({name: nodes.info(name) for name in nodes if only in (None, name)})

    async def models(self, request: web.Request) -> web.StreamResponse:
        return web.json_response(list(self.service.folders.kinds))

    async def models_of(self, request: web.Request) -> web.StreamResponse:
        kind = request.match_info["kind"]
        if kind not in self.service.folders.kinds:
            return web.Response(status=404)
        return web.json_response(self.service.folders.names(kind))

    async def embeddings(self, request: web.Request) -> web.StreamResponse:
        return web.json_response([name.rsplit(".", 1)[0] for name in self.service.folders.names("embeddings")])

    async def users(self, request: web.Request) -> web.StreamResponse:
        return web.json_response({"storage": "server", "migrated": False})

    async def logs(self, request: web.Request) -> web.StreamResponse:
        return web.json_response("".join(f"{entry['t']} - {entry['m']}" for entry in self.service.lines))

    async def raw_logs(self, request: web.Request) -> web.StreamResponse:
        return web.json_response({"entries": list(self.service.lines), "size": {"cols": 80, "rows": 24}})

    async def folder_paths(self, request: web.Request) -> web.StreamResponse:
        folders = self.service.folders
        return web.json_response({kind: [str(path) for path in folders.paths(kind)] for kind in folders.kinds})


NOT_A_JOB_ID = (
    "prompt_id must be a UUID string in canonical lowercase hyphenated form; omit it to let the server generate one"
)


def refuse(kind: str, message: str, details: str) -> web.Response:
    """400 for the request as a whole."""
    error = {"type": kind, "message": message, "details": details, "extra_info": {}}
    return web.json_response({"error": error, "node_errors": {}}, status=400)


def is_job_id(value: object) -> bool:
    """A UUID as newer servers want it: lowercase, with hyphens."""
    try:
        return isinstance(value, str) and str(uuid.UUID(value)) == value
    except ValueError:
        return False


def is_foreign(request: web.Request) -> bool:
    """A page of another site asks."""
    origin = request.headers.get("Origin")
    return origin is not None and urlparse(origin).netloc.lower() != request.headers.get("Host", "").lower()


def _file_info(path: Path, folder: Path) -> dict[str, Any]:
    about = path.stat()
    modified = int(about.st_mtime * 1000)
    return {"path": path.relative_to(folder).as_posix(), "size": about.st_size, "modified": modified,
            "created": int(about.st_ctime * 1000)}  # fmt: skip
