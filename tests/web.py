"""A real web server on loopback: files, ranges, and what goes wrong how many times."""

import re
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote


class Web:
    """What is served, what was asked for, and what goes wrong."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.files: dict[str, bytes] = {}  # path, unquoted
        self.asked: Counter[str] = Counter()
        self.ranges: list[str] = []  # of the requests that named one
        self.tokens: dict[str, str] = {}  # path -> Authorization
        self.failures: Counter[str] = Counter()  # path -> answers of 503
        self.cuts: dict[str, list[int]] = {}  # path -> bytes after which each of the next answers breaks off
        self.redirects: dict[str, str] = {}
        self.knows_ranges = True


@contextmanager
def serve() -> Iterator[Web]:
    """Serve until the block ends."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answer(self, web)

        def log_message(self, *_: object) -> None:
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    web = Web(f"http://127.0.0.1:{http.server_port}")
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield web
    finally:
        http.shutdown()
        thread.join()
        http.server_close()


def answer(request: BaseHTTPRequestHandler, web: Web) -> None:
    path = unquote(request.path)
    web.asked[path] += 1
    web.tokens[path] = request.headers.get("Authorization", "")
    if path in web.redirects:
        request.send_response(302)
        request.send_header("Location", web.redirects[path])
        request.send_header("Content-Length", "0")
        return request.end_headers()
    if web.failures[path] > 0:
        web.failures[path] -= 1
        return request.send_error(503)
    if path not in web.files:
        return request.send_error(404)
    body, asked = web.files[path], re.fullmatch(r"bytes=(\d+)-", request.headers.get("Range", ""))
    if asked:
        web.ranges.append(f"{path} {asked[1]}")
    if asked and web.knows_ranges:
        start, whole = int(asked[1]), len(body)
        if start >= whole:
            return request.send_error(416)
        body = body[start:]
        request.send_response(206)
        request.send_header("Content-Range", f"bytes {start}-{whole - 1}/{whole}")
    else:
        request.send_response(200)
    request.send_header("Content-Length", str(len(body)))
    request.end_headers()
    request.wfile.write(body[: web.cuts[path].pop(0)] if web.cuts.get(path) else body)
    return None
