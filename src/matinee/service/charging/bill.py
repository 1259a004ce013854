"""An open invoice, and what it needs next: a function of its rows and the time alone."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from hashlib import blake2b
from typing import NamedTuple

from matinee.lake.billing import Attempt, Invoice
from matinee.payments.actions import STOP, Step, hours_of, slot_at
from matinee.payments.attempts import OPEN, ORDER

LONG = 150
"""Ids of invoices that are longer stand in request ids by their digest."""
_REQUEST = re.compile(r"(.+):after([0-9]+):(route|when)(?:\.[0-9]+)?", re.DOTALL)


class Made(NamedTuple):
    """A decision on an invoice; `action` is `None` where nothing could be chosen."""

    decision_id: str
    step: Step
    action: str | None
    at: datetime


class Wait(NamedTuple):
    """Nothing to do before this time."""

    until: datetime


class Ask(NamedTuple):
    """A decision is needed."""

    request_id: str
    step: Step


class Carry(NamedTuple):
    """A route is to be carried out."""

    made: Made


class Resolve(NamedTuple):
    """An attempt is in flight: what came of it comes before all else."""

    attempt: Attempt


class Close(NamedTuple):
    """The invoice has ended."""

    how: str
    at: datetime


class Done(NamedTuple):
    """Nothing more, ever."""


Next = Wait | Ask | Carry | Resolve | Close | Done
DONE = Done()


def is_ours(attempt: Attempt) -> bool:
    """Whether an attempt carries out a decision from here: others may be under way too, from a page
    where the member pays, say.
    """
    return attempt.attempt_id == attempt.decision_id


@dataclass
class Bill:
    """An invoice with the reports that hold on its attempts, by id, and the decisions on it, by how
    many attempts there were. `refused` are decisions that may not be carried out.

    It is `complete` once its earlier attempts have been looked up.
    """

    invoice: Invoice
    attempts: dict[str, Attempt] = field(default_factory=dict)
    made: dict[int, list[Made]] = field(default_factory=dict)
    refused: set[str] = field(default_factory=set)
    complete: bool = True

    def report(self, attempt: Attempt) -> bool:
        """Take in a report on an attempt; whether it changes anything."""
        known = self.attempts.get(attempt.attempt_id)
        if known is not None and ORDER[known.status] >= ORDER[attempt.status]:
            return False
        self.attempts[attempt.attempt_id] = attempt
        return True

    def decided(self, number: int, made: Made) -> bool:
        """Take in a decision that was made after so many attempts; whether it was new."""
        before = self.made.setdefault(number, [])
        if made in before:
            return False
        before.append(made)
        return True

    def in_flight(self) -> Attempt | None:
        """The attempt in flight, if there is one; those that went out from here first, and of a
        closed invoice no others.
        """
        pending = [one for one in self.attempts.values() if one.status in OPEN]
        ours = [one for one in pending if is_ours(one)]
        others = pending if self.invoice.closed is None else []
        return next(iter([*ours, *others]), None)

    def approved(self) -> list[Attempt]:
        """The attempts that brought the money: more than one should never be."""
        return [one for one in self.attempts.values() if one.status == "approved"]


def next_step(bill: Bill, at: datetime, age: timedelta) -> Next:
    """What an invoice needs at a time; a route may be carried out within `age` of its decision.

    Money that came closes it, an attempt in flight is resolved, grace ends it. Then it waits until
    it is due or for the slot that was chosen last, is routed then, and is charged. Whatever the
    clock does, the state is that of the attempts that are known: a slot counts for one of them.
    """
    invoice = bill.invoice
    if (paid := bill.approved()) and invoice.closed not in {"paid", "void"}:
        return Close("paid", paid[0].at)
    if (attempt := bill.in_flight()) is not None:
        return Resolve(attempt)
    if invoice.closed is not None:
        return DONE
    if at >= invoice.grace_until:
        return Close("lapsed", invoice.grace_until)
    return _try_on(bill, at, age)


def _try_on(bill: Bill, at: datetime, age: timedelta) -> Next:
    """The same where nothing is in flight, paid or over."""
    made = bill.made.get(len(bill.attempts), [])
    slot = next((one for one in reversed(made) if one.step == "when"), None)
    if slot is None and bill.attempts:
        return _ask(bill, "when")
    if slot is not None and slot.action == STOP:
        return Close("lapsed", slot.at)
    opens = bill.invoice.due_at if slot is None else _opens(slot, bill.invoice)
    if at < opens:
        return Wait(min(opens, bill.invoice.grace_until))
    if not made or made[-1].step == "when":
        return _ask(bill, "route")
    route = made[-1]
    if route.action in {None, STOP} or route.decision_id in bill.refused:
        return _ask(bill, "when")
    return Carry(route) if abs(at - route.at) <= age else _ask(bill, "route")


def _opens(slot: Made, invoice: Invoice) -> datetime:
    """When a slot begins, not before the invoice is due, which a clock that was set back might say;
    where none could be chosen there is none before grace ends.
    """
    hours = None if slot.action is None else hours_of(slot.action)
    opens = invoice.grace_until if hours is None else slot_at(slot.at, hours)
    return max(opens, invoice.due_at)


def _ask(bill: Bill, step: Step) -> Ask:
    number = len(bill.attempts)
    again = sum(one.step == step for one in bill.made.get(number, []))
    return Ask(request_id(bill.invoice.invoice_id, number, step, again), step)


def hindrance(bill: Bill | None, attempt: Attempt, at: datetime, age: timedelta) -> str | None:
    """Why an attempt may not be sent again, or `None`."""
    if bill is None or bill.invoice.closed is not None:
        return "the invoice is closed"
    if bill.approved():
        return "the invoice is paid"
    if not bill.invoice.due_at <= at < bill.invoice.grace_until:
        return "it is not due, or grace is over"
    if abs(at - attempt.at) > age:
        return "the decision is too old"
    return None


def name_of(invoice_id: str) -> str:
    """An invoice's id as it stands in request ids."""
    if len(invoice_id) <= LONG:
        return invoice_id
    return blake2b(invoice_id.encode(), digest_size=16).hexdigest()


def request_id(invoice_id: str, number: int, step: Step, again: int = 0) -> str:
    """The id of the request for a decision after so many attempts; `again` counts those of the
    same step before it that came to nothing. Letters keep digits of the invoice's id and the number
    apart, which together might look like those of a card.

    >>> request_id("i1", 2, "when"), request_id("i1", 2, "route", 1)
    ('i1:after2:when', 'i1:after2:route.1')
    """
    return f"{name_of(invoice_id)}:after{number}:{step}" + (f".{again}" if again else "")


def asked_of(
    decision_id: str, request_id: str, actions: Sequence[str], at: datetime
) -> tuple[str, int, Made] | None:
    """The name of the invoice, how many attempts there were, and what was decided; `None` where a
    decision answers no request of ours.

    >>> asked_of("d1", "i1:after2:when.1", ["+026h"], datetime(2026, 1, 1))[:2]
    ('i1', 2)
    """
    found = _REQUEST.fullmatch(request_id)
    if found is None:
        return None
    name, number, step = found.groups()
    action = actions[0] if actions else None
    return name, int(number), Made(decision_id, "route" if step == "route" else "when", action, at)
