"""The invoices that are open, in memory: read from the lake at start, then followed."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from heapq import heappop, heappush

import msgspec

from matinee.lake.billing import Attempt, Instrument, Invoice
from matinee.lake.lake import Lake
from matinee.lake.records import Decision, micros
from matinee.lake.rows import Row, decode_record
from matinee.lake.schemas import SCHEMAS
from matinee.payments.attempts import OPEN
from matinee.service.charging.bill import DONE, Bill, Next, asked_of, is_ours, next_step
from matinee.service.charging.reading import SURFACE, TABLES, Key, Read, key_of, read_bills

BULK_TABLES = ("invoices", "instruments", "attempts")
NOW = 0


class Book:
    """Open invoices, the attempts and decisions on them, and when to look at each. Thread-safe.

    `load` reads them from the lake, one bucket at a time, with all of its invoices and attempts.
    `follow` takes in what has arrived since, from this process or others: new rows of the inbox
    only, and everything anew where rows came past it or are gone, or members were forgotten. What
    an invoice that arrives may have behind it is looked up when it is due. Some 3 kB an open
    invoice with its instruments.
    """

    def __init__(self, lake: Lake, forgotten: Callable[[], int]) -> None:
        self._lake, self._forgotten = lake, forgotten
        self._lock = threading.RLock()
        self.load()

    def __len__(self) -> int:
        return len(self._bills)

    def load(self) -> None:
        """Read everything anew."""
        with self._lock:
            self._marks = self._past_the_inbox()
            self._followed = self._lake.inbox.last_seq()
            self._bills: dict[Key, Bill] = {}
            self._of: dict[str, set[Key]] = {}
            self._instruments: dict[str, dict[str, Instrument]] = {}
            self._flying: set[Key] = set()
            self._looks: dict[Key, int] = {}
            self._heap: list[tuple[int, Key]] = []
            self._strangers: set[str] = set()
            self._dropped: dict[Key, int] = {}
            self._twice: dict[Key, Bill] = {}
            self._take(read_bills(self._lake))

    def follow(self) -> None:
        """Take in whatever has arrived, and look up what belongs to it."""
        with self._lock:
            if self._past_the_inbox() != self._marks:
                self.load()
            self.follow_inbox()
            self._look_up(self._strangers)
            self._strangers = set()

    def follow_inbox(self) -> None:
        """Take in what has arrived by the inbox: reports, and what other schedulers do."""
        with self._lock:
            until = self._lake.inbox.last_seq()
            for table in TABLES:
                for row in self._lake.inbox.rows(table, after=self._followed, until=until):
                    self._note_row(row)
            if self._lake.inbox.gone(TABLES) > self._followed:  # it was not followed for too long
                self.load()
                return
            self._followed = until
            self._dropped = {key: seq for key, seq in self._dropped.items() if seq > until}

    def due(self, at: datetime) -> list[Key]:
        """The invoices to look at by a time, those that wait longest first. Each is given once:
        `wait` says when to look again.
        """
        with self._lock:
            found = []
            while self._heap and self._heap[0][0] <= micros(at):
                when, key = heappop(self._heap)
                if self._looks.get(key) == when:
                    del self._looks[key]
                    found.append(key)
            self._look_up({key[0] for key in found if not self._bills[key].complete})
            return found

    def rest(self, key: Key) -> None:
        """Forget when to look at an invoice, until something about it arrives."""
        with self._lock:
            self._looks.pop(key, None)

    def wait(self, key: Key, until: datetime | None = None) -> None:
        """Look at an invoice at that time, or as soon as can be."""
        with self._lock:
            self._wait(key, NOW if until is None else micros(until))

    def next_step(self, key: Key, at: datetime, age: timedelta) -> Next:
        """What an invoice needs at a time; one that needs nothing more leaves the book."""
        with self._lock:
            if key in self._bills and not self._bills[key].complete:
                self._look_up({key[0]})
            bill = self._bills.get(key)
            found = next_step(bill, at, age) if bill and bill.complete else DONE
            if found is DONE:
                self._drop(key)
            return found

    def bill(self, key: Key) -> Bill | None:
        """An invoice that is not done with."""
        return self._bills.get(key)

    def refuse(self, key: Key, decision_id: str) -> None:
        """Note that a decision may not be carried out."""
        with self._lock:
            if bill := self._bills.get(key):
                bill.refused.add(decision_id)

    def instrument(self, member_id: str, instrument_id: str) -> Instrument | None:
        """One of a member with such an invoice."""
        return self._instruments.get(member_id, {}).get(instrument_id)

    def in_flight(self) -> int:
        """How many invoices have an attempt in flight."""
        with self._lock:
            return len(self._flying)

    def twice(self) -> list[Bill]:
        """Invoices that were found to have two approved attempts since the last call."""
        with self._lock:
            found, self._twice = self._twice, {}
            return list(found.values())

    def note(self, record: msgspec.Struct) -> None:
        """Take in a durable row. The same again changes nothing."""
        with self._lock:
            match record:
                case Invoice():
                    self._note_invoice(record)
                case Attempt():
                    self._note_attempt(record)
                case Instrument() if record.member_id in self._of:
                    mine = self._instruments.setdefault(record.member_id, {})
                    mine[record.instrument_id] = record
                case Decision() if record.surface == SURFACE:
                    self._note_decision(record)

    def _note_row(self, row: Row) -> None:
        values = row.values
        if row.table in {"instruments", "decisions"} and values["member_id"] not in self._of:
            return
        if row.table == "decisions" and values["surface"] != SURFACE:
            return
        record = decode_record(SCHEMAS[row.table].record, values)
        if isinstance(record, Attempt) and row.seq <= self._dropped.get(key_of(record), 0):
            return  # it was among what made the invoice leave
        self.note(record)

    def _note_invoice(self, invoice: Invoice) -> None:
        key = key_of(invoice)
        if bill := self._bills.get(key):
            if bill.invoice != invoice:
                bill.invoice = invoice
                self._changed(key, bill)
        elif invoice.closed is None:
            self._add(key, Bill(invoice, complete=False))
            self._wait(key, micros(invoice.due_at))

    def _note_attempt(self, attempt: Attempt) -> None:
        key = key_of(attempt)
        if bill := self._bills.get(key):
            if bill.report(attempt):
                self._changed(key, bill)
        elif attempt.status == "approved" or (attempt.status in OPEN and is_ours(attempt)):
            self._strangers.add(attempt.member_id)

    def _note_decision(self, decision: Decision) -> None:
        found = asked_of(decision.decision_id, decision.request_id, decision.actions, decision.at)
        if found is not None:
            name, number, made = found
            key = decision.member_id, name
            if (bill := self._bills.get(key)) and bill.decided(number, made):
                self._changed(key, bill)

    def _look_up(self, members: set[str]) -> None:
        if members:
            self._take(read_bills(self._lake, members))

    def _take(self, found: Iterable[Read]) -> None:
        """Add what was read, unless it is known better."""
        for read in found:
            for key, bill in read.bills.items():
                if key not in self._bills or not self._bills[key].complete:
                    self._add(key, bill)
                    self._changed(key, bill)
            for instrument in read.instruments:
                self.note(instrument)

    def _add(self, key: Key, bill: Bill) -> None:
        self._bills[key] = bill
        self._of.setdefault(key[0], set()).add(key)

    def _drop(self, key: Key) -> None:
        if self._bills.pop(key, None) is None:
            return
        self._dropped[key] = self._lake.inbox.last_seq()
        self._looks.pop(key, None)
        self._flying.discard(key)
        self._of[key[0]].discard(key)
        if not self._of[key[0]]:
            del self._of[key[0]]
            self._instruments.pop(key[0], None)

    def _changed(self, key: Key, bill: Bill) -> None:
        (self._flying.discard if bill.in_flight() is None else self._flying.add)(key)
        if len(bill.approved()) > 1:
            self._twice[key] = bill
        self._wait(key, NOW)

    def _wait(self, key: Key, until: int) -> None:
        if key in self._bills:
            self._looks[key] = until
            heappush(self._heap, (until, key))

    def _past_the_inbox(self) -> tuple[int, ...]:
        return (self._forgotten(), *self._lake.appended(BULK_TABLES))
