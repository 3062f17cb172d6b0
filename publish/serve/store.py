"""Jobs in SQLite: a process may be killed at any line, and no job is lost or done twice.

Write-ahead logging lets answers be read while pictures are written (sqlite.org/wal.html); every change is one
transaction, synced to the disk before anybody is told.
"""

import json
import secrets
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from publish.serve.job import OPEN, Asked, Draw, Job, State
from stages.runtime.errors import UserError

FILE = "jobs.sqlite"
VERSION = 1
BUSY_S = 10.0  # a transaction here takes milliseconds
SCHEMA = """
CREATE TABLE jobs (
    number INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, owner TEXT NOT NULL,
    idempotency TEXT, body_sha256 TEXT NOT NULL,
    prompt TEXT NOT NULL, negative_prompt TEXT, seed INTEGER NOT NULL, count INTEGER NOT NULL,
    state TEXT NOT NULL, created REAL NOT NULL, started REAL, finished REAL,
    attempts INTEGER NOT NULL DEFAULT 0, failure TEXT NOT NULL DEFAULT '', detail TEXT NOT NULL DEFAULT '',
    UNIQUE (owner, idempotency)
) STRICT;
CREATE INDEX by_state ON jobs (state, number);
CREATE INDEX by_owner ON jobs (owner, number);
CREATE INDEX by_turn ON jobs (owner, started);
CREATE TABLE draws (
    job INTEGER NOT NULL REFERENCES jobs, number INTEGER NOT NULL, seed INTEGER NOT NULL,
    picture INTEGER, sha256 TEXT NOT NULL, reasons TEXT NOT NULL,
    PRIMARY KEY (job, number), UNIQUE (job, picture)
) STRICT, WITHOUT ROWID;
CREATE TABLE worker (
    one INTEGER PRIMARY KEY CHECK (one = 1), pid INTEGER NOT NULL, ready INTEGER NOT NULL, since REAL NOT NULL
) STRICT;
"""
COLUMNS = (
    "number, id, owner, prompt, negative_prompt, seed, count, state, created, started, finished, attempts, failure,"
    " detail"
)


class QueueFull(Exception):
    """As many jobs wait as may wait: of everybody, or of this key."""


class KeyReused(Exception):
    """The idempotency key stands for another body already."""


def build_store(folder: Path) -> None:
    """Make the store in ``folder`` unless it is there.

    Raises:
        UserError: when it is of another version, or no store.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / FILE
    try:
        with closing(_connect(path)) as connection:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("BEGIN IMMEDIATE")  # two may come at once
            if connection.execute("PRAGMA user_version").fetchone()[0] == 0:
                for statement in SCHEMA.split(";"):
                    connection.execute(statement)
                connection.execute(f"PRAGMA user_version = {VERSION}")
            found = connection.execute("PRAGMA user_version").fetchone()[0]
            connection.execute("COMMIT")
    except sqlite3.DatabaseError as error:
        raise UserError(path, f"cannot be used as a store of jobs ({error})", "choose another --output-dir") from None
    if found != VERSION:
        raise UserError(path, f"a store of version {found}, this program knows {VERSION}", "choose another folder")
    path.chmod(0o600)  # prompts are nobody else's business


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=BUSY_S, isolation_level=None, check_same_thread=False)
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA foreign_keys = ON")
    return connection


class Store:
    """One connection to the store; used by one thread at a time."""

    def __init__(self, folder: Path) -> None:
        self._db = _connect(folder / FILE)

    def close(self) -> None:
        """Let the file go."""
        self._db.close()

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield self._db
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")

    def submit(
        self, owner: str, asked: Asked, body_sha256: str, idempotency: str | None, most: int, most_of_owner: int
    ) -> tuple[Job, bool]:
        """The job of this order, and whether it is new: the same idempotency key and body are the same job.

        Raises:
            KeyReused: when the key came with another body before.
            QueueFull: when ``most`` jobs wait, or ``most_of_owner`` of this owner.
        """
        with self._writing() as db:
            if idempotency is not None:
                row = db.execute(
                    "SELECT id, body_sha256 FROM jobs WHERE owner = ? AND idempotency = ?", (owner, idempotency)
                ).fetchone()
                if row is not None and row[1] != body_sha256:
                    raise KeyReused
                if row is not None:
                    return self._known(row[0]), False
            waiting = db.execute(
                "SELECT count(*), coalesce(sum(owner = ?), 0) FROM jobs WHERE state = ?", (owner, State.QUEUED)
            ).fetchone()
            if waiting[0] >= most or waiting[1] >= most_of_owner:
                raise QueueFull
            made = secrets.token_hex(16)
            db.execute(
                "INSERT INTO jobs (id, owner, idempotency, body_sha256, prompt, negative_prompt, seed, count, state,"
                " created) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (made, owner, idempotency, body_sha256, asked.prompt, asked.negative_prompt, asked.seed, asked.count,
                 State.QUEUED, time.time()),
            )  # fmt: skip
            return self._known(made), True

    def find(self, job: str, owner: str) -> Job | None:
        """A job of ``owner`` with its draws; None when it has no such job."""
        row = self._db.execute(f"SELECT {COLUMNS} FROM jobs WHERE id = ? AND owner = ?", (job, owner)).fetchone()
        return self._build(row) if row else None

    def page(self, owner: str, before: int | None, size: int) -> list[Job]:
        """Up to ``size`` jobs of ``owner`` that are older than job number ``before``, the newest first."""
        rows = self._db.execute(
            f"SELECT {COLUMNS} FROM jobs WHERE owner = ? AND number < ? ORDER BY number DESC LIMIT ?",
            (owner, 2**62 if before is None else before, size),
        ).fetchall()
        return [self._build(row) for row in rows]

    def cancel(self, job: str, owner: str) -> Job | None:
        """Cancel a job of ``owner`` if it is open; how it stands then.  None when it has no such job."""
        with self._writing() as db:
            db.execute(
                "UPDATE jobs SET state = ?, finished = ? WHERE id = ? AND owner = ? AND state IN (?, ?)",
                (State.CANCELLED, time.time(), job, owner, *OPEN),
            )
        return self.find(job, owner)

    def take(self, attempts: int) -> Job | None:
        """The next job to draw: one that a worker left running first, then the longest-waiting key's oldest.

        A job over which ``attempts`` workers died fails.
        """
        with self._writing() as db:
            db.execute(
                "UPDATE jobs SET state = ?, finished = ?, failure = 'worker-died', detail = ? WHERE state = ?"
                " AND attempts >= ?",
                (State.FAILED, time.time(), f"{attempts} workers died over one picture", State.RUNNING, attempts),
            )
            row = (
                db.execute(
                    f"SELECT {COLUMNS} FROM jobs WHERE state = ? ORDER BY number LIMIT 1", (State.RUNNING,)
                ).fetchone()
                or db.execute(
                    # Keys take turns, so that one with many jobs does not keep the others waiting.
                    f"SELECT {COLUMNS} FROM jobs AS j WHERE state = ? ORDER BY"
                    " (SELECT max(started) FROM jobs AS k WHERE k.owner = j.owner) NULLS FIRST, number LIMIT 1",
                    (State.QUEUED,),
                ).fetchone()
            )
            if row is None:
                return None
            db.execute(
                "UPDATE jobs SET state = ?, started = coalesce(started, ?), attempts = attempts + 1 WHERE number = ?",
                (State.RUNNING, time.time(), row[0]),
            )
            return self._known(row[1])

    def is_running(self, job: Job) -> bool:
        """Whether a job that was taken is still wanted."""
        row = self._db.execute("SELECT state FROM jobs WHERE number = ?", (job.number,)).fetchone()
        return bool(row[0] == State.RUNNING)

    def add_draw(self, job: Job, draw: Draw) -> None:
        """Keep what was drawn for a job; its next picture has all its attempts again."""
        with self._writing() as db:
            db.execute(
                "INSERT INTO draws VALUES (?, ?, ?, ?, ?, ?)",
                (job.number, draw.number, draw.seed, draw.picture, draw.sha256, json.dumps(draw.reasons)),
            )
            db.execute("UPDATE jobs SET attempts = 1 WHERE number = ? AND state = ?", (job.number, State.RUNNING))

    def finish(self, job: Job, state: State, failure: str = "", detail: str = "") -> None:
        """End a running job; one that was cancelled stays so."""
        with self._writing() as db:
            db.execute(
                "UPDATE jobs SET state = ?, finished = ?, failure = ?, detail = ? WHERE number = ? AND state = ?",
                (state, time.time(), failure, detail, job.number, State.RUNNING),
            )

    def put_back(self, job: Job) -> None:
        """Leave a running job to the next worker, as nobody's fault."""
        with self._writing() as db:
            db.execute(
                "UPDATE jobs SET attempts = 0 WHERE number = ? AND state = ?", (job.number, State.RUNNING)
            )  # fmt: skip

    def beat(self, pid: int, ready: bool) -> None:
        """The worker says that it begins something now: a picture, or to wait for a job."""
        with self._writing() as db:
            db.execute("INSERT OR REPLACE INTO worker VALUES (1, ?, ?, ?)", (pid, int(ready), time.time()))

    def worker(self) -> tuple[int, bool, float] | None:
        """Process id, whether its models are loaded, and when it last began something (seconds since 1970)."""
        row = self._db.execute("SELECT pid, ready, since FROM worker").fetchone()
        return (row[0], bool(row[1]), row[2]) if row else None

    def count_jobs(self) -> dict[State, int]:
        """How many jobs stand where."""
        found = dict(self._db.execute("SELECT state, count(*) FROM jobs GROUP BY state").fetchall())
        return {state: found.get(state, 0) for state in State}

    def count_draws(self) -> tuple[int, int]:
        """Pictures that were delivered, and rejected ones."""
        row = self._db.execute("SELECT count(picture), count(*) - count(picture) FROM draws").fetchone()
        return row[0], row[1]

    def _known(self, job: str) -> Job:
        return self._build(self._db.execute(f"SELECT {COLUMNS} FROM jobs WHERE id = ?", (job,)).fetchone())

    def _build(self, row: tuple[Any, ...]) -> Job:
        number, job, owner, prompt, negative, seed, count, state, created, started, finished, attempts, *said = row
        rows = self._db.execute(
            "SELECT number, seed, picture, sha256, reasons FROM draws WHERE job = ? ORDER BY number", (number,)
        )
        draws = tuple(Draw(n, s, picture, sha256, tuple(json.loads(why))) for n, s, picture, sha256, why in rows)
        return Job(
            number, job, owner, Asked(prompt, negative, seed, count), State(state), created, started, finished,
            attempts, said[0], said[1], draws,
        )  # fmt: skip
