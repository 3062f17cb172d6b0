"""Clients of `pistachio serve`, as many at once as are asked for; what they saw is printed as JSON.

    python -m bench.serve_clients URL SECONDS < KEYS

One client per line of KEYS.  Each submits a job, asks how it stands until it has ended, fetches its pictures, and
begins again; some submit twice at once, as after an answer that was lost.  After SECONDS they wait a while for the job
that they have, and then cancel it.
"""

import asyncio
import hashlib
import json
import random
import sys
import time
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import Any

import aiohttp

POLL_S = 0.5  # between two looks at a job
TWICE = 0.2  # share of jobs that are submitted twice at once
PATIENCE_S = 30.0  # that a client waits for its job after the last was submitted
PROMPT = "{trigger}, a {class_word}, smiling, glasses, blue shirt, beach background, close-up, warm light"
ENDED = frozenset({"done", "incomplete", "failed", "cancelled"})


@dataclass
class Seen:
    """What the clients saw."""

    seconds: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))  # by kind of request
    statuses: Counter[str] = field(default_factory=Counter)
    states: Counter[str] = field(default_factory=Counter)  # of jobs that ended
    pictures: int = 0
    lost: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    spoilt: list[str] = field(default_factory=list)  # pictures whose bytes are not their hash


@dataclass
class Client:
    """One client with its key."""

    session: aiohttp.ClientSession
    key: str
    seen: Seen
    dice: random.Random
    mine: set[str] = field(default_factory=set)  # jobs that were acknowledged

    async def _ask(self, kind: str, method: str, path: str, **more: Any) -> tuple[int, bytes]:
        headers = {"Authorization": f"Bearer {self.key}"} | more.pop("headers", {})
        began = time.perf_counter()
        async with self.session.request(method, path, headers=headers, **more) as answer:
            body = await answer.read()
        self.seen.seconds[kind].append(time.perf_counter() - began)
        self.seen.statuses[f"{kind} {answer.status}"] += 1
        return answer.status, body

    async def _submit(self) -> str | None:
        more: dict[str, Any] = {
            "headers": {"Idempotency-Key": f"{self.dice.getrandbits(64):x}"},
            "json": {"prompt": PROMPT, "seed": self.dice.getrandbits(48)},
        }
        times = 2 if self.dice.random() < TWICE else 1
        answers = await asyncio.gather(*(self._ask("submit", "POST", "/v1/jobs", **more) for _ in range(times)))
        jobs = {json.loads(body)["id"] for status, body in answers if status in (200, 202)}
        if len(jobs) > 1:
            self.seen.doubled += sorted(jobs)
        self.mine |= jobs
        return min(jobs, default=None)

    async def work(self, until: float) -> None:
        """Job after job until ``until``."""
        await asyncio.sleep(self.dice.random() * POLL_S)  # not all in the same instant
        while time.monotonic() < until:
            job = await self._submit()
            if job is None:  # refused for now
                await asyncio.sleep(1.0)
                continue
            await self._follow(job, until + PATIENCE_S)

    async def _follow(self, job: str, until: float) -> None:
        while time.monotonic() < until:
            await asyncio.sleep(POLL_S)
            status, body = await self._ask("status", "GET", f"/v1/jobs/{job}")
            view = json.loads(body)
            if status == 200 and view["state"] in ENDED:
                self.seen.states[view["state"]] += 1
                await self._fetch(view)
                return
        _, body = await self._ask("cancel", "DELETE", f"/v1/jobs/{job}")
        self.seen.states[json.loads(body).get("state", "done")] += 1  # refused: it has just ended

    async def _fetch(self, view: dict[str, Any]) -> None:
        for picture in view["pictures"]:
            _, data = await self._ask("picture", "GET", picture["href"])
            self.seen.pictures += 1
            if hashlib.sha256(data).hexdigest() != picture["sha256"]:
                self.seen.spoilt.append(picture["href"])

    async def audit(self) -> None:
        """Compare what was acknowledged with the jobs that the server has of this key."""
        listed: list[str] = []
        before = ""
        while True:
            _, body = await self._ask("list", "GET", f"/v1/jobs{before}")
            page = json.loads(body)
            listed += [job["id"] for job in page["jobs"] if job["state"] in ENDED]
            if page["next"] is None:
                break
            before = f"?before={page['next']}"
        self.seen.lost += sorted(self.mine - set(listed))
        self.seen.doubled += sorted(set(listed) - self.mine) + [job for job, n in Counter(listed).items() if n > 1]


async def run(url: str, keys: list[str], seconds: float) -> Seen:
    """Let one client per key work for ``seconds``, then audit."""
    seen = Seen()
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(url, connector=connector, timeout=aiohttp.ClientTimeout(30)) as session:
        clients = [Client(session, key, seen, random.Random(number)) for number, key in enumerate(keys)]
        until = time.monotonic() + seconds
        await asyncio.gather(*(client.work(until) for client in clients))
        for client in clients:
            await client.audit()
    return seen


def percentile(values: list[float], share: float) -> float:
    """The smallest value that at least ``share`` of ``values`` do not exceed, in milliseconds."""
    ordered = sorted(values)
    return round(1000 * ordered[max(0, -(-int(1000 * share) * len(ordered) // 1000) - 1)], 2) if ordered else 0.0


def summarise(seen: Seen) -> dict[str, Any]:
    """Figures of a run; times in milliseconds."""
    times = {
        kind: {"requests": len(values), **{f"p{round(100 * q)}": percentile(values, q) for q in (0.5, 0.95, 0.99)},
               "max": percentile(values, 1.0)}
        for kind, values in sorted(seen.seconds.items())
    }  # fmt: skip
    return {
        "times_ms": times, "statuses": dict(sorted(seen.statuses.items())), "jobs": dict(sorted(seen.states.items())),
        "pictures": seen.pictures, "lost": seen.lost, "doubled": seen.doubled, "spoilt": seen.spoilt,
    }  # fmt: skip


if __name__ == "__main__":
    result = asyncio.run(run(sys.argv[1], sys.stdin.read().split(), float(sys.argv[2])))
    print(json.dumps(summarise(result)))
