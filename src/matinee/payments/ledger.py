"""What is due, what it may be charged to and what was tried, in memory and kept fresh."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import NamedTuple, Self

import msgspec
import polars as pl

from matinee.lake.billing import (
    Attempt,
    Instrument,
    Invoice,
    NetworkRule,
    Outage,
    Processor,
)
from matinee.lake.lake import Lake
from matinee.lake.records import micros
from matinee.lake.rows import decode_record, records_of
from matinee.lake.schemas import SCHEMAS
from matinee.lake.table import collect
from matinee.payments.attempts import Tried, in_order, is_on, together
from matinee.payments.case import Case
from matinee.payments.health import Alarm, Health

KEPT = timedelta(days=200)
"""For how long attempts are remembered: no rule counts back farther than 180 days."""
ALARM = Alarm()
BULK_SECONDS = 1.0
"""How often bulk imports are looked for."""
OF_ALL = ("processors", "outages", "rules")
LEARNED = (*OF_ALL, "invoices", "instruments", "attempts")
"""The tables that it is made from."""


class Account(NamedTuple):
    """An invoice with its instruments by rank, those that were reported, the attempts on it, oldest
    first, and the case of each instrument, with all attempts on the same card, whatever they were
    for.
    """

    invoice: Invoice
    instruments: tuple[Instrument | None, ...]
    tried: tuple[Tried, ...]
    cases: tuple[Case | None, ...]


@dataclass
class _Member:
    invoices: dict[str, Invoice] = field(default_factory=dict)
    instruments: dict[str, Instrument] = field(default_factory=dict)
    reports: dict[str, dict[str, Attempt]] = field(default_factory=lambda: defaultdict(dict))
    """By attempt, by status."""
    tried: dict[str, Tried] = field(default_factory=dict)
    """By attempt, what its reports say together."""


class Ledger:
    """The tables of payments as they are known now. Counters are worked out from attempts, never
    kept.

    `load` reads them from the lake, `take` a row, at once or again, in any order, and `follow` what
    other processes have written since. Thread-safe. About a kilobyte an attempt of the last 200
    days.
    """

    def __init__(self, lake: Lake | None, alarm: Alarm = ALARM) -> None:
        self._lake, self._lock, self.alarm = lake, threading.RLock(), alarm
        self._following = threading.RLock()
        self._followed, self._looked = -1, 0.0
        self._marks: tuple[int, ...] = ()
        self._empty()
        self.load()

    @classmethod
    def of(cls, records: Iterable[msgspec.Struct], alarm: Alarm = ALARM) -> Self:
        """One of these rows alone, that reads no lake."""
        ledger = cls(None, alarm)
        for record in records:
            ledger.take(record)
        return ledger

    def _empty(self) -> None:
        self._members: dict[str, _Member] = defaultdict(_Member)
        self._cards: dict[str, set[tuple[str, str]]] = defaultdict(set)
        self._of_card: dict[tuple[str, str], str] = {}
        self._same: dict[str, set[str]] = defaultdict(set)
        self._sent: dict[tuple[str, str], int] = defaultdict(int)
        self._health: dict[str, Health] = {}
        self.processors: dict[str, Processor] = {}
        self.outages: list[Outage] = []
        self.rules: list[NetworkRule] = []

    def load(self) -> None:
        """Read everything anew, as after a bulk import."""
        if self._lake is None:
            return
        with self._following:
            self._load(self._lake)

    def _load(self, lake: Lake) -> None:
        marks, looked = lake.appended(LEARNED), time.monotonic()
        followed, since = lake.inbox.last_seq(), datetime.now(UTC) - KEPT
        anew = Ledger(None, self.alarm)
        for name in (*OF_ALL, "invoices", "instruments"):
            for record in lake.records(name):
                anew.take(record)
        late = lake.scan("attempts").filter(pl.col("at") >= since).sort("at", "seq")
        for record in records_of(collect(late, "attempts"), SCHEMAS["attempts"]):
            anew.take(record)
        own = {"_lake", "_lock", "_following", "alarm", "_followed", "_marks", "_looked"}
        with self._lock:
            self.__dict__.update({k: v for k, v in anew.__dict__.items() if k not in own})
            self._followed, self._marks, self._looked = followed, marks, looked

    def follow(self) -> bool:
        """Take in rows written since the last call; whether there were any."""
        if self._lake is None:
            return False
        with self._following:  # or of two threads the one with older rows might come last
            if self._came_in_bulk(self._lake):
                self._load(self._lake)
                return True
            until, found = self._lake.inbox.last_seq(), False
            for name in LEARNED if until > self._followed else ():
                rows = self._lake.inbox.rows(name, after=self._followed, until=until)
                found |= bool(rows)
                for row in rows:
                    self.take(decode_record(SCHEMAS[name].record, row.values))
            self._followed = until
            return found

    def _came_in_bulk(self, lake: Lake) -> bool:
        """Whether rows came past the inbox, or left it unread; looked for once a second."""
        if time.monotonic() - self._looked < BULK_SECONDS:
            return False
        self._looked = time.monotonic()
        return self._marks != lake.appended(LEARNED) or lake.inbox.gone(LEARNED) > self._followed

    def take(self, record: msgspec.Struct) -> None:
        """Take in one durable row, of these tables. The same again changes nothing."""
        with self._lock:
            if isinstance(record, Processor):
                self.processors = {**self.processors, record.processor: record}
            elif isinstance(record, Outage):
                key = record.processor, record.starts_at
                others = [o for o in self.outages if (o.processor, o.starts_at) != key]
                self.outages = [*others, record]
            elif isinstance(record, NetworkRule):
                self.rules = [*(r for r in self.rules if r.rule_id != record.rule_id), record]
            elif isinstance(record, Invoice):
                self._members[record.member_id].invoices[record.invoice_id] = record
            elif isinstance(record, Instrument):
                self._members[record.member_id].instruments[record.instrument_id] = record
                self._of_card[record.member_id, record.instrument_id] = _card(record)
                self._same[_card(record)].add(record.instrument_id)
                for attempt_id in self._attempts_with(record):
                    self._cards[_card(record)].add((record.member_id, attempt_id))
            elif isinstance(record, Attempt):
                reports = self._members[record.member_id].reports[record.attempt_id]
                if record.status in reports:
                    return
                if not reports:
                    self._sent[record.processor, _month(record.at)] += 1
                reports[record.status] = record
                self._members[record.member_id].tried[record.attempt_id] = together(
                    reports.values()
                )
                self._check(record)
                whose = record.member_id, record.instrument_id
                card = self._of_card.get(whose, record.instrument_id)
                self._cards[card].add((record.member_id, record.attempt_id))

    def standing(self, record: msgspec.Struct) -> msgspec.Struct | None:
        """The row that stands under the key of an invoice, instrument, processor or outage, as far
        as was followed.
        """
        with self._following, self._lock:
            match record:
                case Processor():
                    return self.processors.get(record.processor)
                case Outage():
                    key = record.processor, record.starts_at
                    same = (o for o in self.outages if (o.processor, o.starts_at) == key)
                    return next(same, None)
                case Invoice() if member := self._members.get(record.member_id):
                    return member.invoices.get(record.invoice_id)
                case Instrument() if member := self._members.get(record.member_id):
                    return member.instruments.get(record.instrument_id)
            return None

    def reports(self, member_id: str, attempt_id: str) -> dict[str, Attempt]:
        """The reports on an attempt that is remembered, by status."""
        with self._lock:
            member = self._members.get(member_id)
            return dict(member.reports.get(attempt_id, {})) if member else {}

    def account(self, member_id: str, invoice_id: str) -> Account | None:
        """All that is known of an invoice of a member; `None` where there is none."""
        with self._lock:
            member = self._members.get(member_id)
            invoice = member.invoices.get(invoice_id) if member else None
            if member is None or invoice is None:
                return None
            instruments = tuple(map(member.instruments.get, invoice.instruments))
            mine = _about(member, invoice_id)
            cases = [None if one is None else self._case(invoice, one, mine) for one in instruments]
            return Account(invoice, instruments, tuple(mine), tuple(cases))

    def sent(self, at: datetime) -> Mapping[str, int]:
        """How many attempts went out in the calendar month (UTC) of a time, by processor."""
        month = _month(at)
        with self._lock:
            return {who: count for (who, when), count in self._sent.items() if when == month}

    def down(self, processor: str, at: int) -> bool:
        """Whether its latest answers say that it does not work, at a time (microseconds)."""
        with self._lock:
            health = self._health.get(processor)
            return health is not None and health.is_down(at)

    def _check(self, report: Attempt) -> None:
        """Let an answer tell of the health of who gave it, or did not."""
        health = self._health.setdefault(report.processor, Health(self.alarm))
        if report.status == "sent":
            health.asked(micros(report.at))
        else:
            health.saw(micros(report.at), failed=report.status in {"failed", "unknown"})

    def _attempts_with(self, instrument: Instrument) -> list[str]:
        reports = self._members[instrument.member_id].reports
        return [
            attempt_id
            for attempt_id, by_status in reports.items()
            if next(iter(by_status.values())).instrument_id == instrument.instrument_id
        ]

    def _case(self, invoice: Invoice, instrument: Instrument, mine: Sequence[Tried]) -> Case:
        card = _card(instrument)
        on_card = (self._members[who].tried[which] for who, which in self._cards.get(card, ()))
        on_other = [one for one in on_card if not is_on(one, invoice)]
        tried = in_order([*mine, *on_other]) if on_other else mine
        return Case(invoice, instrument, tried, frozenset(self._same[card]))


def _card(instrument: Instrument) -> str:
    return instrument.fingerprint or instrument.instrument_id


def _month(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m}"


def _about(member: _Member, invoice_id: str) -> list[Tried]:
    return in_order(one for one in member.tried.values() if one.held.invoice_id == invoice_id)
