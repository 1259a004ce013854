"""Changes of which version is what, inside a transaction, and the history that remembers them."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from matinee.errors import MatineeError
from matinee.lake.cards import masked
from matinee.lake.records import micros
from matinee.store import Store

Alias = Literal["champion", "challenger"]


@dataclass(frozen=True)
class Change:
    """One line of the history: who did what, when (UTC), from which version to which, and why."""

    surface: str
    at: datetime
    by: str
    action: str
    old: str | None
    new: str
    reason: str


def alias_of(store: Store, surface: str, alias: Alias) -> int | None:
    """The number of the version that has an alias."""
    found = store.rows(
        "SELECT number FROM registry_aliases WHERE surface = ? AND alias = ?", (surface, alias)
    )
    return int(found[0]["number"]) if found else None


def crown(
    connection: sqlite3.Connection,
    surface: str,
    *,
    by: str,
    action: str,
    old: int | None,
    new: int,
    reason: str,
) -> None:
    """Make a version the champion; if it was the challenger, that place is empty after."""
    if old == new:
        raise MatineeError(f"{surface}@{new} is the champion already")
    point(connection, surface, "champion", new)
    connection.execute(
        "DELETE FROM registry_aliases WHERE surface = ? AND alias = 'challenger' AND number = ?",
        (surface, new),
    )
    remember(connection, surface, by=by, action=action, old=old, new=new, reason=reason)


def reigns_of(store: Store, surface: str) -> list[int]:
    """The champions that led to the present one: each roll-back takes the last away."""
    reigns: list[int] = []
    for row in store.rows(
        "SELECT action, new FROM registry_history WHERE surface = ?"
        " AND action IN ('promote', 'approve', 'override', 'roll_back') ORDER BY id",
        (surface,),
    ):
        if row["action"] == "roll_back":
            reigns.pop()
        else:
            reigns.append(row["new"])
    return reigns


def now() -> int:
    return micros(datetime.now(UTC))


def point(connection: sqlite3.Connection, surface: str, alias: Alias, number: int) -> None:
    connection.execute(
        "INSERT INTO registry_aliases VALUES (?, ?, ?)"
        " ON CONFLICT DO UPDATE SET number = excluded.number",
        (surface, alias, number),
    )


def remember(
    connection: sqlite3.Connection,
    surface: str,
    *,
    by: str,
    action: str,
    old: int | None,
    new: int,
    reason: str,
) -> int:
    """Add a line to the history, and return its id."""
    cursor = connection.execute(
        "INSERT INTO registry_history (surface, at, by, action, old, new, reason)"
        " VALUES (?, ?, ?, ?, ?, ?, ?)",
        (surface, now(), by, action, old, new, masked(reason)),
    )
    return cursor.lastrowid or 0
