"""One run over one or several servers: sends pictures, finds out what became of them, and loses none.

The truth is in /queue, /history and the output folder; every sending has an id of its own, written down before it is
sent, and the file of a picture is named for it.  So an answer that never came, a server that forgot everything, or a
client that was killed costs at most the drawing of what was under way.
"""

import json
import sys
import time
import uuid
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from heapq import heappop, heappush
from pathlib import Path
from typing import Any

import numpy as np

from stages.backends.generate.comfyui.bell import Bell
from stages.backends.generate.comfyui.deployment import check_versions
from stages.backends.generate.comfyui.jobs import PREFIX, Job
from stages.backends.generate.comfyui.pictures import WrongPicture, read_drawn
from stages.backends.generate.comfyui.post import Flight, Post
from stages.backends.generate.comfyui.sent import Sending, SentFolder
from stages.backends.generate.comfyui.server import ANSWER, BRIEF, Unreachable
from stages.runtime.errors import UserError
from stages.runtime.progress import LOG_SECONDS
from stages.runtime.provenance import hash_bytes

DEPTH = 2  # prompts per server: one that runs and one that waits, so that the server never does
POLL = 0.5  # seconds between two looks when no bell rings
UNSEEN = 4  # looks in a row that find a prompt nowhere, until it is lost
FETCHES = 3  # tries to fetch one file
TRIES = 4  # sendings of one picture
MOVE_ON = 5.0  # seconds without a server after which another one gets its work
ASKED = 3  # failures in a row, at the least, before a server counts as gone: one answer may take long to fail
LOG = Path("logs/comfyui.jsonl")


class Run:
    """The pictures of some jobs, in order."""

    def __init__(self, posts: Sequence[Post], jobs: Sequence[Job], sent: SentFolder, patience: float) -> None:
        self.posts, self.jobs, self.sent, self.patience = posts, jobs, sent, patience
        self.client_id = uuid.uuid4().hex
        self.bell = Bell(self.client_id)
        self.waiting = list(range(len(jobs)))  # a heap: what is due first is sent first
        self.ready: dict[int, np.ndarray] = {}
        self.tries: Counter[int] = Counter()
        self.asked = 0  # the picture that the caller waits for
        self.told = 0.0  # when something was last said of it

    def pictures(self) -> Iterator[np.ndarray]:
        """Yield uint8 (height, width, 3) RGB per job, in order; what is under way is cancelled if nobody wants it.

        Raises:
            UserError: when a picture cannot be drawn, or no server has answered for ``patience`` seconds.
        """
        try:
            self._adopt()
            for number, job in enumerate(self.jobs):
                self.asked, self.told = number, time.monotonic()
                while number not in self.ready:
                    if not self._turn():
                        self._tell()
                        self.bell.wait(POLL)
                yield self.ready.pop(number)
                self.sent.forget(job.key)  # who asks for the next picture has kept this one
        finally:
            self.bell.close()
            self._cancel()

    def _adopt(self) -> None:
        """Take over what a killed client sent."""
        posts = {post.url: post for post in self.posts}
        for number in list(self.waiting):
            sending = self.sent.read(self.jobs[number].key)
            post = posts.get(sending.url) if sending is not None else None
            if sending is None or post is None or not post.prepared or sending.version != post.deployment.version:
                continue
            graph = post.deployment.graph(self.jobs[number], sending.prompt_id, sending.mark)
            post.flights.append(Flight(number, sending.prompt_id, graph, sending.since))
            self.waiting.remove(number)  # what is left of a sorted list is a heap

    def _turn(self) -> bool:
        """Ask and tell every server once; whether a picture came."""
        before = len(self.ready)
        for post in self.posts:
            if time.monotonic() < post.ask_again:
                continue
            others = any(other.down_since is None for other in self.posts if other is not post)
            post.deployment.server.patience = BRIEF if others and post.down_since is not None else ANSWER
            try:
                self._prepare(post)
                self._look(post)
                self._send_more(post)
                post.answered()
            except Unreachable as error:
                post.failed(error)
        self._move_on()
        return len(self.ready) > before

    def _tell(self) -> None:
        """Say now and then how far a slow picture is, or that nobody answers."""
        if time.monotonic() - self.told < LOG_SECONDS:
            return
        self.told = time.monotonic()
        for post in self.posts:
            steps = [f"{self.bell.progress.get(flight.prompt_id, 0.0):.0%}" for flight in post.flights]
            state = post.why if post.down_since is not None else f"draws ({', '.join(steps)})" if steps else "idle"
            print(f"comfyui: picture {self.asked + 1} of {len(self.jobs)}: {post.url}: {state}", file=sys.stderr)

    def _prepare(self, post: Post) -> None:
        self.bell.listen(post.url)
        if not post.prepared:  # it did not answer when the run began
            post.deployment.prepare(self.jobs)
            check_versions(other.deployment.version for other in self.posts if other.prepared or other is post)
            post.prepared = True

    def _look(self, post: Post) -> None:
        """What became of the prompts that this server was sent."""
        if not post.flights:
            return
        queued = post.deployment.server.queued()  # before the histories: a prompt leaves the one for the other
        for flight in list(post.flights):
            record = None if flight.prompt_id in queued else post.deployment.server.history(flight.prompt_id)
            if record is not None:
                self._end(post, flight, record)
            elif flight.prompt_id in queued:
                flight.unseen = 0
            else:
                flight.unseen += 1
                if flight.unseen >= UNSEEN:
                    self._recover(post, flight)

    def _end(self, post: Post, flight: Flight, record: dict[str, Any]) -> None:
        """A prompt has ended: fetch its picture, or find out why there is none."""
        status = record.get("status") or {}
        if status.get("status_str") == "error":
            self._again(post, flight, _why_failed(status))
            return
        save = self.jobs[flight.number].workflow.roles["save"]
        images = record.get("outputs", {}).get(save, {}).get("images", [])
        if len(images) != 1:
            self._again(post, flight, f"node {save} (@save) wrote {len(images)} pictures and not one")
            return
        name, folder, kind = (images[0].get(key, "") for key in ("filename", "subfolder", "type"))
        try:
            self._take(post, flight, name, folder, kind)
        except WrongPicture as error:
            flight.fetches += 1
            if flight.fetches >= FETCHES:
                self._again(post, flight, str(error))

    def _recover(self, post: Post, flight: Flight) -> None:
        """The server has forgotten a prompt: it may have drawn it before it was restarted."""
        try:
            self._take(post, flight, f"{flight.prompt_id}_00001_.png", PREFIX, "output")
        except WrongPicture:
            self._again(post, flight, "the server lost it")

    def _take(self, post: Post, flight: Flight, name: str, folder: str, kind: str) -> None:
        """Fetch a picture, and believe it only when it is what was asked for.

        Raises:
            WrongPicture: when it is not.
        """
        data = post.deployment.server.view(name, folder, kind)
        pixels = read_drawn(data, flight.graph)
        job = self.jobs[flight.number]
        if pixels.shape[:2] != (job.request.height, job.request.width):
            height, width = pixels.shape[:2]
            raise WrongPicture(f"is {width}x{height}, not {job.request.width}x{job.request.height}")
        post.deployment.check_keys(job, flight.since)
        post.flights.remove(flight)
        self.ready.setdefault(flight.number, pixels)
        assert data is not None
        _log({"time": time.time(), "url": post.url, "prompt_id": flight.prompt_id, "job": job.key,
              "file": f"{folder}/{name}", "sha256": hash_bytes(data)})  # fmt: skip

    def _again(self, post: Post, flight: Flight, why: str) -> None:
        """Draw a picture once more, unless that was tried often enough.

        Raises:
            UserError: when it was.
        """
        post.flights.remove(flight)
        self.tries[flight.number] += 1
        if self.tries[flight.number] >= TRIES:
            request = self.jobs[flight.number].request
            what = f"{why} ({TRIES} times; prompt {request.prompt!r}, seed {request.seed})"
            raise UserError(post.url, what, "look into the server's log, then run again: finished pictures are kept")
        heappush(self.waiting, flight.number)

    def _send_more(self, post: Post) -> None:
        """Keep a server busy, without running far ahead of the caller."""
        ahead = self.asked + 2 * DEPTH * len(self.posts)
        while self.waiting and self.waiting[0] < ahead and len(post.flights) < DEPTH:
            job, number, prompt_id = self.jobs[self.waiting[0]], self.waiting[0], str(uuid.uuid4())
            since, mark = post.deployment.open_log(job), post.deployment.mark
            graph = post.deployment.graph(job, prompt_id, mark)
            heappop(self.waiting)
            post.flights.append(Flight(number, prompt_id, graph, since))  # before it is sent: it may arrive unheard
            self.sent.write(job.key, Sending(post.url, prompt_id, mark, since, post.deployment.version))
            extra = {"pistachio": {"prompt_id": prompt_id, "job": job.key}}
            post.deployment.server.send(graph, prompt_id, self.client_id, extra)

    def _move_on(self) -> None:
        """Give the work of servers that are gone to others.

        Raises:
            UserError: when all are gone for too long.
        """
        now = time.monotonic()
        down = {post.url: now - post.down_since for post in self.posts if post.down_since is not None}
        if len(down) == len(self.posts):
            asked_often = all(post.failures >= ASKED for post in self.posts)
            if min(down.values()) >= self.patience and asked_often:
                what = f"no ComfyUI server answers for {self.patience:g} s ({self.posts[0].why})"
                raise UserError("machine.comfyui_urls", what, "start it, then run again: finished pictures are kept")
            return
        for post in self.posts:
            if down.get(post.url, 0.0) >= MOVE_ON and post.flights:
                for flight in post.flights:
                    heappush(self.waiting, flight.number)
                post.flights.clear()

    def _cancel(self) -> None:
        """Take back what is under way: nobody will fetch it; who got the last picture has kept it."""
        self.sent.forget(self.jobs[self.asked].key)
        for post in self.posts:
            with suppress(Unreachable, UserError):
                for flight in post.flights:
                    self.sent.forget(self.jobs[flight.number].key)
                    if post.down_since is None:
                        post.deployment.server.cancel(flight.prompt_id)
            post.flights.clear()


def _why_failed(status: dict[str, Any]) -> str:
    """What the last message of a prompt that failed says."""
    kind, told = (status.get("messages") or [["", {}]])[-1]
    if kind == "execution_interrupted":
        return "somebody interrupted it"
    name, cause = told.get("node_type", "a node"), " ".join(str(told.get("exception_message", "")).split())
    memory = "; out of memory: lower the resolution, set vae_tile, or start ComfyUI with --lowvram"
    return f"{name} failed: {cause}" + (memory if "OutOfMemory" in str(told.get("exception_type")) else "")


def _log(entry: dict[str, Any]) -> None:
    """Where each picture came from, one JSON line each, for whoever looks for it."""
    LOG.parent.mkdir(parents=True, exist_ok=True)
    with LOG.open("a", encoding="utf-8") as stream:
        stream.write(json.dumps(entry) + "\n")
