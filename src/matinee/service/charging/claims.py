"""Who may act on an invoice: one attempt at a time, and one scheduler at a time on it."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from sqlite3 import Row
from typing import NamedTuple

import msgspec

from matinee.lake.billing import Attempt
from matinee.store import Schema, Store

LEASE_SECONDS = 60.0
"""After so long the holder of a claim is taken to be dead."""

SCHEMA = Schema(
    "charging",
    (
        """
        CREATE TABLE charging_claims (
            member_id TEXT NOT NULL,
            invoice_id TEXT NOT NULL,
            attempt_id TEXT NOT NULL,
            attempt TEXT NOT NULL,
            holder TEXT NOT NULL DEFAULT '',
            held_at REAL NOT NULL DEFAULT 0,
            sends INTEGER NOT NULL,
            sent_at REAL NOT NULL,
            PRIMARY KEY (member_id, invoice_id)
        ) STRICT;
        """,
    ),
)

_MINE = "WHERE member_id = ? AND invoice_id = ? AND holder = ?"


class Claim(NamedTuple):
    """The right to act on an attempt: how often it was sent, and when last, on the claims' clock.

    `token` is empty where nobody holds it.
    """

    attempt: Attempt
    token: str
    sends: int
    sent_at: float


class Claims:
    """The attempts in flight, one an invoice, in the service's store.

    Times are those of `clock`, seconds since the machine started, so that setting the wall clock
    changes nothing. A holder that dies keeps its claim for `lease` seconds. One that is only slow
    may lose it too: then two send the same attempt under the same key, which is charged once.

    >>> import tempfile; from datetime import UTC, datetime; from pathlib import Path
    >>> attempt = Attempt(attempt_id="d1", member_id="m1", invoice_id="i1", instrument_id="c1",
    ...                   processor="goldcard", status="sent", amount=999, currency="EUR",
    ...                   at=datetime(2026, 1, 1, tzinfo=UTC))
    >>> claims = Claims(Store(Path(tempfile.mkdtemp()) / "matinee.db"))
    >>> claims.take(attempt).sends, claims.take(attempt)
    (0, None)
    """

    def __init__(
        self,
        store: Store,
        lease: float = LEASE_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store, self._lease, self._clock = store, lease, clock
        store.migrate(SCHEMA)

    def take(self, attempt: Attempt, *, sent: bool = False) -> Claim | None:
        """Claim the attempt's invoice for it; `None` where another attempt, or another scheduler,
        has it. `sent` says that an attempt without a claim may have been sent before, just now.
        """
        now, token = self._clock(), uuid.uuid4().hex
        invoice = attempt.member_id, attempt.invoice_id
        written = msgspec.json.encode(attempt).decode()
        with self._store.transaction() as connection:
            connection.execute(
                "INSERT OR IGNORE INTO charging_claims"
                " (member_id, invoice_id, attempt_id, attempt, sends, sent_at)"
                " VALUES (?, ?, ?, ?, ?, ?)",
                (*invoice, attempt.attempt_id, written, int(sent), now),
            )
            row = connection.execute(
                "SELECT * FROM charging_claims WHERE member_id = ? AND invoice_id = ?", invoice
            ).fetchone()
            if row["attempt_id"] != attempt.attempt_id or self._is_held(row):
                return None
            connection.execute(
                "UPDATE charging_claims SET holder = ?, held_at = ?"
                " WHERE member_id = ? AND invoice_id = ?",
                (token, now, *invoice),
            )
        return _claim(row)._replace(token=token)

    def stamp(self, claim: Claim) -> bool:
        """Note that the attempt is sent now, before it is; false where the claim was lost."""
        return self._change(
            claim, "UPDATE charging_claims SET sends = sends + 1, sent_at = ?", self._clock()
        )

    def leave(self, claim: Claim) -> None:
        """Let anyone take it who comes: nobody knows yet what came of the attempt."""
        self._change(claim, "UPDATE charging_claims SET holder = ?", "")

    def release(self, claim: Claim) -> None:
        """The attempt is settled, or was never sent: the invoice is free."""
        self._change(claim, "DELETE FROM charging_claims")

    def unheld(self) -> list[Claim]:
        """Claims that nobody holds, or whose holder is dead."""
        rows = self._store.rows("SELECT * FROM charging_claims")
        return [_claim(row) for row in rows if not self._is_held(row)]

    def forget(self, member_id: str) -> int:
        """Remove the claims on a member's invoices; how many there were."""
        with self._store.transaction() as connection:
            return connection.execute(
                "DELETE FROM charging_claims WHERE member_id = ?", (member_id,)
            ).rowcount

    def passed(self, since: float) -> float:
        """How many seconds have passed at least since a time of the clock, which begins anew when
        the machine does.
        """
        now = self._clock()
        return now - since if now >= since else now

    def _is_held(self, row: Row) -> bool:
        return bool(row["holder"]) and self.passed(row["held_at"]) < self._lease

    def _change(self, claim: Claim, what: str, *values: object) -> bool:
        """Change a claim that is still held; whether it was."""
        attempt = claim.attempt
        mine = attempt.member_id, attempt.invoice_id, claim.token
        with self._store.transaction() as connection:
            return connection.execute(f"{what} {_MINE}", (*values, *mine)).rowcount == 1


def _claim(row: Row) -> Claim:
    attempt = msgspec.json.decode(row["attempt"], type=Attempt)
    return Claim(attempt, row["holder"], row["sends"], row["sent_at"])
