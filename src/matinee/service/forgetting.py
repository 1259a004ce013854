"""Forgetting a member: what is removed, and the nameless note that stays."""

from __future__ import annotations

import time
from datetime import datetime

import msgspec

from matinee.lake.records import micros
from matinee.service.charging.claims import Claims
from matinee.service.folder import Service
from matinee.store import Schema, Store

SCHEMA = Schema(
    "tombstones",
    (
        """
        CREATE TABLE tombstones (
            id INTEGER PRIMARY KEY,
            at INTEGER NOT NULL,
            removed TEXT NOT NULL
        ) STRICT;
        """,
    ),
)


def forget(service: Service, member_id: str) -> dict[str, int]:
    """Remove one member from every table, and what is in flight; rows removed, by place.

    A tombstone without the member's name notes when, and how many rows went: versions trained
    before it have learned from them still. Running servers forget within a second.
    """
    claims = Claims(service.store).forget(member_id)
    removed = {**service.lake.forget(member_id), "claims": claims}
    if any(removed.values()):
        service.store.migrate(SCHEMA)
        with service.store.transaction() as connection:
            connection.execute(
                "INSERT INTO tombstones (at, removed) VALUES (?, ?)",
                (time.time_ns() // 1_000, msgspec.json.encode(removed).decode()),
            )
    return removed


def tombstones(store: Store, since: datetime | None = None) -> int:
    """How many members were forgotten, ever or since a time."""
    store.migrate(SCHEMA)
    (row,) = store.rows(
        "SELECT count(*) AS forgotten FROM tombstones WHERE at >= ?",
        (0 if since is None else micros(since),),
    )
    return int(row["forgotten"])
