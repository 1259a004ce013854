"""What takes long to read from the log, read ahead of who asks: the job `desk`.

What was read stands in the service's store, so that it is there for every process, the next morning
and after a start.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Generic, TypeVar

import msgspec

from matinee import __version__
from matinee.errors import MatineeError
from matinee.insights.attributing import Attributed, attributed
from matinee.insights.exploration import Explored, explored
from matinee.insights.processing import Processing, processing
from matinee.insights.shares import Share, shares
from matinee.insights.today import Today, today
from matinee.lake.records import from_micros, micros
from matinee.service.folder import Service
from matinee.service.jobs import Job, Worker, jobs
from matinee.store import Schema
from matinee.surfaces import Artwork

Found = TypeVar("Found")
Stamp = tuple[int, ...]

SCHEMA = Schema(
    "ahead",
    (
        """
        CREATE TABLE ahead (
            name TEXT PRIMARY KEY,
            version TEXT NOT NULL,
            at INTEGER NOT NULL,
            stamp TEXT NOT NULL,
            body BLOB NOT NULL
        ) STRICT;
        """,
    ),
)


def changes(service: Service) -> Stamp:
    """Another after every change of versions or of experiments."""
    return service.registry.generation(), service.trials.generation()


def promotions(service: Service) -> Stamp:
    """Another after every change of versions."""
    return (service.registry.generation(),)


def _nothing(_: Service) -> Stamp:
    return ()


@dataclass(frozen=True)
class Taken(Generic[Found]):
    """What was read, when that was begun, and the `stamp` of the service then."""

    found: Found
    at: datetime
    stamp: Stamp


@dataclass(frozen=True)
class Ahead(Generic[Found]):
    """Something to read, of which `kind` the result is; out of date where `stamp` has changed."""

    name: str
    kind: Any
    read: Callable[[Service], Found]
    stamp: Callable[[Service], Stamp] = _nothing

    def put(self, service: Service) -> None:
        """Read it, and keep what was found in place of what stands; nothing where there is nothing
        to say yet.
        """
        at, stamp = micros(datetime.now(UTC)), json.dumps(self.stamp(service))
        service.store.migrate(SCHEMA)
        try:
            row = (self.name, __version__, at, stamp, msgspec.msgpack.encode(self.read(service)))
        except MatineeError:
            with service.store.transaction() as connection:
                connection.execute("DELETE FROM ahead WHERE name = ?", (self.name,))
            return
        with service.store.transaction() as connection:
            connection.execute("REPLACE INTO ahead VALUES (?, ?, ?, ?, ?)", row)

    def taken(self, service: Service, after: datetime | None = None) -> Taken[Found] | None:
        """What stands, of this version of Matinee, if it was read later than `after`."""
        service.store.migrate(SCHEMA)
        rows = service.store.rows(
            "SELECT at, stamp, body FROM ahead WHERE name = ? AND version = ? AND at > ?",
            (self.name, __version__, micros(after) if after else 0),
        )
        for row in rows:
            with suppress(msgspec.MsgspecError):  # what another state of the code has written
                found = msgspec.msgpack.decode(row["body"], type=self.kind)
                return Taken(found, from_micros(row["at"]), tuple(json.loads(row["stamp"])))
        return None


TODAY = Ahead[Today]("today", Today, today, changes)
EXPLORED = Ahead[tuple[Explored, ...]](
    "explored",
    tuple[Explored, ...],
    lambda service: explored(service, datetime.now(UTC)),
    promotions,
)
PAYMENTS = Ahead[Processing]("payments", Processing, processing)
SHARES = Ahead[dict[str, dict[str, Share]]](
    "shares", dict[str, dict[str, Share]], lambda service: shares(service, Artwork.name)
)
BROUGHT = Ahead[Attributed](
    "brought", Attributed, lambda service: attributed(service, Artwork.name), promotions
)
ALL: tuple[Ahead[Any], ...] = (TODAY, PAYMENTS, SHARES, BROUGHT, EXPLORED)


def look_ahead(service: Service) -> str:
    """Read all of it; where something cannot be read, the rest all the same."""
    failures: list[Exception] = []
    for one in ALL:
        try:
            one.put(service)
        except Exception as failure:  # what cannot be read of one surface says nothing of others
            failures.append(failure)
    if failures:
        raise failures[0]
    return ""


def reading(service: Service) -> Job:
    """The job that reads what the desk shows."""
    return Job("desk", service.settings.desk.read_every.delta, look_ahead)


def chores(service: Service) -> list[Job]:
    """The jobs of a service, and last that."""
    return [*jobs(service), reading(service)]


def work_until(service: Service, stop: threading.Event) -> None:
    """Run all of them when they are due until `stop` is set; what the desk shows is read beside the
    others, which are not to wait for it.
    """
    beside = threading.Thread(target=Worker(service, [reading(service)]).run_until, args=(stop,))
    beside.start()
    try:
        Worker(service, jobs(service)).run_until(stop)
    finally:
        stop.set()
        beside.join()
