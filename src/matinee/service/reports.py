"""What apps report of payments, held against what stands: repeated, out of order, of nobody."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import msgspec
import polars as pl

from matinee.lake.billing import Attempt
from matinee.lake.schemas import SCHEMAS, TABLE_OF
from matinee.lake.table import collect
from matinee.payments.attempts import ORDER
from matinee.payments.reasons import Reasons
from matinee.ready import ready
from matinee.service.folder import Service
from matinee.surfaces import Payments

DECIDED = timedelta(days=60)
"""For how long a decision is remembered: no grace is longer."""
SAME = ("invoice_id", "instrument_id", "processor", "amount", "currency")
"""What all reports on an attempt must agree on."""
LOAD_SECONDS = 86_400.0
"""How often decisions are read anew, so that old ones are let go of."""


class Judged(NamedTuple):
    """A row as it is to be kept, and what is odd about it.

    A `repeated` row stands already; a `wrong` one says why it cannot be. An attempt may name a
    decision that its member never had (`unknown_decision`), answer one that was never reported as
    sent (`unknown_attempt`), or come after a status that is later in `STATUSES` (`out_of_order`):
    it is kept all the same.
    """

    row: msgspec.Struct
    repeated: bool = False
    wrong: str | None = None
    unknown_decision: bool = False
    unknown_attempt: bool = False
    out_of_order: bool = False


@ready
class _Made(msgspec.Struct):
    """Which decision it is, of whom and where."""

    surface: str
    member_id: str
    decision_id: str


class Reports:
    """What stands of payments, in memory: the ledger's rows, and the decisions of as long.

    `load` reads the decisions from the lake, `follow` takes in what has been decided since.
    Thread-safe. Some 100 bytes a decision.
    """

    def __init__(self, service: Service) -> None:
        self._service, self._reasons = service, Reasons.built_in()
        self._lock = threading.RLock()
        self.load()

    def load(self) -> None:
        """Read everything anew, as after a bulk import or when a member was forgotten."""
        with self._lock:
            lake = self._service.lake
            self._loaded, self._followed = time.monotonic(), lake.inbox.last_seq()
            since = datetime.now(UTC) - DECIDED
            mine = (pl.col("surface") == Payments.name) & (pl.col("at") > since)
            rows = lake.scan("decisions").filter(mine).select("member_id", "decision_id")
            self._decided = set(map(hash, collect(rows, "decisions").iter_rows()))

    def follow(self) -> None:
        """Take in what has arrived since the last call: decisions, and rows of the ledger."""
        with self._lock:
            if time.monotonic() - self._loaded > LOAD_SECONDS:
                self.load()
            inbox = self._service.lake.inbox
            until = inbox.last_seq()
            for one in inbox.fields("decisions", _Made, after=self._followed, until=until):
                if one.surface == Payments.name:
                    self._decided.add(hash((one.member_id, one.decision_id)))
            self._followed = until
        self._service.surfaces[Payments.name].follow()

    def judge(self, records: Sequence[msgspec.Struct]) -> list[Judged]:
        """What is to be made of records that came together, in their order."""
        self.follow()
        attempts: dict[tuple[str, str], dict[str, Attempt]] = {}
        others: dict[tuple[object, ...], msgspec.Struct] = {}
        return [
            self._attempt(one, attempts) if isinstance(one, Attempt) else self._other(one, others)
            for one in records
        ]

    def _other(self, one: msgspec.Struct, seen: dict[tuple[object, ...], msgspec.Struct]) -> Judged:
        schema = SCHEMAS[TABLE_OF[type(one)]]
        key = (schema.name, *(getattr(one, name) for name in schema.key))
        before = seen.get(key) or self._service.ledger.standing(one)
        seen[key] = one
        return Judged(one, repeated=one == before)

    def _attempt(self, one: Attempt, seen: dict[tuple[str, str], dict[str, Attempt]]) -> Judged:
        whose = one.member_id, one.attempt_id
        if whose not in seen:
            seen[whose] = self._service.ledger.reports(*whose)
        before = seen[whose]
        if one.status in before:
            return Judged(one, repeated=True)
        if wrong := _contradiction(one, list(before.values())):
            return Judged(one, wrong=wrong)
        row = _on_record(one, list(before.values()), self._reasons)
        judged = Judged(
            row,
            unknown_decision=one.decision_id is not None and not self._knows(one),
            unknown_attempt=one.status != "sent" and "sent" not in before,
            out_of_order=any(ORDER[status] > ORDER[one.status] for status in before),
        )
        before[one.status] = row
        return judged

    def _knows(self, one: Attempt) -> bool:
        with self._lock:
            return hash((one.member_id, one.decision_id)) in self._decided


def _on_record(one: Attempt, before: Sequence[Attempt], reasons: Reasons) -> Attempt:
    """A report as it is kept: with the decision that earlier ones named, and with its reason."""
    named = one.decision_id or (before[0].decision_id if before else None)
    return reasons.noted(msgspec.structs.replace(one, decision_id=named))


def _contradiction(one: Attempt, before: Sequence[Attempt]) -> str | None:
    """What a report says otherwise than an earlier one, or `None`."""
    if not before:
        return None
    names = [name for name in SAME if getattr(one, name) != getattr(before[0], name)]
    if one.decision_id is not None and before[0].decision_id not in {None, one.decision_id}:
        names.append("decision_id")
    return f"another {', '.join(names)} than was reported before" if names else None
