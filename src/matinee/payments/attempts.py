"""What all reports on one attempt say together.

An attempt is reported once for each status that it has: late, twice, in any order. What is known
of it is a function of the set of its reports alone.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

import msgspec

from matinee.lake.billing import STATUSES, Attempt, Invoice, Status
from matinee.lake.records import micros

ORDER = {status: place for place, status in enumerate(STATUSES)}
"""Of two reports the one whose status comes later in this order holds."""
OPEN = frozenset({"sent", "unknown"})
"""While an attempt has one of these it may still bring the money."""


@dataclass(frozen=True, slots=True)
class Tried:
    """One attempt, by all its reports. Times are microseconds since 1970.

    `held` is the report that holds. `sent_at` is when the attempt went out, or the first that was
    heard of it; `answered_at` when it was answered, never before that, and `None` while it is not.
    `fee` and `penalty` are the latest that were reported, in minor units.
    """

    held: Attempt
    sent_at: int
    answered_at: int | None
    fee: int
    penalty: int

    @property
    def attempt_id(self) -> str:
        return self.held.attempt_id

    @property
    def status(self) -> Status:
        return self.held.status

    @property
    def in_flight(self) -> bool:
        """Whether it is on its way, or was not answered: it may have been charged."""
        return self.held.status in OPEN

    @property
    def counts(self) -> bool:
        """Whether it counts towards the limits of networks: all but what was approved, and what
        failed without an answer of a network.
        """
        one = self.held
        if one.status == "failed":
            return (one.code or one.category or one.advice) is not None
        return one.status != "approved"


def merged(reports: Iterable[Attempt]) -> list[Tried]:
    """The attempts that reports are about, by (`sent_at`, `attempt_id`).

    The order of the reports does not matter, nor whether one comes twice. Of several with the same
    status the latest holds.

    >>> from datetime import UTC, datetime
    >>> sent = Attempt(attempt_id="a1", member_id="m1", invoice_id="i1", instrument_id="c1",
    ...                processor="goldcard", status="sent", at=datetime(1970, 1, 1, tzinfo=UTC),
    ...                amount=999, currency="EUR")
    >>> declined = msgspec.structs.replace(
    ...     sent, status="declined", at=datetime(1970, 1, 1, 0, 0, 2, tzinfo=UTC), code="51")
    >>> [(one.status, one.sent_at, one.answered_at) for one in merged([declined, sent, declined])]
    [('declined', 0, 2000000)]
    """
    by_id: dict[str, list[Attempt]] = defaultdict(list)
    for report in reports:
        by_id[report.attempt_id].append(report)
    return in_order(map(together, by_id.values()))


def in_order(tried: Iterable[Tried]) -> list[Tried]:
    """The oldest first, of those that were sent at one time by name."""
    return sorted(tried, key=lambda one: (one.sent_at, one.attempt_id))


def is_on(one: Tried, invoice: Invoice) -> bool:
    """Whether an attempt is on an invoice; other members may have one of the same id."""
    held = one.held
    return (held.member_id, held.invoice_id) == (invoice.member_id, invoice.invoice_id)


def in_flight(tried: Iterable[Tried]) -> int:
    """How many attempts are on their way, or were not answered."""
    return sum(one.in_flight for one in tried)


def together(reports: Iterable[Attempt]) -> Tried:
    """One attempt, by at least one report on it."""
    rows = list(reports)
    if len(rows) == 1:  # as most are
        (one,) = rows
        at = micros(one.at)
        return Tried(one, at, None if one.status in OPEN else at, one.fee, one.penalty)
    rows.sort(key=lambda row: (ORDER[row.status], micros(row.at), _content(row)))
    held = rows[-1]
    sent = [micros(row.at) for row in rows if row.status == "sent"]
    sent_at = min(sent or [micros(row.at) for row in rows])
    by_time = sorted(rows, key=lambda row: (micros(row.at), ORDER[row.status], _content(row)))
    return Tried(
        held,
        sent_at,
        None if held.status in OPEN else max(sent_at, micros(held.at)),
        _latest([row.fee for row in by_time]),
        _latest([row.penalty for row in by_time]),
    )


def _content(row: Attempt) -> bytes:
    """Decides between two reports that differ although status and time are the same."""
    return msgspec.json.encode(row)


def _latest(amounts: list[int]) -> int:
    return next((amount for amount in reversed(amounts) if amount), 0)
