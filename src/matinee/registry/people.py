"""People who come to a service from outside its machine: their roles, and their tokens."""

from __future__ import annotations

import secrets
import sqlite3
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import Literal, get_args

from matinee.errors import MatineeError
from matinee.lake.cards import masked
from matinee.lake.records import from_micros
from matinee.registry.changes import now
from matinee.store import Schema, Store, append_only

Role = Literal["viewer", "operator", "approver"]
"""What somebody may do, each all that stands before it: look; send events and ask for decisions;
change what decides.
"""
ROLES: tuple[Role, ...] = get_args(Role)
LONGEST = 200
APPLICATION = "MATINEE_TOKEN"
"""The name of whoever has a token that is in the environment of the server, and nobody else's."""
SIGN_INS = 100
"""So many of the latest are told."""
AGE = 1.0
"""Seconds until a grant or its end is known to a process that was not the one to write it."""

SCHEMA = Schema(
    "people",
    (
        """
        CREATE TABLE people_history (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            name TEXT NOT NULL,
            at INTEGER NOT NULL,
            by TEXT NOT NULL,
            action TEXT NOT NULL CHECK (action IN ('grant', 'revoke', 'sign_in')),
            role TEXT,
            token TEXT,
            reason TEXT NOT NULL
        ) STRICT;
        CREATE INDEX people_history_by_name ON people_history (name, id);
        """
        + append_only("people_history"),
    ),
)


@dataclass(frozen=True)
class Person:
    """Somebody, or an application, by name, and what they may do.

    >>> Person("ann", "operator").may("viewer"), Person("ann", "operator").may("approver")
    (True, False)
    """

    name: str
    role: Role

    def may(self, role: Role) -> bool:
        """Whether what `role` may do is theirs too."""
        return ROLES.index(self.role) >= ROLES.index(role)


@dataclass(frozen=True)
class Granted:
    """A person on record: since when, by whom, and whether they have a token."""

    person: Person
    at: datetime
    by: str
    digest: str | None


@dataclass(frozen=True)
class Entry:
    """One line of the history: who did what about whom, when, and why."""

    name: str
    at: datetime
    by: str
    action: str
    role: Role | None
    reason: str


def digest(token: str) -> str:
    """What is kept of a token, from which it cannot be had again."""
    return sha256(token.encode()).hexdigest()


class People:
    """Who was let in, in a history that nobody can change. Safe for threads and processes.

    >>> import tempfile; from pathlib import Path
    >>> with Store(Path(tempfile.mkdtemp()) / "matinee.db") as store:
    ...     people = People(store)
    ...     token = people.grant("ann", "approver", by="root", reason="runs ML")
    ...     people.of_token(token), people.of_token("guessed")
    (Person(name='ann', role='approver'), None)
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        store.migrate(SCHEMA)
        self._known: Mapping[str, Granted] = {}
        self._of: Mapping[str, Person] = {}
        self._begun, self._ended = False, frozenset[str]()
        self._until = 0.0

    def grant(self, name: str, role: Role, by: str, reason: str, *, token: bool = True) -> str:
        """Let `name` in with a role, or give them another one; the token that they are known by
        from now on, which is never shown again, or an empty text without `token`, for those whom a
        proxy names. A token that they had before ends.

        Raises `MatineeError` for a name that is empty, longer than 200 characters, or not in print.
        """
        printed = name.isprintable() and name == name.strip() and name != APPLICATION
        if not 0 < len(name) <= LONGEST or not printed:
            raise MatineeError(
                "this cannot be a person's name",
                why=f"a name has 1 to {LONGEST} characters that can be printed, and is not "
                f"{APPLICATION}",
                next_step="matinee people grant ann --role approver --reason '...'",
            )
        if role not in ROLES:
            raise MatineeError(f"there is no role {role!r}", next_step=f"one of {', '.join(ROLES)}")
        _check_reason(reason)
        made = f"mat_{secrets.token_urlsafe(32)}" if token else ""
        kept = digest(made) if token else None
        with self._store.transaction() as connection:
            _remember(connection, name, by=by, action="grant", role=role, token=kept, reason=reason)
        self._until = 0.0
        return made

    def revoke(self, name: str, by: str, reason: str, *, named: bool = False) -> None:
        """Let them in no more; raises `MatineeError` where nobody of that name is known, unless a
        proxy may have `named` them.
        """
        _check_reason(reason)
        with self._store.transaction() as connection:
            if name not in self._read() and not named:
                raise MatineeError(
                    f"nobody is called {name!r} here", next_step="matinee people list"
                )
            _remember(connection, name, by=by, action="revoke", reason=reason)
        self._until = 0.0

    def signed_in(self, person: Person) -> None:
        """Put on record that somebody opened the desk."""
        with self._store.transaction() as connection:
            _remember(connection, person.name, by=person.name, action="sign_in", role=person.role)

    def of_token(self, token: str) -> Person | None:
        """Whose token it is. A grant or its end elsewhere is known within a second."""
        self._refresh()
        return self._of.get(digest(token))

    def of_digest(self, start: str) -> Person | None:
        """Whose token it is of which `digest` begins so; at least 16 characters."""
        self._refresh()
        found = [one for kept, one in self._of.items() if kept.startswith(start)]
        return found[0] if len(start) >= 16 and len(found) == 1 else None

    def has_tokens(self) -> bool:
        """Whether anybody was ever given one: when the last one ends, nobody comes in."""
        self._refresh()
        return self._begun

    def is_revoked(self, name: str) -> bool:
        """Whether somebody is to be let in no more, whoever names them."""
        self._refresh()
        return name in self._ended

    def named(self, name: str) -> Person | None:
        """Somebody by name."""
        self._refresh()
        found = self._known.get(name)
        return found.person if found else None

    def all(self) -> list[Granted]:
        """Everybody who is let in now, by name."""
        found = self._read()
        return [found[name] for name in sorted(found)]

    def history(self) -> list[Entry]:
        """All that was ever done, and who signed in of late, the oldest first."""
        return [
            Entry(
                row["name"],
                from_micros(row["at"]),
                row["by"],
                row["action"],
                row["role"],
                row["reason"],
            )
            for row in self._store.rows(
                "SELECT * FROM people_history WHERE action != 'sign_in' OR id IN (SELECT id FROM"
                " people_history WHERE action = 'sign_in' ORDER BY id DESC LIMIT ?) ORDER BY id",
                (SIGN_INS,),
            )
        ]

    def _refresh(self) -> None:
        if time.monotonic() >= self._until:
            self._known = self._read()
            self._of = {one.digest: one.person for one in self._known.values() if one.digest}
            self._begun = self._begun or bool(
                self._store.rows("SELECT 1 FROM people_history WHERE token IS NOT NULL LIMIT 1")
            )
            self._ended = frozenset(row["name"] for row in self._latest("revoke"))
            self._until = time.monotonic() + AGE

    def _read(self) -> dict[str, Granted]:
        return {
            row["name"]: Granted(
                Person(row["name"], row["role"]), from_micros(row["at"]), row["by"], row["token"]
            )
            for row in self._latest("grant")
        }

    def _latest(self, action: str) -> list[sqlite3.Row]:
        """The last lines of those for whom that was done last."""
        return self._store.rows(
            "SELECT * FROM people_history WHERE id IN (SELECT max(id) FROM people_history"
            " WHERE action != 'sign_in' GROUP BY name) AND action = ?",
            (action,),
        )


def _check_reason(reason: str) -> None:
    if not reason.strip():
        raise MatineeError("say why", next_step="give a --reason; it stands in the history")


def _remember(
    connection: sqlite3.Connection,
    name: str,
    *,
    by: str,
    action: str,
    role: Role | None = None,
    token: str | None = None,
    reason: str = "",
) -> None:
    connection.execute(
        "INSERT INTO people_history (name, at, by, action, role, token, reason)"
        " VALUES (?, ?, ?, ?, ?, ?, ?)",
        (name, now(), by, action, role, token, masked(reason)),
    )
