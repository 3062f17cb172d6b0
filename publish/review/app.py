"""The page and what it asks for.  Pictures are named by hashes that were made at the start: no request names a file."""

import secrets
import socket
from collections import OrderedDict
from pathlib import Path
from threading import Lock
from typing import Any

import uvicorn
from fastapi import FastAPI, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, ConfigDict, Field

import stages.reports.page
from publish.review.gallery import show_picture, show_thumbnail
from publish.review.guard import Guard
from publish.review.session import Review
from publish.review.votes import ID, Cast
from stages.runtime.errors import UserError, disk_error

HERE, REPORT_PAGE = Path(__file__).parent, Path(stages.reports.page.__file__).parent
ASSETS = {
    "": (HERE / "page.html", "text/html"), "page.css": (REPORT_PAGE / "page.css", "text/css"),
    "review.css": (HERE / "review.css", "text/css"), "dom.js": (REPORT_PAGE / "dom.js", "text/javascript"),
    "zoom.js": (HERE / "zoom.js", "text/javascript"), "panel.js": (HERE / "panel.js", "text/javascript"),
    "review.js": (HERE / "review.js", "text/javascript"),
}  # fmt: skip
MOST_THUMBS = 4096  # kept in memory; about 5 kB each
HOST = "127.0.0.1"
QUIETLY: dict[str, Any] = {
    "access_log": False, "log_level": "warning", "lifespan": "off", "server_header": False, "ws": "none",
    "proxy_headers": False, "timeout_graceful_shutdown": 1,
}  # fmt: skip


class Ballot(BaseModel):
    """What the page sends for a vote."""

    model_config = ConfigDict(extra="forbid", strict=True)

    id: str = Field(pattern=ID)
    item: str = Field(max_length=64)
    vote: Cast
    scores_shown: bool
    milliseconds: int = Field(ge=0, lt=10**9)


class Undo(BaseModel):
    """What it sends to take one back."""

    model_config = ConfigDict(extra="forbid", strict=True)

    id: str = Field(pattern=ID)


def build_app(review: Review, token: str, port: int) -> Guard:
    """The application behind its guard."""
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None, root_path="")
    app.exception_handler(UserError)(_refuse)
    app.exception_handler(OSError)(_refuse_disk)
    app.exception_handler(RequestValidationError)(_refuse_form)
    _add_page(app, token)
    _add_pictures(app, token, review)
    _add_votes(app, token, review)
    return Guard(app, token, port)


async def _refuse(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, UserError)
    return JSONResponse({"what": error.what}, status_code=409)


async def _refuse_disk(_: Request, error: Exception) -> JSONResponse:
    """A full disk is no reason to lose the page: the vote is not counted, and can be cast again."""
    assert isinstance(error, OSError)
    mendable = disk_error(error)
    if mendable is None:
        raise error
    return JSONResponse({"what": f"{mendable.what}; {mendable.todo}"}, status_code=507)


async def _refuse_form(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    return JSONResponse({"what": f"{'.'.join(map(str, first['loc']))}: {first['msg']}"}, status_code=422)


def _add_page(app: FastAPI, token: str) -> None:
    @app.get(f"/{token}/{{name}}")
    def read_asset(name: str) -> Response:
        if name not in ASSETS:
            raise HTTPException(404)
        path, kind = ASSETS[name]
        return Response(path.read_bytes(), media_type=kind)

    @app.get(f"/{token}/")
    def read_page() -> Response:
        return read_asset("")


def _add_pictures(app: FastAPI, token: str, review: Review) -> None:
    thumbs: OrderedDict[str, bytes] = OrderedDict()
    lock = Lock()

    @app.get(f"/{token}/pictures/{{name}}")
    def read_picture(name: str) -> Response:
        if name not in review.pictures:
            raise HTTPException(404)
        data, kind = show_picture(review.pictures[name])
        return Response(data, media_type=kind)

    @app.get(f"/{token}/thumbs/{{item}}")
    def read_thumb(item: str) -> Response:
        if item not in review.by_id:
            raise HTTPException(404)
        data = thumbs.get(item)
        if data is None:
            data = show_thumbnail(review.by_id[item])
            with lock:
                thumbs[item] = data
                if len(thumbs) > MOST_THUMBS:
                    thumbs.popitem(last=False)
        return Response(data, media_type="image/jpeg")


def _add_votes(app: FastAPI, token: str, review: Review) -> None:
    # Plain functions: FastAPI runs them in threads, so that one that waits for the disk holds up nobody else.

    @app.get(f"/{token}/items/state")
    def read_state() -> dict[str, Any]:
        return review.describe()

    @app.get(f"/{token}/items/{{item}}/gate")
    def read_gate(item: str) -> dict[str, Any]:
        record = review.by_id[item].pictures[0].record if item in review.by_id else None
        if record is None or review.assignment is not None:
            raise HTTPException(404)
        review.seen.add(item)
        return {"approved": record.approved, "reasons": record.reasons, "scores": record.scores.model_dump()}

    @app.post(f"/{token}/votes")
    def cast_vote(ballot: Ballot) -> dict[str, Any]:
        review.cast(ballot.id, ballot.item, ballot.vote, ballot.scores_shown, ballot.milliseconds)
        return _answer(review, ballot.item)

    @app.post(f"/{token}/undo")
    def take_back(undo: Undo) -> dict[str, Any]:
        return _answer(review, review.undo(undo.id).item)

    @app.get(f"/{token}/items/report")
    def read_report() -> dict[str, Any]:
        return review.report().model_dump()


def _answer(review: Review, item: str) -> dict[str, Any]:
    standing = review.standing()
    described = review.describe_item(review.by_id[item], standing)
    return {"item": described, "undoable": bool(standing), "open": review.is_open(standing)}


def listen(port: int) -> socket.socket:
    """A socket on loopback; 0: any free port.

    Raises:
        UserError: when the port is taken.
    """
    door = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        door.bind((HOST, port))
    except OSError as error:
        door.close()
        raise UserError(
            f"--port {port}", f"cannot be had ({error.strerror})", "leave it out, or take another"
        ) from None
    door.listen(64)
    return door


def make_token() -> str:
    """As good as unguessable: 192 random bits."""
    return secrets.token_urlsafe(24)


def serve_review(review: Review, door: socket.socket, token: str) -> None:
    """Answer until interrupted."""
    config = uvicorn.Config(build_app(review, token, door.getsockname()[1]), **QUIETLY)
    uvicorn.Server(config).run(sockets=[door])
