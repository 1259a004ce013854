"""Who runs a job now: at most one process, and another when that one dies."""

from __future__ import annotations

import logging
import os
import socket
import sqlite3
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime

from matinee.lake.records import from_micros
from matinee.store import Schema, Store

LEASE_SECONDS = 30.0

log = logging.getLogger("matinee.work")

SCHEMA = Schema(
    "jobs",
    (
        """
        CREATE TABLE jobs (
            name TEXT PRIMARY KEY,
            holder TEXT,
            leased_until INTEGER NOT NULL DEFAULT 0,
            started_at INTEGER,
            finished_at INTEGER,
            succeeded_at INTEGER,
            result TEXT NOT NULL DEFAULT '',
            failures INTEGER NOT NULL DEFAULT 0,
            checkpoint INTEGER NOT NULL DEFAULT 0
        ) STRICT;
        """,
    ),
)


@dataclass(frozen=True)
class JobStatus:
    """The last run of a job. `failures` counts failed runs since the last that succeeded."""

    name: str
    holder: str | None
    started_at: datetime | None
    finished_at: datetime | None
    succeeded_at: datetime | None
    result: str
    failures: int


class Leases:
    """The jobs of a service and who holds them, in the service's store.

    A holder that has not renewed its lease for `seconds` is taken to be dead.
    """

    def __init__(self, store: Store, seconds: float = LEASE_SECONDS) -> None:
        self._store, self.seconds = store, seconds
        self._me = f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:8]}"
        store.migrate(SCHEMA)

    @contextmanager
    def hold(self, job: str) -> Iterator[bool]:
        """Hold the job while the block runs; yields whether it could be had.

        A thread renews the lease, so a long run keeps it and a killed process loses it after
        `seconds`.
        """
        if not self._take(job):
            yield False
            return
        stop = threading.Event()
        renewer = threading.Thread(target=self._renew, args=(job, stop), daemon=True)
        renewer.start()
        try:
            yield True
        finally:
            stop.set()
            renewer.join()
            self._release(job)

    def finished(self, job: str, *, result: str, failed: bool) -> None:
        """Record how a run ended."""
        now = _now()
        with self._store.transaction() as connection:
            connection.execute(
                "UPDATE jobs SET finished_at = ?, result = ?,"
                " succeeded_at = CASE WHEN ? THEN succeeded_at ELSE ? END,"
                " failures = CASE WHEN ? THEN failures + 1 ELSE 0 END WHERE name = ?",
                (now, result[:500], failed, now, failed, job),
            )

    def checkpoint(self, job: str) -> int:
        """Where the job's last whole step ended; 0 at first."""
        rows = self._store.rows("SELECT checkpoint FROM jobs WHERE name = ?", (job,))
        return int(rows[0]["checkpoint"]) if rows else 0

    def advance(self, job: str, checkpoint: int) -> None:
        """Remember that everything up to `checkpoint` is done."""
        with self._store.transaction() as connection:
            connection.execute("INSERT OR IGNORE INTO jobs (name) VALUES (?)", (job,))
            connection.execute("UPDATE jobs SET checkpoint = ? WHERE name = ?", (checkpoint, job))

    def statuses(self) -> list[JobStatus]:
        """Every job that ever ran, by name."""
        return [
            JobStatus(
                row["name"],
                row["holder"] if row["leased_until"] > _now() else None,
                _time(row["started_at"]),
                _time(row["finished_at"]),
                _time(row["succeeded_at"]),
                row["result"],
                row["failures"],
            )
            for row in self._store.rows("SELECT * FROM jobs ORDER BY name")
        ]

    def _take(self, job: str) -> bool:
        now = _now()
        with self._store.transaction() as connection:
            connection.execute("INSERT OR IGNORE INTO jobs (name) VALUES (?)", (job,))
            taken = connection.execute(
                "UPDATE jobs SET holder = ?, leased_until = ?, started_at = ?"
                " WHERE name = ? AND NOT (leased_until > ? AND leased_until <= ?)",
                (self._me, self._until(now), now, job, now, self._until(now)),
            )  # a lease that ends later than any could was given before the clock was set back
            return taken.rowcount == 1

    def _renew(self, job: str, stop: threading.Event) -> None:
        while not stop.wait(self.seconds / 3):
            try:
                with self._store.transaction() as connection:
                    connection.execute(
                        "UPDATE jobs SET leased_until = ? WHERE name = ? AND holder = ?",
                        (self._until(_now()), job, self._me),
                    )
            except sqlite3.Error as failure:
                log.warning("the lease of %s was not renewed: %s", job, failure)

    def _until(self, now: int) -> int:
        return now + int(self.seconds * 1e6)

    def _release(self, job: str) -> None:
        with self._store.transaction() as connection:
            connection.execute(
                "UPDATE jobs SET leased_until = 0 WHERE name = ? AND holder = ?", (job, self._me)
            )


def _now() -> int:
    return time.time_ns() // 1_000


def _time(us: int | None) -> datetime | None:
    return None if us is None else from_micros(us)
